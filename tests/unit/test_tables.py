import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.fixedpoint import FixedPoint
from dither.arch.tables import (
    ScalarTable,
    activation_lookup,
    build_activation,
    expand_activation,
    interpolate,
    scalar_lookup,
    scalar_tables,
    sine_table,
    tanh_table,
)

TABLE_BITS = range(6, 11)
EVERY_INPUT = np.arange(1 << 16)

# By table: the function of the 16-bit input, in units of the output; width of the range that the
# whole table spans; and the greatest second derivative, in units of the output, times 4/3 where
# chords are moved.
EXACT = {
    ScalarTable.EXP: (lambda n: np.exp(-n / 2**12) * 2**17, 16, 4 / 3 * 2**17),
    ScalarTable.LOG: (lambda n: np.log1p(n / 2**16) * 2**16, 1, 4 / 3 * 2**16),
    ScalarTable.RSQRT: (lambda n: 2**17 / np.sqrt((1 + (n % 2**15) / 2**15) * 2.0 ** (n >> 15)), 2, 0.75 * 2**17),
}


@pytest.mark.parametrize("table_bits", TABLE_BITS)
@pytest.mark.parametrize("table", list(ScalarTable))
def test_scalar_tables_are_as_exact_as_chords_can_be(table, table_bits):
    values, slopes = scalar_tables(table_bits)
    function, span, curvature = EXACT[table]
    error = scalar_lookup(values, slopes, table, EVERY_INPUT) - function(EVERY_INPUT)
    step = span / 2**table_bits
    assert np.abs(error).max() <= step**2 / 8 * curvature + 1


@pytest.mark.parametrize("table_bits", TABLE_BITS)
def test_scalar_tables_fit_their_memory_and_are_continuous(table_bits):
    values, slopes = scalar_tables(table_bits)
    assert values.shape == slopes.shape == (3 << table_bits,)
    assert values.min() >= 0
    assert values.max() < 2**18
    assert slopes.min() >= -(2**17)
    assert slopes.max() < 2**17
    for table in ScalarTable:
        part = slice(table << table_bits, (table + 1) << table_bits)
        first = 0 if table is ScalarTable.RSQRT else 1
        np.testing.assert_array_equal((values[part] + slopes[part])[first:-1], values[part][first + 1 :])


@pytest.mark.parametrize("table_bits", TABLE_BITS)
@pytest.mark.parametrize("table", [ScalarTable.EXP, ScalarTable.LOG])
def test_tables_of_losses_are_right_on_average(table, table_bits):
    """In all, in the first segment, and where exponentials are large."""
    function, _, _ = EXACT[table]
    error = scalar_lookup(*scalar_tables(table_bits), table, EVERY_INPUT) - function(EVERY_INPUT)
    segments = error.reshape(1 << table_bits, -1).mean(axis=1)
    assert abs(error.mean()) <= 0.1 + np.abs(error).max() / 1000
    # Both ends are rounded.
    assert np.abs(segments[:8]).max() <= 1 + 0.1 * np.abs(error).max()


def test_scalar_tables_are_exact_at_their_fixed_points():
    values, slopes = scalar_tables(9)
    assert scalar_lookup(values, slopes, ScalarTable.EXP, 0) == 2**17
    assert scalar_lookup(values, slopes, ScalarTable.LOG, 0) == 0
    assert scalar_lookup(values, slopes, ScalarTable.RSQRT, [0, 2**15]).tolist() == [2**17, round(2**16.5)]


@pytest.mark.parametrize("width", [16, 18])
@pytest.mark.parametrize("table_bits", TABLE_BITS)
@pytest.mark.parametrize(("builder", "function"), [(sine_table, np.sin), (tanh_table, np.tanh)])
@pytest.mark.parametrize("integer_bits", [2, 4])
def test_activation_tables_are_as_exact_as_chords_can_be(width, table_bits, builder, function, integer_bits):
    input_format, output_format = FixedPoint(width, width - integer_bits), FixedPoint(width, width - 2)
    values, slopes = builder(input_format, output_format, table_bits)
    inputs = np.arange(input_format.lowest, input_format.highest + 1)
    outputs, _ = expand_activation(values, slopes, width)
    error = output_format.decode(outputs) - function(input_format.decode(inputs))
    step = 2 * input_format.limit / 2**table_bits
    # Neither function bends more than 1.
    assert np.abs(error).max() <= step**2 / 8 + output_format.resolution
    np.testing.assert_array_equal((values + slopes)[:-1], values[1:])


def test_activation_outputs_saturate():
    form = FixedPoint(16, 12)
    values, slopes = build_activation(lambda x: 3 * x, form, form, 6)
    outputs, clipped = expand_activation(values, slopes, 16)
    assert not clipped.any()
    assert outputs.min() == form.lowest
    assert outputs.max() == form.highest
    assert (np.diff(outputs) >= 0).all()


@given(st.integers(1, 11), st.integers(0, 2**32))
def test_interpolation_follows_the_definition(fraction_bits, seed):
    rng = np.random.default_rng(seed)
    values, slopes = rng.integers(-(2**17), 2**17, (2, 64))
    inputs = rng.integers(0, 64 << fraction_bits, 50)
    expected = [
        int(values[n >> fraction_bits])
        + ((int(slopes[n >> fraction_bits]) * (n % (1 << fraction_bits)) + (1 << (fraction_bits - 1))) >> fraction_bits)
        for n in inputs.tolist()
    ]
    assert interpolate(values, slopes, inputs, fraction_bits).tolist() == expected


def test_lookups_clip():
    extreme = np.full(64, 2**15 - 1)
    assert activation_lookup(extreme, extreme, 2**15 - 1, 16) == 2**15 - 1
    assert activation_lookup(-extreme, -extreme, 2**15 - 1, 16) == -(2**15)
    values, slopes = np.full(3 * 64, 2**18 - 1), np.full(3 * 64, 2**17 - 1)
    assert scalar_lookup(values, slopes, ScalarTable.LOG, 2**16 - 1) == 2**18 - 1
    assert scalar_lookup(0 * values, -slopes, ScalarTable.RSQRT, 2**16 - 1) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.sin, FixedPoint(18, 15), FixedPoint(16, 14), 9), "input and output must have one width, not 18 and 16"),
        ((np.sin, FixedPoint(16, 13), FixedPoint(16, 14), 16), "table_bits must be from 1 to 15, not 16"),
        ((np.reciprocal, FixedPoint(16, 13), FixedPoint(16, 14), 9), "must be finite over the whole input range"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_builder_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_activation(*arguments)


def test_scalar_tables_refuse_tables_without_fraction():
    with pytest.raises(ValueError, match="table_bits must be from 1 to 15, not 16"):
        scalar_tables(16)


def test_lookup_refuses_odd_lengths():
    with pytest.raises(ValueError, match="a table must have a power of two of entries, not 63"):
        activation_lookup(np.zeros(63), np.zeros(63), 0, 16)
