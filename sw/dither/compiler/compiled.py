"""What the compiler hands out: a program with its commands and its figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..arch.config import EngineConfig
from .commands import Commands
from .emitter import Emitter, Exchange
from .errors import CompileError, shortage
from .figures import Figures
from .program import Program

__all__ = ["Compiled", "assembled"]


def assembled(emitter: Emitter, engine: EngineConfig) -> tuple[tuple[int, ...], dict[str, int]]:
    """The words of a program and its entries.

    :raises CompileError: if they do not fit the engine.
    """
    program, entries = emitter.program()
    if program.size > engine.program_depth:
        raise shortage("program memory", program.size, engine.program_depth, "program_depth", "fewer layers")
    return tuple(program.words()), entries


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

    def sharing(self, exchange: Exchange) -> Compiled:
        """Returns the program for devices that share its steps.

        :raises CompileError: if it does not fit the engine.
        """
        if self.recipe.solved:
            raise CompileError(
                f"steps of {self.recipe.estimator} are solved for by one device's host; train without --devices and "
                "--cluster"
            )
        emitter = replace(self.emitter, exchange=exchange)
        words, entries = assembled(emitter, self.engine)
        return replace(self, emitter=emitter, program=words, entries=entries)
