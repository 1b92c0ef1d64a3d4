"""The compiler's one exception."""

from __future__ import annotations

__all__ = ["CompileError"]


class CompileError(ValueError):
    """A model does not fit an engine or its numbers cannot be proven safe; the message says what would help."""
