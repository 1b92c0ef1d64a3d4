"""Fixed-point numbers: the one definition of format, rounding and saturation.

A value ``v`` is held as the signed integer ``round(v * 2**frac)``. Rounding is *half-up*
everywhere (add half a unit, then floor): it is one adder in gateware and one ``floor`` on
float64, and both give the same bits. Saturation clips to the ends of the range and is always
counted by whoever calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FixedPoint", "saturate", "shift_round"]


def shift_round(values: ArrayLike, shift: int) -> NDArray[np.int64]:
    """Arithmetic shift right by ``shift`` (left where negative), rounding half-up.

    :param values: integers of any shape; magnitudes below 2**62.
    :returns: ``floor(values / 2**shift + 1/2)``, int64.
    """
    integers = np.asarray(values, dtype=np.int64)
    if shift <= 0:
        return integers << -shift
    return (integers + (1 << (shift - 1))) >> shift


def saturate(values: ArrayLike, width: int) -> tuple[NDArray[np.int64], int]:
    """Clip integers to ``width`` signed bits.

    :returns: the clipped integers and how many of them were clipped.
    """
    integers = np.asarray(values, dtype=np.int64)
    clipped = np.clip(integers, -(1 << (width - 1)), (1 << (width - 1)) - 1)
    return clipped, int(np.count_nonzero(clipped != integers))


def _exponent(magnitude: float) -> int:
    """The least e with ``magnitude < 2**e``; 0 for zero."""
    if not math.isfinite(magnitude) or magnitude < 0:
        raise ValueError(f"magnitude must be finite and not negative, not {magnitude!r}")
    return math.frexp(magnitude)[1]


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A signed two's-complement format of ``width`` bits, ``frac`` of them behind the point.

    ``frac`` may be negative or exceed ``width``: the binary point may lie outside the word.
    """

    width: int
    frac: int

    def __post_init__(self) -> None:
        if not isinstance(self.width, int) or not 2 <= self.width <= 48:
            raise ValueError(f"width must be an integer from 2 to 48, not {self.width!r}")
        if not isinstance(self.frac, int):
            raise ValueError(f"frac must be an integer, not {self.frac!r}")

    @property
    def lowest(self) -> int:
        """The smallest integer that the format holds."""
        return -(1 << (self.width - 1))

    @property
    def highest(self) -> int:
        """The largest integer that the format holds."""
        return (1 << (self.width - 1)) - 1

    @property
    def resolution(self) -> float:
        """The value of one unit in the last place."""
        return math.ldexp(1.0, -self.frac)

    @property
    def limit(self) -> float:
        """The magnitude that the format just fails to reach, ``2**(width-1-frac)``."""
        return math.ldexp(1.0, self.width - 1 - self.frac)

    @classmethod
    def covering(cls, magnitude: float, width: int) -> FixedPoint:
        """The finest format of ``width`` bits that holds ``+magnitude`` and ``-magnitude``.

        A power of two needs one bit more than :meth:`reaching` gives it: of 16 bits, the format
        that covers 1 has 14 fraction bits.

        :raises ValueError: if ``magnitude`` is negative, infinite or NaN.
        """
        return cls(width, width - 1 - _exponent(magnitude))

    @classmethod
    def reaching(cls, magnitude: float, width: int) -> FixedPoint:
        """The finest format of ``width`` bits whose :attr:`limit` is at least ``magnitude``.

        It holds ``-magnitude``; where magnitude is a power of two, ``+magnitude`` saturates by one
        unit. Of 16 bits, the format that reaches 1 has 15 fraction bits.

        :raises ValueError: if ``magnitude`` is negative, infinite or NaN.
        """
        power_of_two = math.frexp(magnitude)[0] == 0.5
        return cls(width, width - 1 - _exponent(magnitude) + power_of_two)

    def encode(self, values: ArrayLike) -> NDArray[np.int64]:
        """Round half-up and saturate real values to integers of this format.

        :raises ValueError: if a value is NaN.
        """
        return self.encode_counted(values)[0]

    def encode_counted(self, values: ArrayLike) -> tuple[NDArray[np.int64], int]:
        """Like :meth:`encode`, with the number of values that saturated."""
        scaled = np.floor(np.ldexp(np.asarray(values, dtype=np.float64), self.frac) + 0.5)
        if np.isnan(scaled).any():
            raise ValueError("NaN cannot be held in fixed point")
        clipped = np.clip(scaled, self.lowest, self.highest)
        return clipped.astype(np.int64), int(np.count_nonzero(clipped != scaled))

    def decode(self, integers: ArrayLike) -> NDArray[np.float64]:
        """The real values of integers of this format."""
        return np.ldexp(np.asarray(integers, dtype=np.float64), -self.frac)

    def __str__(self) -> str:
        return f"Q{self.width - self.frac}.{self.frac}"
