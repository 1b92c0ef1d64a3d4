"""Exceptions of the compiler: what does not fit, and what an engine has too little of."""

from __future__ import annotations

__all__ = ["CompileError", "ShortageError", "shortage"]

_DEEPEST = 1 << 15


class CompileError(ValueError):
    """A model does not fit an engine or its numbers cannot be proven safe; the message says what
    would help.
    """


class ShortageError(CompileError):
    """An engine has too little of something that one of its parameters gives.

    :param what: the memory, or what else there is too little of.
    :param parameter: the engine's parameter that says how much of it there is.
    """

    def __init__(self, message: str, what: str, needed: int, available: int, parameter: str) -> None:
        super().__init__(message)
        self.what = what
        self.needed = needed
        self.available = available
        self.parameter = parameter


def shortage(memory: str, needed: int, available: int, parameter: str, otherwise: str) -> ShortageError:
    """The error of a memory that is too small.

    :param parameter: the engine's parameter that gives its depth.
    :param otherwise: what would help besides.
    """
    deeper = f"{parameter}={needed}, " if needed <= _DEEPEST else ""
    message = (
        f"{memory}: {needed} words needed, {available} available ({needed - available} too many); "
        f"use {deeper}{otherwise}"
    )
    return ShortageError(message, memory, needed, available, parameter)
