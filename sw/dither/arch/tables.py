"""Contents of the piecewise-linear tables, and the interpolation between their entries.

A table has ``2**table_bits`` segments. An input of n bits is split in an index (its upper
``table_bits``) and a fraction f (the other F bits):
``y = value[index] + ((slope[index] * f + 2**(F-1)) >> F)``, then clipped. Builders here round the
function at the segments' ends and take differences as slopes, so neighbouring segments meet:
``value[i] + slope[i] == value[i+1]``. The error is then at most ``h**2 / 8 * max|y''|`` (chord of a
segment of width h) plus one unit (half for the ends, half for the interpolation).

Chords of a function that bends one way are all off to one side. LOSS sums many exponentials, and
its derivatives should not add up to more than zero, so the tables of exp and log are moved by what
their chords are off on average; see :func:`scalar_tables`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fixedpoint import FixedPoint

__all__ = [
    "SCALAR_INPUT_BITS",
    "SCALAR_VALUE_BITS",
    "ScalarTable",
    "Table",
    "activation_lookup",
    "build_activation",
    "expand_activation",
    "interpolate",
    "scalar_lookup",
    "scalar_tables",
    "sine_table",
    "tanh_table",
]

SCALAR_INPUT_BITS = 16
"""Bits of an input of a scalar table, unsigned."""
SCALAR_VALUE_BITS = 18
"""Bits of a value, and of a slope, of a scalar table."""

Table = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Contents of a table: values and slopes, int64 with one entry for each segment, in address order.
"""


class ScalarTable(IntEnum):
    """The scalar tables, in the order in which they stand in their memory."""

    EXP = 0
    """The table of exp(-d): input d with 12 fraction bits (0 <= d < 16), output exp(-d) * 2**17."""
    LOG = 1
    """The table of ln(1+x): input x with 16 fraction bits (0 <= x < 1), output ln(1+x) * 2**16."""
    RSQRT = 2
    """The table of the reciprocal square root: output 2**17 / sqrt((1+x) * 2**o).

    Bit 15 of the input is o; the others are x, with 15 fraction bits.
    """


_SCALAR_FUNCTIONS: dict[ScalarTable, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    ScalarTable.EXP: lambda u: np.exp(-16 * u) * 2**17,
    ScalarTable.LOG: lambda u: np.log1p(u) * 2**16,
    ScalarTable.RSQRT: lambda u: 2**17 / np.sqrt(np.where(u < 0.5, 1 + 2 * u, 4 * u)),
}
"""Function of each table: from the input as a fraction u of its range, 0 to 1, to output units."""


def interpolate(values: ArrayLike, slopes: ArrayLike, inputs: ArrayLike, fraction_bits: int) -> NDArray[np.int64]:
    """Returns piecewise-linear interpolations, not yet clipped.

    :param values: one integer for each segment: the output at its beginning.
    :param slopes: one integer for each segment: the rise over the whole segment.
    :param inputs: unsigned integers, index above ``fraction_bits`` bits of fraction.
    :returns: int64 of the shape of ``inputs``.
    """
    positions = np.asarray(inputs, dtype=np.int64)
    index, fraction = positions >> fraction_bits, positions & ((1 << fraction_bits) - 1)
    starts = np.asarray(values, dtype=np.int64)[index]
    rise = np.asarray(slopes, dtype=np.int64)[index] * fraction
    result: NDArray[np.int64] = starts + ((rise + (1 << (fraction_bits - 1))) >> fraction_bits)
    return result


def activation_lookup(values: ArrayLike, slopes: ArrayLike, inputs: ArrayLike, width: int) -> NDArray[np.int64]:
    """Returns what the drain's interpolator gives for inputs of one activation table.

    :param values: 2**table_bits values of ``width`` bits, signed.
    :param slopes: 2**table_bits slopes of ``width`` bits, signed.
    :param inputs: integers of ``width`` bits, signed, of any shape.
    :returns: int64 of ``width`` bits, signed, of the shape of ``inputs``.
    :raises ValueError: if the number of entries is no power of two.
    """
    fraction_bits = width - _table_bits(values)
    half = 1 << (width - 1)
    return np.clip(interpolate(values, slopes, np.asarray(inputs) + half, fraction_bits), -half, half - 1)


