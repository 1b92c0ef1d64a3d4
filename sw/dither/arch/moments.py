"""How UPDATE holds moments: their binary points, and the two scales of a second moment.

A square of a gradient has 32 bits, and a slow average of squares needs fraction bits besides, or it
stands still as soon as it is near enough. The words have 32 bits all the same, because a large
average can do without fractions: a bit of the word says which of two scales the others count in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fixedpoint import shift_round
from .isa import MASTER_BITS

__all__ = [
    "ADAM_FRAC",
    "COARSE_SHIFT",
    "EPSILON",
    "LARGEST_SQUARE",
    "MOMENT_FRAC",
    "ROOT_SHIFT",
    "SQUARE_FRAC",
    "WIDE_BITS",
    "pack_square",
    "unpack_square",
]

MOMENT_FRAC = 10
"""Fraction bits of a first moment, below a gradient's unit: of MOMENTUM, whose sums need the bits
above, and of SIGN_MOMENTUM."""
ADAM_FRAC = 15
"""Fraction bits of ADAM's first moment, an average: as many as 17 bits of a gradient leave."""
SQUARE_FRAC = 13
"""Fraction bits of a second moment, below the unit of a gradient's square."""
COARSE_SHIFT = 14
"""By how many bits the coarse scale of a second moment's word is the coarser one."""
LARGEST_SQUARE = (1 << MASTER_BITS) - 2
"""Squares are bounded by it, so that what is packed always fits its word."""
EPSILON = 1 << SQUARE_FRAC - 2
"""ADAM's root is that of the second moment plus EPSILON >> decay2, and of 1 at least. That is a
quarter of what a gradient of one unit adds to the moment in a step, so it is felt by gradients of
few units alone, in the first step as later."""
WIDE_BITS = MASTER_BITS + SQUARE_FRAC
"""Bits, unsigned, of a second moment that is unpacked."""
ROOT_SHIFT = 17 + ADAM_FRAC - 12 - (SQUARE_FRAC + 1) // 2
"""By how many bits ADAM's product is shifted at least: its factors have 17 and ADAM_FRAC fraction
bits, a direction has 12, and the root of the second moment's unit is 2**-6.5."""

_FINE_BITS = MASTER_BITS - 1


def unpack_square(words: ArrayLike) -> NDArray[np.int64]:
    """Returns second moments with 13 fraction bits, int64 of 45 bits, from their words.

    A word whose highest bit is 0 is the number itself; otherwise the other 31 bits stand 14 bits
    further up.

    :param words: integers of 32 bits, unsigned, of any shape.
    """
    numbers = np.asarray(words, dtype=np.int64)
    rest = numbers & ((1 << _FINE_BITS) - 1)
    return np.where(numbers >> _FINE_BITS, rest << COARSE_SHIFT, rest)


def pack_square(numbers: ArrayLike) -> NDArray[np.int64]:
    """The inverse of :func:`unpack_square`, int64; what needs more than 31 bits is rounded half-up.

    :param numbers: integers from 0 to ``LARGEST_SQUARE << SQUARE_FRAC``.
    """
    wide = np.asarray(numbers, dtype=np.int64)
    return np.where(wide >> _FINE_BITS, (1 << _FINE_BITS) + shift_round(wide, COARSE_SHIFT), wide)
