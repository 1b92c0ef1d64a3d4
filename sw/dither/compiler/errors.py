"""The compiler's one exception."""

from __future__ import annotations

__all__ = ["CompileError", "shortage"]

_DEEPEST = 1 << 15


class CompileError(ValueError):
    """A model does not fit an engine or its numbers cannot be proven safe; the message says what
    would help.
    """


def shortage(memory: str, needed: int, available: int, parameter: str, otherwise: str) -> CompileError:
    """The error of a memory that is too small.

    :param parameter: the engine's parameter that gives its depth.
    :param otherwise: what would help besides.
    """
    deeper = f"{parameter}={needed}, " if needed <= _DEEPEST else ""
    return CompileError(
        f"{memory}: {needed} words needed, {available} available ({needed - available} too many); "
        f"use {deeper}{otherwise}"
    )
