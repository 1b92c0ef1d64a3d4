"""UPDATE: the vectorised twin follows the specification, and its numbers mean what they should."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.isa import Rule
from dither.arch.moments import unpack_square
from dither.arch.tables import ScalarTable, scalar_lookup, scalar_tables
from dither.golden.update import adam_direction, update

TABLES = scalar_tables(9)


class Literal:
    """One parameter's update as the architecture page words it, on Python integers."""

    def __init__(self):
        self.clips = 0

    def sat(self, value, bits):
        result = max(-(1 << (bits - 1)), min(value, (1 << (bits - 1)) - 1))
        self.clips += result != value
        return result

    def update(self, rule, p, g, m, v, gradient_shift, decay1, decay2, rate, rate_shift):
        h = self.sat(_rnd(g, gradient_shift), 17)
        if rule is Rule.SGD:
            u = h
        elif rule is Rule.SIGN:
            u = (h > 0) * 4096 - (h < 0) * 4096
        elif rule is Rule.MOMENTUM:
            m = self.sat(m - _step(m, decay1) + (h << 10), 32)
            u = self.sat(_rnd(m, 10), 18)
        elif rule is Rule.SIGN_MOMENTUM:
            sign = (h > 0) - (h < 0)
            m = self.sat(m + _step((sign * 4096 << 10) - m, decay1), 32)
            u = self.sat(_rnd(m, 10), 18)
        else:
            m = self.sat(m + _step((h << 15) - m, decay1), 32)
            square = v if v < 2**31 else (v - 2**31) * 2**14
            square = square + _rnd(min(h * h, 2**32 - 2) * 2**13 - square, decay2)
            v = square if square < 2**31 else 2**31 + _rnd(square, 14)
            n = max(square + (2**11 >> decay2), 1)
            e = n.bit_length() - 1
            x = ((n << 15) >> e) - (1 << 15)
            r = int(scalar_lookup(*TABLES, ScalarTable.RSQRT, ((e + 1 & 1) << 15) + x))
            u = self.sat(_rnd(m * r, 13 + (e + 1 >> 1)), 18)
        return self.sat(p - _rnd(u * (rate % 2**18), rate_shift), 32), m, v


def _rnd(value, shift):
    return (value + (1 << shift >> 1)) >> shift


def _step(value, shift):
    return _rnd(value, shift) or (value > 0) - (value < 0)


SIGNED = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-1000, 1000))
GRADIENTS = st.one_of(st.integers(-(2**47), 2**47 - 1), SIGNED)
UNSIGNED = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 1000))


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(Rule),
    st.lists(st.tuples(SIGNED, GRADIENTS, SIGNED, UNSIGNED), min_size=1, max_size=8),
    st.integers(0, 47),
    st.integers(0, 15),
    st.integers(0, 15),
    SIGNED,
    st.integers(0, 31),
)
def test_every_parameter_follows_the_specification(rule, parameters, gradient_shift, decay1, decay2, rate, rate_shift):
    literal = Literal()
    expected = [literal.update(rule, *each, gradient_shift, decay1, decay2, rate, rate_shift) for each in parameters]
    result = update(
        rule,
        *zip(*parameters, strict=True),
        gradient_shift=gradient_shift,
        decay1=decay1,
        decay2=decay2,
        rate=rate,
        rate_shift=rate_shift,
        values=TABLES[0],
        slopes=TABLES[1],
    )
    actual = zip(result.master.tolist(), result.moment1.tolist(), result.moment2.tolist(), strict=True)
    assert list(actual) == expected
    assert result.clips == literal.clips
    assert (result.moment2 >= 0).all()
    assert (result.moment2 < 2**32).all()


@pytest.mark.parametrize("decay2", [0, 1, 6, 12])
@pytest.mark.parametrize("table_bits", [6, 9, 10])
def test_adams_direction_is_moment_over_root(table_bits, decay2):
    values, slopes = scalar_tables(table_bits)
    rng = np.random.default_rng(table_bits)
    m = (rng.choice([-1, 1], 20_000) * 2 ** rng.uniform(0, 31, 20_000)).astype(np.int64)
    v = (2 ** rng.uniform(0, 44, 20_000)).astype(np.int64)
    direction, _ = adam_direction(m, v, decay2, values, slopes)
    exact = np.clip(
        m / 2**15 / np.sqrt(v / 2**13 + (2.0 ** (-2 - decay2) if decay2 < 12 else 0)) * 2**12, -(2**17), 2**17 - 1
    )
    # Relative: chords of the root (h = 2**-(table_bits-1) in the mantissa, second derivative 3/4 of
    # the value at most), a unit of at least 2**16, a mantissa truncated to 15 bits; then the result
    # is rounded.
    relative = 3 / 32 * 4.0 ** (1 - table_bits) + 2**-16 + 2**-16
    assert (np.abs(direction - exact) <= relative * np.abs(exact) + 0.5).all()


