import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.fixedpoint import FixedPoint, saturate, shift_round

FORMATS = st.builds(FixedPoint, st.integers(2, 48), st.integers(-20, 60))


@given(st.integers(-(2**50), 2**50), st.integers(-10, 60))
def test_shift_round_rounds_half_up(value, shift):
    assert int(shift_round(value, shift)) == math.floor(Fraction(value) / Fraction(2) ** shift + Fraction(1, 2))


@given(st.lists(st.integers(-(2**40), 2**40), max_size=20), st.integers(2, 40))
def test_saturate_clips_and_counts(values, width):
    lowest, highest = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    clipped, count = saturate(values, width)
    assert clipped.tolist() == [min(max(value, lowest), highest) for value in values]
    assert count == sum(not lowest <= value <= highest for value in values)


@given(FORMATS, st.data())
def test_every_integer_survives_decoding_and_encoding(form, data):
    integers = data.draw(st.lists(st.integers(form.lowest, form.highest), min_size=1))
    assert form.encode(form.decode(integers)).tolist() == integers


@given(FORMATS, st.floats(-1e6, 1e6))
def test_encoding_is_the_nearest_integer_or_the_end_of_the_range(form, value):
    exact = math.floor(Fraction(value) * Fraction(2) ** form.frac + Fraction(1, 2))
    if abs(Fraction(value)) * Fraction(2) ** form.frac < 2**50:
        encoded, clips = form.encode_counted(value)
        assert int(encoded) == min(max(exact, form.lowest), form.highest)
        assert clips == (not form.lowest <= exact <= form.highest)


def test_half_goes_up():
    assert FixedPoint(8, 1).encode([0.25, -0.25, 0.75, -0.75]).tolist() == [1, 0, 2, -1]


@given(st.floats(0, 1e9), st.integers(2, 48))
def test_covering_holds_the_magnitude_and_is_the_finest(magnitude, width):
    form = FixedPoint.covering(magnitude, width)
    assert magnitude < form.limit
    if magnitude:
        assert magnitude >= FixedPoint(width, form.frac + 1).limit


@pytest.mark.parametrize("magnitude", [0.75, 1.0, 3.0, 4.0])
def test_reaching_differs_from_covering_at_powers_of_two(magnitude):
    covering, reaching = FixedPoint.covering(magnitude, 16), FixedPoint.reaching(magnitude, 16)
    assert reaching.limit >= magnitude > FixedPoint(16, reaching.frac + 1).limit
    assert reaching.frac - covering.frac == (magnitude in (1.0, 4.0))


def test_zero_takes_all_bits():
    assert FixedPoint.covering(0, 16).frac == FixedPoint.reaching(0, 16).frac == 15


def test_properties():
    form = FixedPoint(18, 15)
    assert (form.lowest, form.highest, form.resolution, form.limit) == (-131072, 131071, 2.0**-15, 4.0)
    assert str(form) == "Q3.15"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedPoint(1, 0), "width must be an integer from 2 to 48, not 1"),
        (lambda: FixedPoint(16.0, 0), "width must be an integer from 2 to 48, not 16.0"),
        (lambda: FixedPoint(16, 0.5), "frac must be an integer, not 0.5"),
        (lambda: FixedPoint.covering(-1, 16), "magnitude must be finite and not negative, not -1"),
        (lambda: FixedPoint.covering(math.inf, 16), "magnitude must be finite and not negative, not inf"),
        (lambda: FixedPoint(16, 8).encode([0.0, np.nan]), "NaN cannot be held in fixed point"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
