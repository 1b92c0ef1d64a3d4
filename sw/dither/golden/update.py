"""The update unit in software: one optimiser step in integers, for any number of parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.fixedpoint import saturate, shift_round
from ..arch.isa import MASTER_BITS, Rule
from ..arch.moments import (
    ADAM_FRAC,
    EPSILON,
    LARGEST_SQUARE,
    MOMENT_FRAC,
    ROOT_SHIFT,
    SQUARE_FRAC,
    pack_square,
    unpack_square,
)
from ..arch.tables import ScalarTable, scalar_lookup
from .loss import floor_log2

__all__ = [
    "DIRECTION_BITS",
    "RATE_BITS",
    "RECIPROCAL_BITS",
    "SHIFTED_BITS",
    "SIGN_UNIT",
    "Updated",
    "adam_direction",
    "step",
    "update",
]

SHIFTED_BITS = 17
"""Number of bits, signed, that a shifted gradient is clipped to."""
DIRECTION_BITS = 18
"""Number of bits of a direction, signed; 12 are fraction bits where a rule is scale-free."""
RATE_BITS = 18
"""Number of bits of a learning-rate mantissa, unsigned."""
SIGN_UNIT = 4096
"""The direction 1.0 in integers: 12 fraction bits."""
RECIPROCAL_BITS = 15
"""Fraction bits of the mantissa that the reciprocal root is looked up with."""


@dataclass(frozen=True, slots=True)
class Updated:
    """Parameters and moments after one optimiser step; gradient accumulators are zero then."""

    master: NDArray[np.int64]
    """Master parameters, int64 of 32 bits, signed."""
    moment1: NDArray[np.int64]
    """First moments, int64 of 32 bits, signed."""
    moment2: NDArray[np.int64]
    """Second moments, int64 of 32 bits, unsigned, packed (:mod:`dither.arch.moments`)."""
    clips: int
    """Number of values that were clipped, all stages of the calculation together."""


def adam_direction(
    moment1: ArrayLike, square: ArrayLike, decay2: int, values: ArrayLike, slopes: ArrayLike
) -> tuple[NDArray[np.int64], int]:
    """Returns Adam's directions: first moments times reciprocal roots of the second.

    :param moment1: integers of 32 bits, signed, 15 of them fraction bits.
    :param square: second moments with 13 fraction bits, integers of 45 bits, unsigned: from
        :func:`dither.arch.moments.unpack_square`, or before they are packed.
    :param decay2: sets beta2 = 1 - 2**-decay2, and what is added to the moments.
    :param values: values in the scalar-table memory, as from
        :func:`dither.arch.tables.scalar_tables`.
    :param slopes: slopes in the scalar-table memory.
    :returns: directions, int64 of 18 bits, signed, 12 of them fraction bits; and how many were
        clipped.
    """
    n = np.maximum(np.asarray(square, dtype=np.int64) + (EPSILON >> decay2), 1)
    e = floor_log2(n)
    # The exponent of the moment itself is e - 13, which is odd where e is even.
    odd = ~e & 1
    # 15 bits below the leading one: shift up first, so that one right shift serves all exponents.
    mantissa = ((n << RECIPROCAL_BITS) >> e) & ((1 << RECIPROCAL_BITS) - 1)
    root = scalar_lookup(values, slopes, ScalarTable.RSQRT, (odd << RECIPROCAL_BITS) + mantissa)
    product = np.asarray(moment1, dtype=np.int64) * root
    shift = ROOT_SHIFT + ((e + 1) >> 1)
    return saturate((product + (np.int64(1) << (shift - 1))) >> shift, DIRECTION_BITS)


def step(difference: ArrayLike, decay: int) -> NDArray[np.int64]:
    """Returns what a first moment goes of its way: rnd(difference, decay), but one unit at least.

    So it arrives, rather than stand still where that rounds to nothing.

    :param difference: integers of up to 48 bits, signed, of any shape.
    :param decay: the way is divided by ``2**decay``.
    """
    way = np.asarray(difference, dtype=np.int64)
    rounded = shift_round(way, decay)
    return np.where(rounded == 0, np.sign(way), rounded)


def update(
    rule: Rule,
    master: ArrayLike,
    gradient: ArrayLike,
    moment1: ArrayLike,
    moment2: ArrayLike,
    *,
    gradient_shift: int,
    decay1: int,
    decay2: int,
    rate: int,
    rate_shift: int,
    values: ArrayLike = (),
    slopes: ArrayLike = (),
) -> Updated:
    """Returns parameters and moments after an UPDATE, for arrays of any one shape.

    :param master: integers of 32 bits, signed.
    :param gradient: integers of 48 bits, signed.
    :param moment1: integers of 32 bits, signed.
    :param moment2: integers of 32 bits, unsigned, packed (:mod:`dither.arch.moments`).
    :param gradient_shift: half-up right shift that brings a gradient to 17 bits, 0 to 47.
    :param decay1: sets beta1 = 1 - 2**-decay1.
    :param decay2: sets beta2 = 1 - 2**-decay2.
    :param rate: learning-rate mantissa; its lowest 18 bits count, unsigned.
    :param rate_shift: half-up right shift of rate times direction.
    :param values: values in the scalar-table memory, for ADAM.
    :param slopes: slopes in the scalar-table memory, for ADAM.
    """
    p, m, v = (np.asarray(values_, dtype=np.int64) for values_ in (master, moment1, moment2))
    h, clips = saturate(shift_round(gradient, gradient_shift), SHIFTED_BITS)
    match rule:
        case Rule.SGD:
            direction = h
        case Rule.SIGN:
            direction = np.sign(h) * SIGN_UNIT
        case Rule.MOMENTUM:
            m, more = saturate(m - step(m, decay1) + (h << MOMENT_FRAC), MASTER_BITS)
            direction, last = saturate(shift_round(m, MOMENT_FRAC), DIRECTION_BITS)
            clips += more + last
        case Rule.SIGN_MOMENTUM:
            signs = np.sign(h) * SIGN_UNIT
            m, more = saturate(m + step((signs << MOMENT_FRAC) - m, decay1), MASTER_BITS)
            direction, last = saturate(shift_round(m, MOMENT_FRAC), DIRECTION_BITS)
            clips += more + last
        case Rule.ADAM:
            m, more = saturate(m + step((h << ADAM_FRAC) - m, decay1), MASTER_BITS)
            square = unpack_square(v)
            square += shift_round((np.minimum(h * h, LARGEST_SQUARE) << SQUARE_FRAC) - square, decay2)
            v = pack_square(square)
            direction, last = adam_direction(m, square, decay2, values, slopes)
            clips += more + last
    change = shift_round(direction * (rate & ((1 << RATE_BITS) - 1)), rate_shift)
    p, last = saturate(p - change, MASTER_BITS)
    return Updated(p, m, v, clips + last)
