"""Points that no test can meet, and why."""

from __future__ import annotations

import re

__all__ = ["reason"]

_REASONS = (
    ("PERTURB", r"(inner|tiles) zero", "a tensor has a word"),
    ("ACCUMULATE", r"(inner|tiles) zero", "a tensor has a word"),
    ("STORE", r"memory (ACTIVATION|SCALAR)_TABLE", "tables cannot be read back (docs/isa.md)"),
)
"""Instruction, pattern of points, and the reason."""


def reason(instruction: str, point: str) -> str | None:
    """Returns why a point cannot be met, or None if nothing says so."""
    return next((why for name, pattern, why in _REASONS if name == instruction and re.fullmatch(pattern, point)), None)
