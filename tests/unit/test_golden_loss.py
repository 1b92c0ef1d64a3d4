"""LOSS: the vectorised twin follows the specification, and its numbers mean what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Instruction, LossKind, LossMode, Memory
from dither.arch.streams import Expect, Segment
from dither.arch.tables import scalar_tables
from dither.golden import GoldenMachine
from dither.golden.loss import LN2, LossPlan, floor_log2, loss

CE, SE = LossKind.CROSS_ENTROPY, LossKind.SQUARED_ERROR


def _lookup(values, slopes, table, n):
    segments = len(values) // 3
    bits = 16 - (segments.bit_length() - 1)
    index, fraction = table * segments + (n >> bits), n & ((1 << bits) - 1)
    y = int(values[index]) + ((int(slopes[index]) * fraction + (1 << (bits - 1))) >> bits)
    return max(0, min(y, 2**18 - 1))


def _round(value, shift):
    return (value + (1 << (shift - 1))) >> shift if shift > 0 else value << -shift


def literal_lane(kind, z, label, t, z_frac, loss_frac, values, slopes, width):
    """One lane's loss, derivatives and clips of either, as the architecture page words it, on
    Python integers.
    """
    if label < 0 or (kind is CE and label >= len(z)):
        return 0, [0] * len(z), 0, 0
    if kind is CE:
        distance = [max(z) - value for value in z]
        exponents = [min(_round(d, z_frac - 12), 65535) for d in distance]
        total = sum(_lookup(values, slopes, 0, d) for d in exponents)
        e = total.bit_length() - 1
        x = ((total << 16) >> e) - (1 << 16)
        ln = _lookup(values, slopes, 1, x) + (e - 17) * 45426
        result = _round(ln + (distance[label] << (16 - z_frac)), 16 - loss_frac)
        errors = []
        for c, d in enumerate(exponents):
            q = min(d + _round(ln, 4), 65535)
            error, unit = _lookup(values, slopes, 0, q) - (c == label) * 2**17, 2 ** (19 - width)
            up = error % unit > unit // 2 or (error % unit == unit // 2 and q % 2 == 1)
            errors.append(error // unit + up)
    else:
        errors = [a - b for a, b in zip(z, t, strict=True)]
        result = _round(sum(error**2 for error in errors), 2 * z_frac - loss_frac)
    limit = 1 << (width - 1)
    clipped = [max(-limit, min(error, limit - 1)) for error in errors]
    return (
        min(result, 2**24 - 1),
        clipped,
        result > 2**24 - 1,
        sum(a != b for a, b in zip(errors, clipped, strict=True)),
    )


@st.composite
def cases(draw):
    width, classes, lanes = draw(st.sampled_from([16, 18])), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = 1 << draw(st.integers(1, width - 1))
    z, t = rng.integers(-limit, limit, (2, classes, lanes))
    labels = rng.integers(-1, classes + 1, lanes)
    fractions = draw(st.integers(0, 16)), draw(st.integers(0, 16))
    return width, z, labels, t, *fractions, scalar_tables(draw(st.integers(6, 10)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(LossKind), cases())
def test_every_lane_follows_the_specification(kind, case):
    width, z, labels, t, z_frac, loss_frac, (values, slopes) = case
    lanes = [
        literal_lane(kind, z[:, i].tolist(), int(labels[i]), t[:, i].tolist(), z_frac, loss_frac, values, slopes, width)
        for i in range(len(labels))
    ]
    fractions = {"z_frac": z_frac, "loss_frac": loss_frac}
    result = loss(kind, z, labels, t, **fractions, values=values, slopes=slopes)
    assert result.losses.tolist() == [lane[0] for lane in lanes]
    assert result.clips == sum(lane[2] for lane in lanes)
    assert result.derivatives is None

    result = loss(kind, z, labels, t, **fractions, values=values, slopes=slopes, derivative_bits=width)
    assert result.losses.tolist() == [lane[0] for lane in lanes]
    assert result.derivatives.T.tolist() == [lane[1] for lane in lanes]
    assert result.clips == sum(lane[2] + lane[3] for lane in lanes)


@pytest.mark.parametrize("table_bits", [6, 8, 10])
@pytest.mark.parametrize(("z_frac", "loss_frac"), [(9, 12), (12, 16), (15, 10)])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_cross_entropy_is_near_the_real_one(table_bits, z_frac, loss_frac, classes):
    rng = np.random.default_rng(classes)
    z = rng.integers(-(2**17), 2**17, (classes, 500))
    labels = rng.integers(0, classes, 500)
    values, slopes = scalar_tables(table_bits)
    losses, _, _, clips = loss(CE, z, labels, z_frac=z_frac, loss_frac=loss_frac, values=values, slopes=slopes)
    real = z / 2**z_frac
    top = real.max(axis=0)
    exact = np.log(np.exp(real - top).sum(axis=0)) + top - real[labels, np.arange(500)]

    # Sum of exponentials, relative (it is at least 1): chords of segments of width h, rounded
    # inputs, one unit of 2**-17 for each class and one for what lies beyond 16.
    h = 16 / 2**table_bits
    rounding = 2**-13 if z_frac > 12 else 0
    relative = (h**2 / 6 + rounding) * np.exp(h + rounding) + classes * 2**-16
    # Logarithm: chords, a unit for rounding, one for the truncated input, and the error of the
    # constant ln 2.
    logarithm = 2.0 ** (-2 * table_bits) / 6 + 2 * 2**-16 + 8 * abs(LN2 / 2**16 - np.log(2))
    bound = -np.log1p(-relative) + logarithm + 2.0 ** -(loss_frac + 1)
    assert clips == 0
    assert np.abs(losses / 2**loss_frac - exact).max() <= bound


@pytest.mark.parametrize(("z_frac", "loss_frac"), [(4, 8), (6, 4), (10, 16), (13, 2)])
def test_squared_error_is_rounded_once(z_frac, loss_frac):
    rng = np.random.default_rng(0)
    z, t = rng.integers(-1000, 1000, (2, 5, 300))
    losses, _, _, clips = loss(SE, z, np.zeros(300), t, z_frac=z_frac, loss_frac=loss_frac)
    exact = (((z - t) / 2**z_frac) ** 2).sum(axis=0)
    np.testing.assert_array_equal(losses, np.minimum(np.floor(exact * 2**loss_frac + 0.5), 2**24 - 1))
    assert clips == np.count_nonzero(losses == 2**24 - 1)


def test_equal_outputs_cost_the_logarithm_of_their_number():
    values, slopes = scalar_tables(9)
    losses, *_ = loss(CE, np.zeros((8, 1)), [3], z_frac=12, loss_frac=16, values=values, slopes=slopes)
    assert losses.tolist() == [3 * LN2]


def test_clips_are_counted_and_masked_lanes_cost_nothing():
    z = np.full((1, 4), 2**17 - 1)
    losses, _, _, clips = loss(SE, z, [0, -1, 5, -7], -z, z_frac=0, loss_frac=16)
    assert losses.tolist() == [2**24 - 1, 0, 2**24 - 1, 0]
    assert clips == 2
    values, slopes = scalar_tables(9)
    losses, _, _, clips = loss(CE, z, [0, 1, -1, 200], z_frac=12, loss_frac=12, values=values, slopes=slopes)
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


@pytest.mark.parametrize("table_bits", [8, 10])
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("width", [16, 18])
def test_derivatives_of_cross_entropy_are_near_softmax_minus_one_hot(table_bits, classes, width):
    rng = np.random.default_rng(classes)
    z, labels = rng.integers(-(2**15), 2**15, (classes, 400)), rng.integers(0, classes, 400)
    values, slopes = scalar_tables(table_bits)
    result = loss(CE, z, labels, z_frac=12, loss_frac=12, values=values, slopes=slopes, derivative_bits=width)
    exact = np.exp(z / 2**12)
    exact /= exact.sum(axis=0)
    exact[labels, np.arange(400)] -= 1

    # The exponent: chords of logarithm and exponentials below it, rounded inputs. Then the
    # exponential itself.
    h = 16 / 2**table_bits
    chord = h**2 / 6
    relative = chord + 2.0 ** (-2 * table_bits) / 6 + classes * 2**-16 + 2**-12
    bound = relative + chord + 2**-17 + 2.0 ** (1 - width)
    assert np.abs(result.derivatives / 2 ** (width - 2) - exact).max() <= bound
    assert result.clips == 0


@pytest.mark.parametrize(("width", "z_frac", "table_bits"), [(18, 12, 9), (18, 10, 10), (16, 10, 9)])
@pytest.mark.parametrize(("classes", "samples"), [(10, 20_000), (255, 2000)])
@pytest.mark.parametrize("spread", [0.3, 1, 3, 8])
def test_derivatives_of_cross_entropy_are_right_on_average(width, z_frac, table_bits, classes, samples, spread):
    """In all, and class by class."""
    rng = np.random.default_rng(classes)
    limit = 1 << (width - 1)
    z = np.clip(np.rint(rng.standard_normal((classes, samples)) * spread * 2**z_frac), -limit, limit - 1)
    labels, lanes = rng.integers(0, classes, samples), np.arange(samples)
    values, slopes = scalar_tables(table_bits)
    result = loss(CE, z, labels, z_frac=z_frac, loss_frac=12, values=values, slopes=slopes, derivative_bits=width)
    exact = np.exp((z - z.max(axis=0)) / 2**z_frac)
    exact /= exact.sum(axis=0)
    exact[labels, lanes] -= 1
    error = result.derivatives - exact * 2 ** (width - 2)
    assert abs(error.mean()) <= 0.05
    # A class's error varies by less than three units, and the spread of its mean that much less.
    assert np.abs(error.mean(axis=1)).max() <= 0.05 + 5 * error.std() / samples**0.5


# One engine, one set of words: outputs 0 to 2, targets 3 to 5, labels 6, results from 8 on.
CONFIG = EngineConfig(rows=1, lanes=4, activation_depth=16, table_bits=6)


def instruction(mode, kind=SE, **fields):
    given = {
        "kind": kind,
        "z_base": 0,
        "z_step": 1,
        "count": 3,
        "label": 6,
        "t_base": 3,
        "t_step": 1,
        "z_frac": 8,
        "loss_frac": 8,
        "mode": mode,
        "d_base": 8,
        "d_step": 2,
        "target": 1,
    }
    return Instruction.make("LOSS", **given | fields)


def program(*work):
    """Words of a program that loads outputs, targets and labels before each instruction and stores
    all at the end.
    """
    code = [Instruction.make("LOAD", memory=Memory.SCALAR_TABLE, base=0, count=3 * 64)]
    for one in work:
        code += [Instruction.make("LOAD", memory=Memory.ACTIVATION, base=0, count=7), one]
        code.append(Instruction.make("EMIT", source=1))
    code += [Instruction.make("STORE", memory=Memory.ACTIVATION, base=0, count=16), Instruction.make("HALT")]
    return [word for one in code for word in one.encode()]


def execute(machine, *work, seed=0):
    """Runs ``(instruction, seventh word)`` pairs; sums, what was loaded, memory at the end,
    clips.
    """
    rng = np.random.default_rng(seed)
    loads = [np.vstack([rng.integers(-2000, 2000, (6, 4)), labels]) for _, labels in work]
    machine.write_program(program(*(one for one, _ in work)))
    inputs = [Segment(Memory.SCALAR_TABLE, np.stack(scalar_tables(6), axis=1))]
    inputs += [Segment(Memory.ACTIVATION, load) for load in loads]
    result = machine.run(0, inputs, [Expect(None, len(work)), Expect(Memory.ACTIVATION, 16)])
    sums, memory = result.outputs
    return sums[:, 0].tolist(), loads, memory, result.counters["saturations_loss"]


def test_differences_are_those_to_the_losses_kept():
    machine = GoldenMachine(CONFIG)
    keep, summed, differ = (instruction(mode) for mode in (LossMode.KEEP, LossMode.SUM, LossMode.DIFFER))
    labels = [0, 0, -1, 0]
    sums, loads, memory, clips = execute(machine, (keep, labels), (summed, labels), (differ, [0, -1, 0, 0]))
    each = [loss(SE, load[:3], load[6], load[3:6], z_frac=8, loss_frac=8).losses for load in loads]
    assert sums == [int(one.sum()) for one in each]
    assert memory[8].tolist() == ((each[2] - each[0]) * [1, 0, 1, 1]).tolist()
    assert not memory[9:].any()
    assert clips == 0

    # Losses are kept from run to run, until the next KEEP.
    _, loads, memory, _ = execute(machine, (differ, [0] * 4), seed=1)
    again = loss(SE, loads[0][:3], loads[0][6], loads[0][3:6], z_frac=8, loss_frac=8).losses
    assert memory[8].tolist() == (again - each[0]).tolist()


def test_differences_are_clipped_and_counted():
    machine = GoldenMachine(CONFIG)
    sums, _, memory, clips = execute(machine, (instruction(LossMode.DIFFER, z_frac=4, loss_frac=16), [0, 0, -1, 0]))
    assert memory[8].tolist() == [2**17 - 1, 2**17 - 1, 0, 2**17 - 1]
    assert sums == [3 * (2**24 - 1)]
    assert clips == 6


@pytest.mark.parametrize("kind", LossKind)
def test_derivatives_stand_where_they_should(kind):
    labels = [0, 2, -1, 1]
    one = instruction(LossMode.ERROR, kind, d_base=12, d_step=-2)
    sums, loads, memory, _ = execute(GoldenMachine(CONFIG), (one, labels))
    values, slopes = scalar_tables(6)
    expected = loss(
        kind,
        loads[0][:3],
        labels,
        loads[0][3:6],
        z_frac=8,
        loss_frac=8,
        values=values,
        slopes=slopes,
        derivative_bits=18,
    )
    assert sums == [int(expected.losses.sum())]
    assert memory[[12, 10, 8]].tolist() == expected.derivatives.tolist()
    assert not memory[:, 2][8:].any()
    assert not memory[[7, 9, 11, 13, 14, 15]].any()


def test_modes_are_refused_without_local_learning():
    config = EngineConfig(rows=1, lanes=4, activation_depth=16, local_learning=0)
    LossPlan(config, instruction(LossMode.SUM))
    for mode in (LossMode.KEEP, LossMode.DIFFER, LossMode.ERROR):
        with pytest.raises(DeviceError, match=f"LOSS: mode {mode.name} needs an engine with local_learning"):
            LossPlan(config, instruction(mode))


@pytest.mark.parametrize(
    ("fields", "word"),
    [({"d_base": 2}, 2), ({"d_base": 5, "d_step": 3}, 5), ({"mode": LossMode.DIFFER, "d_base": 6}, 6)],
)
def test_results_in_words_that_are_read_are_refused(fields, word):
    with pytest.raises(DeviceError, match=f"LOSS: word {word} is both read and written"):
        LossPlan(CONFIG, instruction(**{"mode": LossMode.ERROR} | fields))


def test_results_beyond_the_memory_are_refused():
    with pytest.raises(DeviceError, match="LOSS: word 16 is beyond the 16 of ACTIVATION"):
        LossPlan(CONFIG, instruction(LossMode.ERROR, d_base=12))
