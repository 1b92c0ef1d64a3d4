"""LOSS: the vectorised twin follows the specification, and its numbers mean what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.device import DeviceError
from dither.golden.loss import LN2, floor_log2, loss
from dither.isa import LossKind
from dither.tables import scalar_tables

CE, SE = LossKind.CROSS_ENTROPY, LossKind.SQUARED_ERROR


def _lookup(values, slopes, table, n):
    segments = len(values) // 3
    bits = 16 - (segments.bit_length() - 1)
    index, fraction = table * segments + (n >> bits), n & ((1 << bits) - 1)
    y = int(values[index]) + ((int(slopes[index]) * fraction + (1 << (bits - 1))) >> bits)
    return max(0, min(y, 2**18 - 1))


def _round(value, shift):
    return (value + (1 << (shift - 1))) >> shift if shift > 0 else value << -shift


def literal_lane(kind, z, label, t, z_frac, loss_frac, values, slopes):
    """One lane's loss and whether it was clipped, as the architecture page words it, on Python integers."""
    if label < 0 or (kind is CE and label >= len(z)):
        return 0, False
    if kind is CE:
        distance = [max(z) - value for value in z]
        total = sum(_lookup(values, slopes, 0, min(_round(d, z_frac - 12), 65535)) for d in distance)
        e = total.bit_length() - 1
        x = ((total << 16) >> e) - (1 << 16)
        result = _lookup(values, slopes, 1, x) + (e - 17) * 45426 + (distance[label] << (16 - z_frac))
        result = _round(result, 16 - loss_frac)
    else:
        result = _round(sum((a - b) ** 2 for a, b in zip(z, t, strict=True)), 2 * z_frac - loss_frac)
    return min(result, 2**24 - 1), result > 2**24 - 1


@st.composite
def cases(draw):
    width, classes, lanes = draw(st.sampled_from([16, 18])), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = 1 << draw(st.integers(1, width - 1))
    z, t = rng.integers(-limit, limit, (2, classes, lanes))
    labels = rng.integers(-1, classes + 1, lanes)
    return z, labels, t, draw(st.integers(0, 16)), draw(st.integers(0, 16)), scalar_tables(draw(st.integers(6, 10)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LossKind), cases())
def test_every_lane_follows_the_specification(kind, case):
    z, labels, t, z_frac, loss_frac, (values, slopes) = case
    lanes = [
        literal_lane(kind, z[:, i].tolist(), int(labels[i]), t[:, i].tolist(), z_frac, loss_frac, values, slopes)
        for i in range(len(labels))
    ]
    losses, clips = loss(kind, z, labels, t, z_frac=z_frac, loss_frac=loss_frac, values=values, slopes=slopes)
    assert losses.tolist() == [value for value, _ in lanes]
    assert clips == sum(clipped for _, clipped in lanes)


@pytest.mark.parametrize("table_bits", [6, 8, 10])
@pytest.mark.parametrize(("z_frac", "loss_frac"), [(9, 12), (12, 16), (15, 10)])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_cross_entropy_is_near_the_real_one(table_bits, z_frac, loss_frac, classes):
    rng = np.random.default_rng(classes)
    z = rng.integers(-(2**17), 2**17, (classes, 500))
    labels = rng.integers(0, classes, 500)
    values, slopes = scalar_tables(table_bits)
    losses, clips = loss(CE, z, labels, z_frac=z_frac, loss_frac=loss_frac, values=values, slopes=slopes)
    real = z / 2**z_frac
    top = real.max(axis=0)
    exact = np.log(np.exp(real - top).sum(axis=0)) + top - real[labels, np.arange(500)]

    # Sum of exponentials, relative (it is at least 1): chords of segments of width h, rounded inputs, one unit of
    # 2**-17 for each class and one for what lies beyond 16.
    h = 16 / 2**table_bits
    rounding = 2**-13 if z_frac > 12 else 0
    relative = (h**2 / 8 + rounding) * np.exp(h + rounding) + classes * 2**-16
    # Logarithm: chords, a unit for rounding, one for the truncated input, and the error of the constant ln 2.
    logarithm = 2.0 ** (-2 * table_bits) / 8 + 2 * 2**-16 + 8 * abs(LN2 / 2**16 - np.log(2))
    bound = -np.log1p(-relative) + logarithm + 2.0 ** -(loss_frac + 1)
    assert clips == 0
    assert np.abs(losses / 2**loss_frac - exact).max() <= bound


@pytest.mark.parametrize(("z_frac", "loss_frac"), [(4, 8), (6, 4), (10, 16), (13, 2)])
def test_squared_error_is_rounded_once(z_frac, loss_frac):
    rng = np.random.default_rng(0)
    z, t = rng.integers(-1000, 1000, (2, 5, 300))
    losses, clips = loss(SE, z, np.zeros(300), t, z_frac=z_frac, loss_frac=loss_frac)
    exact = (((z - t) / 2**z_frac) ** 2).sum(axis=0)
    np.testing.assert_array_equal(losses, np.minimum(np.floor(exact * 2**loss_frac + 0.5), 2**24 - 1))
    assert clips == np.count_nonzero(losses == 2**24 - 1)


def test_equal_outputs_cost_the_logarithm_of_their_number():
    values, slopes = scalar_tables(9)
    losses, _ = loss(CE, np.zeros((8, 1)), [3], z_frac=12, loss_frac=16, values=values, slopes=slopes)
    assert losses.tolist() == [3 * LN2]


def test_clips_are_counted_and_masked_lanes_cost_nothing():
    z = np.full((1, 4), 2**17 - 1)
    losses, clips = loss(SE, z, [0, -1, 5, -7], -z, z_frac=0, loss_frac=16)
    assert losses.tolist() == [2**24 - 1, 0, 2**24 - 1, 0]
    assert clips == 2
    values, slopes = scalar_tables(9)
    losses, clips = loss(CE, z, [0, 1, -1, 200], z_frac=12, loss_frac=12, values=values, slopes=slopes)
    assert losses.tolist() == [0, 0, 0, 0]
    assert clips == 0


@pytest.mark.parametrize(("field", "z_frac", "loss_frac"), [("z_frac", 17, 0), ("loss_frac", 0, 17)])
def test_too_many_fraction_bits_are_refused(field, z_frac, loss_frac):
    with pytest.raises(DeviceError, match=f"LOSS: {field} must be from 0 to 16, not 17"):
        loss(SE, [[0]], [0], [[0]], z_frac=z_frac, loss_frac=loss_frac)


def test_missing_tables_are_reported():
    nothing = np.zeros(3 * 64)
    with pytest.raises(DeviceError, match="LOSS: a sum of exponentials is zero; load the scalar tables first"):
        loss(CE, [[0]], [0], z_frac=12, loss_frac=12, values=nothing, slopes=nothing)


def test_floor_log2_is_exact_around_powers_of_two():
    numbers = [n for e in range(1, 52) for n in (2**e - 1, 2**e, 2**e + 1)]
    assert floor_log2(numbers).tolist() == [n.bit_length() - 1 for n in numbers]