def _steps(rule, gradients, **fields):
    """Repeated updates of one parameter from zero, in units of a master."""
    p, m, v = np.zeros((3, 1), np.int64)
    for g in gradients:
        result = update(
            rule,
            p,
            [g],
            m,
            v,
            gradient_shift=0,
            rate=1 << 12,
            rate_shift=12,
            values=TABLES[0],
            slopes=TABLES[1],
            **fields,
        )
        p, m, v = result.master, result.moment1, result.moment2
        assert result.clips == 0
    return int(p[0]), int(m[0]), int(v[0])


def test_sgd_steps_by_the_gradient():
    assert _steps(Rule.SGD, [5, -3, 100], decay1=0, decay2=0)[0] == -102


def test_sign_steps_by_one():
    assert _steps(Rule.SIGN, [5, -3, 0, 100], decay1=0, decay2=0)[0] == -4096


def test_momentum_follows_the_recurrence_of_the_reals():
    gradients = np.random.default_rng(0).integers(-30, 30, 200)
    p, m, _ = _steps(Rule.MOMENTUM, gradients.tolist(), decay1=3, decay2=0)
    position = velocity = 0.0
    for g in gradients:
        velocity = velocity * (1 - 1 / 8) + g
        position -= velocity
    # Each step rounds the moment (half a unit of 2**-10, which decays) and the direction (half a
    # unit).
    assert abs(m / 2**10 - velocity) <= 8 * 0.5 / 2**10
    assert abs(p - position) <= 200 * (0.5 + 8 * 0.5 / 2**10)


@pytest.mark.parametrize("decay1", [0, 1, 3, 8, 10])
def test_averaged_signs_are_signs_in_the_end(decay1):
    p, m = 0, np.zeros(1, np.int64)
    for number in range(1, 4 << decay1):
        result = update(
            Rule.SIGN_MOMENTUM, [0], [7], m, [0], gradient_shift=0, decay1=decay1, decay2=0, rate=1, rate_shift=0
        )
        p, m = int(result.master[0]), result.moment1
        assert result.clips == 0
        # Each step rounds the moment by half a unit, which decays; the direction rounds it by half
        # of its own.
        expected = -4096 * (1 - (1 - 2.0**-decay1) ** number)
        assert abs(p - expected) <= 0.5 + 2.0**decay1 * 0.5 / 2**10
    assert -4096 <= p <= -4096 * (1 - math.exp(-4)) + 16


def test_averaged_signs_follow_the_recurrence_of_the_reals():
    gradients = np.random.default_rng(0).integers(-30, 30, 200)
    p, m, _ = _steps(Rule.SIGN_MOMENTUM, gradients.tolist(), decay1=3, decay2=0)
    position = average = 0.0
    for g in gradients:
        average += (4096 * np.sign(g) - average) / 8
        position -= average
    assert abs(m / 2**10 - average) <= 8 * 0.5 / 2**10
    assert abs(p - position) <= 200 * (0.5 + 8 * 0.5 / 2**10)


@pytest.mark.parametrize("rule", list(Rule))
def test_scale_free_rules_do_not_see_the_gradients_scale(rule):
    """But for Adam's roundings, and its epsilon."""
    gradients = np.random.default_rng(1).integers(-30, 30, 50) * 100
    paths = [_steps(rule, (gradients * scale).tolist(), decay1=2, decay2=1)[0] for scale in (1, 8)]
    assert (abs(paths[1] - paths[0]) <= 50) == rule.scale_free


def test_adam_of_a_constant_gradient_approaches_the_rate():
    _, m, v = _steps(Rule.ADAM, [1000] * 200, decay1=3, decay2=3)
    assert m == 1000 << 15
    assert abs(int(unpack_square(v)) / 2**13 - 1000**2) <= 8
    direction, _ = adam_direction([m], unpack_square([v]), 3, *TABLES)
    assert abs(int(direction[0]) - 4096) <= 1
