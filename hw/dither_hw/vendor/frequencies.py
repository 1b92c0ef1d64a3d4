"""Searches for settings of clock multipliers: what all families' searches have in common."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

__all__ = ["exact", "within"]

_S = TypeVar("_S")


def within(what: str, hz: int, limits: tuple[int, int]) -> None:
    """Refuses a frequency outside of its limits.

    :param what: what has the frequency, for the message.
    :raises ValueError: if it is outside.
    """
    if not limits[0] <= hz <= limits[1]:
        raise ValueError(f"{what} must be from {limits[0] / 1e6:g} to {limits[1] / 1e6:g} MHz, not {hz / 1e6:g} MHz")


def exact(found: dict[Fraction, _S], input_hz: int, output_hz: int) -> _S:
    """Returns the settings that make exactly ``output_hz``.

    :param found: settings by the frequency that they make.
    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    if output_hz in found:
        return found[Fraction(output_hz)]
    below = max((hz for hz in found if hz < output_hz), default=None)
    above = min((hz for hz in found if hz > output_hz), default=None)
    near = " and ".join(f"{float(hz) / 1e6:.6g}" for hz in (below, above) if hz is not None)
    raise ValueError(
        f"no PLL setting makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz; nearest: {near or 'none'}"
    )
