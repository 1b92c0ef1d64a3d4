"""Numbers as text that people read easily."""

from __future__ import annotations

import math

__all__ = ["count", "duration", "number", "percent"]


def count(value: int) -> str:
    """Returns an integer with its thousands apart; from ten million on, four digits and a unit."""
    if value < 10_000_000:
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    power = min(int(math.log10(value)) // 3, 5)
    return f"{value / 1000**power:.4g}\N{NARROW NO-BREAK SPACE}{' kMGTP'[power]}"


def duration(seconds: float) -> str:
    """Returns a time as seconds, as minutes and seconds, or as hours and minutes."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def percent(fraction: float) -> str:
    """Returns a fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f}%"


def number(value: float) -> str:
    """Returns a number with four significant digits."""
    return f"{value:.4g}".replace("-", "−")
