"""The program that diagrams show: digits, one tile of samples, one probe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from ..arch.config import PRESETS
from ..arch.isa import REGISTERS, Instruction
from ..compiler import Compiled, Labelled, compile
from ..golden.control import Program, Stack, wrap
from ..train.task import Task
from ..train.tasks import load_task

__all__ = ["Event", "example", "trace"]


@cache
def example() -> Compiled:
    """Returns the program of one probe in all parameters of the digits network."""
    task = load_task("digits")
    assert isinstance(task, Task)
    engine = PRESETS["2x16"]
    recipe = replace(
        task.recipe, batch=engine.lanes, tile=engine.lanes, probes=1, estimator="joint", sides="one", seed=1
    )
    samples = Labelled(task.train.inputs, task.train.labels)
    return compile(task.model, samples, recipe, engine, task.model.initial_parameters(seed=1))


@dataclass(frozen=True, slots=True)
class Event:
    """One instruction as it is executed."""

    instruction: Instruction
    """Instruction with the values of its fields."""
    begin: int
    """Cycle in which its first word is fetched, from the program's start."""
    fetch: int
    """Cycles of fetching it."""
    cycles: int
    """Cycles of executing it."""

    @property
    def end(self) -> int:
        """Cycle in which the next instruction begins."""
        return self.begin + self.fetch + self.cycles


def trace(compiled: Compiled, scalars: list[int]) -> Iterator[Event]:
    """Follows a training command through its program and yields every instruction with its cycles.

    :param scalars: what the program pulls, in order.
    """
    program, stack, registers = Program(compiled.engine), Stack(), [0] * REGISTERS
    program.write(compiled.program)
    address, now, pulled = compiled.entries["train"], 0, iter(scalars)
    while True:
        decoded = program.at(address)
        done, address = decoded.instruction, decoded.following
        yield Event(done, now, decoded.fetch, decoded.cycles)
        now += decoded.fetch + decoded.cycles
        match done.name:
            case "HALT":
                return
            case "LOOP":
                stack.open_loop(address, registers[done["register"]] + done["count"])
            case "END":
                address = stack.end(address)
            case "CALL":
                stack.call(address)
                address = done["target"]
            case "RETURN":
                address = stack.back()
            case "SET":
                registers[done["target"]] = wrap(registers[done["source"]] + done["value"])
            case "PULL":
                registers[done["target"]] = next(pulled)
