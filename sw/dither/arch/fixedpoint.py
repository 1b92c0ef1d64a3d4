"""Fixed-point numbers: the one definition of format, rounding and saturation.

A value ``v`` is held as the signed integer ``round(v * 2**frac)``. Rounding is *half-up* everywhere
(add half a unit, then floor): it is one adder in gateware and one ``floor`` on float64, and both
give the same bits. Saturation clips to the ends of the range; callers always count the clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FixedPoint", "saturate", "shift_round"]


def shift_round(values: ArrayLike, shift: int) -> NDArray[np.int64]:
    """Shifts integers right by ``shift`` bits, rounding half-up; left where ``shift`` is negative.

    :param values: integers of any shape; magnitudes below 2**62.
    :returns: ``floor(values / 2**shift + 1/2)``, int64.
    """
    integers = np.asarray(values, dtype=np.int64)
    if shift <= 0:
        return integers << -shift
    return (integers + (1 << (shift - 1))) >> shift


def saturate(values: ArrayLike, width: int) -> tuple[NDArray[np.int64], int]:
    """Clips integers to the range of ``width`` signed bits and counts the clips.

    :returns: the clipped integers and how many of them were clipped.
    """
    integers = np.asarray(values, dtype=np.int64)
    clipped = np.clip(integers, -(1 << (width - 1)), (1 << (width - 1)) - 1)
    return clipped, int(np.count_nonzero(clipped != integers))


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A signed two's-complement format of ``width`` bits, ``frac`` of them behind the binary point.

    ``frac`` may be negative or exceed ``width``: the binary point may lie outside the word. An
    example: ``FixedPoint(16, 12)`` holds multiples of 2**-12 from -8 to just below 8.

    :raises ValueError: if ``width`` is not an integer from 2 to 48, or ``frac`` no integer.
    """

    width: int
    """Number of bits in all, 2 to 48."""
    frac: int
    """Number of bits behind the binary point; it may be negative or exceed ``width``."""

    def __post_init__(self) -> None:
        if not isinstance(self.width, int) or not 2 <= self.width <= 48:
            raise ValueError(f"width must be an integer from 2 to 48, not {self.width!r}")
        if not isinstance(self.frac, int):
            raise ValueError(f"frac must be an integer, not {self.frac!r}")

    @property
    def lowest(self) -> int:
        """The smallest integer that the format holds, ``-2**(width-1)``."""
        return -(1 << (self.width - 1))

    @property
    def highest(self) -> int:
        """The largest integer that the format holds, ``2**(width-1) - 1``."""
        return (1 << (self.width - 1)) - 1

    @property
    def resolution(self) -> float:
        """The real value of one unit in the last place, ``2**-frac``."""
        return math.ldexp(1.0, -self.frac)

    @property
    def limit(self) -> float:
        """The least magnitude that is too large for the format, ``2**(width-1-frac)``.

        As two's complement has one negative number more, its negative is held.
        """
        return math.ldexp(1.0, self.width - 1 - self.frac)

    @classmethod
    def covering(cls, magnitude: float, width: int, max_frac: int | None = None) -> FixedPoint:
        """Returns the finest format of ``width`` bits whose range contains ``±magnitude``.

        :param max_frac: upper bound of the fraction bits.
        :raises ValueError: if ``magnitude`` is negative, infinite or NaN.
        """
        if not math.isfinite(magnitude) or magnitude < 0:
            raise ValueError(f"magnitude must be finite and not negative, not {magnitude!r}")
        frac = width - 1 if magnitude == 0 else width - 1 - math.frexp(magnitude)[1]
        return cls(width, frac if max_frac is None else min(frac, max_frac))

    def encode(self, values: ArrayLike) -> NDArray[np.int64]:
        """Rounds real values half-up to integers of this format and saturates them.

        :returns: int64 of the shape of ``values``.
        :raises ValueError: if a value is NaN.
        """
        return self.encode_counted(values)[0]

    def encode_counted(self, values: ArrayLike) -> tuple[NDArray[np.int64], int]:
        """Does the same as :meth:`encode` and also returns how many values saturated."""
        scaled = np.floor(np.ldexp(np.asarray(values, dtype=np.float64), self.frac) + 0.5)
        if np.isnan(scaled).any():
            raise ValueError("NaN cannot be held in fixed point")
        clipped = np.clip(scaled, self.lowest, self.highest)
        return clipped.astype(np.int64), int(np.count_nonzero(clipped != scaled))

    def decode(self, integers: ArrayLike) -> NDArray[np.float64]:
        """Returns the real values, float64, of integers of this format."""
        return np.ldexp(np.asarray(integers, dtype=np.float64), -self.frac)

    def __str__(self) -> str:
        return f"Q{self.width - self.frac}.{self.frac}"