def expand_activation(values: ArrayLike, slopes: ArrayLike, width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns an activation table's output for every possible input, and where it is clipped.

    Both arrays have 2**width elements; the most negative input comes first.
    """
    half, fraction_bits = 1 << (width - 1), width - _table_bits(values)
    starts, slopes = (np.asarray(each, dtype=np.int64)[:, None] for each in (values, slopes))
    rise = slopes * np.arange(1 << fraction_bits) + (1 << (fraction_bits - 1))  # a line for each segment
    exact = (starts + (rise >> fraction_bits)).reshape(-1)
    outputs = np.clip(exact, -half, half - 1)
    return outputs, outputs != exact


def scalar_lookup(values: ArrayLike, slopes: ArrayLike, table: ScalarTable, inputs: ArrayLike) -> NDArray[np.int64]:
    """Returns what the scalar interpolator gives for inputs of one of the scalar tables.

    :param values: values in the scalar-table memory, all three tables: 3 * 2**table_bits integers.
    :param slopes: slopes in the scalar-table memory, as many.
    :param inputs: integers of 16 bits, unsigned, of any shape.
    :returns: int64 of 18 bits, unsigned, of the shape of ``inputs``.
    """
    length = len(np.asarray(values)) // len(ScalarTable)
    part = slice(table * length, (table + 1) * length)
    fraction_bits = SCALAR_INPUT_BITS - _table_bits(np.asarray(values)[part])
    result = interpolate(np.asarray(values)[part], np.asarray(slopes)[part], inputs, fraction_bits)
    return np.clip(result, 0, (1 << SCALAR_VALUE_BITS) - 1)


_CENTRED = (ScalarTable.EXP, ScalarTable.LOG)
"""Tables whose errors cancel in sums over many inputs: those of LOSS."""


def _table_bits(values: ArrayLike) -> int:
    length = len(np.asarray(values))
    if length < 2 or length & (length - 1):
        raise ValueError(f"a table must have a power of two of entries, not {length}")
    return length.bit_length() - 1


def build_activation(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    input_format: FixedPoint,
    output_format: FixedPoint,
    table_bits: int,
) -> Table:
    """Builds the activation table of a function of one real variable.

    Outputs beyond ``output_format`` saturate. Segments meet, except where the function rises by
    more than half the output's range within one of them.

    :param function: vectorised, finite over the whole input range (its upper end included).
    :param input_format: format of the requantised sums; W bits.
    :param output_format: format of the activations; W bits too.
    :param table_bits: log2 of the number of segments.
    :returns: values and slopes, int64 of shape (2**table_bits,) each, W bits signed.
    :raises ValueError: if the widths differ, ``table_bits`` leaves no fraction, or the function is
        not finite.
    """
    width = input_format.width
    if output_format.width != width:
        raise ValueError(f"input and output must have one width, not {width} and {output_format.width}")
    if not 1 <= table_bits < width:
        raise ValueError(f"table_bits must be from 1 to {width - 1}, not {table_bits}")
    ends = np.linspace(-input_format.limit, input_format.limit, (1 << table_bits) + 1)
    outputs = np.asarray(function(ends), dtype=np.float64)
    if not np.isfinite(outputs).all():
        raise ValueError("the activation function must be finite over the whole input range")
    nodes = output_format.encode(outputs)
    return nodes[:-1], np.clip(np.diff(nodes), output_format.lowest, output_format.highest)


def sine_table(input_format: FixedPoint, output_format: FixedPoint, table_bits: int) -> Table:
    """Builds the activation table of the sine (input in radians)."""
    return build_activation(np.sin, input_format, output_format, table_bits)


def tanh_table(input_format: FixedPoint, output_format: FixedPoint, table_bits: int) -> Table:
    """Builds the activation table of the hyperbolic tangent."""
    return build_activation(np.tanh, input_format, output_format, table_bits)


def scalar_tables(table_bits: int) -> Table:
    """Returns the contents of the scalar-table memory: exp, log and rsqrt, one behind the other.

    Those of exp and log are right on average: each end of a segment is moved by the mean of what
    the chords at either side of it are off. The very beginning is exact, because the largest output
    of a sample stands there, so the first segment ends lower, or higher, by as much again, and does
    not meet the second. Their largest errors are those of chords times 4/3.

    :param table_bits: log2 of the segments of each table.
    :returns: values (18 bits unsigned) and slopes (18 bits signed), int64 of shape (3 *
        2**table_bits,) each, in address order.
    :raises ValueError: if ``table_bits`` leaves no fraction of the 16 input bits.
    """
    if not 1 <= table_bits < SCALAR_INPUT_BITS:
        raise ValueError(f"table_bits must be from 1 to {SCALAR_INPUT_BITS - 1}, not {table_bits}")
    both = [_segments(table, table_bits) for table in ScalarTable]
    return np.concatenate([values for values, _ in both]), np.concatenate([slopes for _, slopes in both])


def _segments(table: ScalarTable, table_bits: int) -> Table:
    """Values and slopes of one scalar table."""
    halves = _SCALAR_FUNCTIONS[table](np.linspace(0, 1, (2 << table_bits) + 1))
    exact, middle = halves[::2], halves[1::2]
    start, end = exact[:-1].copy(), exact[1:].copy()
    if table in _CENTRED:
        # How far the chord of each segment is off on average, by Simpson's rule.
        off = (start - 2 * middle + end) / 3
        shared = (off[:-1] + off[1:]) / 2
        start[1:] -= shared
        end[:-1] -= shared
        end[-1] -= off[-1]
        end[0] = exact[1] - 2 * off[0]
    values = np.floor(start + 0.5).astype(np.int64)
    return values, np.floor(end + 0.5).astype(np.int64) - values
