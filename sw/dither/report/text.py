"""Numbers as text that people read easily."""

from __future__ import annotations

import math
import re

__all__ = ["count", "duration", "number", "percent", "power_of_ten", "setting", "thousands"]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(value: int) -> str:
    """Returns an integer with its thousands apart; from ten million on, four digits and a unit."""
    if value < 10_000_000:
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    power = min(int(math.log10(value)) // 3, 5)
    return f"{value / 1000**power:.4g}\N{NARROW NO-BREAK SPACE}{' kMGTP'[power]}"


def thousands(text: str) -> str:
    """Returns a text whose numbers have their thousands apart as those of :func:`count` have."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\N{NARROW NO-BREAK SPACE}", text)


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


def number(value: float, digits: int = 4) -> str:
    """Returns a number with some significant digits, very small and large ones by powers of ten."""
    mantissa, _, power = f"{value:.{digits}g}".replace("-", "−").partition("e")
    return f"{mantissa} × {power_of_ten(int(power.replace('−', '-')))}" if power else mantissa


def power_of_ten(exponent: int) -> str:
    """Returns a power of ten, such as 10⁶."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def setting(value: object) -> str:
    """Returns the value of a setting as text; a power of two as one, for its digits are many."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(setting, value))
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        mantissa, exponent = math.frexp(value)
        return f"2{str(exponent - 1).translate(_SUPERSCRIPTS)}" if mantissa == 0.5 and exponent < 0 else number(value)
    return str(value)
