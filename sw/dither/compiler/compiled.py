"""What the compiler hands out: a program with its commands and its figures."""

from __future__ import annotations

from dataclasses import dataclass

from .commands import Commands
from .figures import Figures
from .program import Program

__all__ = ["Compiled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled(Program):
    """A program for one model, recipe and engine, and what one can do with it."""

    @property
    def commands(self) -> Commands:
        """What a host says to a device that runs the program, and what the answers mean."""
        return Commands(self)

    @property
    def figures(self) -> Figures:
        """What the program costs."""
        return Figures(self)
