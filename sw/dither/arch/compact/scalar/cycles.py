"""Cycles of the scalar unit's instructions, measured: the interpreter counts the microinstructions
of the microprogram.

What is counted depends on few fields of an instruction and on no data. Loops over many parameters
are not executed in full: a count grows evenly once its loop has come to its rhythm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ...config import EngineConfig
from ...generator import BLOCK_BITS, INDEX_ALIGNMENT
from ...isa import INSTRUCTIONS, Instruction, Memory
from .interpreter import Interpreter
from .layout import STATE_MEMORIES
from .machine import CYCLES, START_CYCLES
from .operands import instruction_slots
from .program import program

__all__ = ["cycles", "microinstructions"]

_PARAMETERS = {"inner": BLOCK_BITS // INDEX_ALIGNMENT, "tiles": BLOCK_BITS, "distribution": 0}
_TRANSFER = {"count": 1, "memory": 0}
_DECISIVE = {
    "LOSS": {"count": 1, "kind": 0, "mode": 0},
    "PERTURB": _PARAMETERS,
    "ACCUMULATE": _PARAMETERS,
    "UPDATE": {"count": 1, "rule": 0},
    "LOAD": _TRANSFER,
    "STORE": _TRANSFER,
}
"""Fields that cycles depend on; for a loop's count, how many iterations make the next ones' work
the same again.
"""
_BEATS = max(STATE_MEMORIES.values())


def cycles(config: EngineConfig, instruction: Instruction) -> int:
    """From ``start`` to ``done``, both included, without waiting for streams.

    :param config: a compact configuration.
    :param instruction: LOSS, PERTURB, ACCUMULATE, UPDATE, or LOAD or STORE of a memory of the state
        memory.
    :raises ValueError: if the scalar unit does not know the instruction, or the configuration
        cannot be.
    """
    if instruction.name not in _DECISIVE:
        raise ValueError(f"the scalar unit does not execute {instruction.name}")
    if instruction.name in ("LOAD", "STORE") and instruction["memory"] not in STATE_MEMORIES:
        raise ValueError(f"{Memory(instruction['memory']).name} is not in the state memory")
    fields = tuple(instruction[name] for name in _DECISIVE[instruction.name])
    return START_CYCLES + CYCLES * _count(config, instruction.name, fields)


@lru_cache(maxsize=1 << 16)
def _count(config: EngineConfig, name: str, fields: tuple[int, ...]) -> int:
    periods = tuple(_DECISIVE[name].values())

    def count(known: tuple[int, ...]) -> int:
        number = len(known)
        if number == len(fields):
            return _short_count(config, name, known)
        if not periods[number]:
            return count((*known, fields[number]))
        return _extrapolate(lambda value: count((*known, value)), fields[number], periods[number])

    return count(())


def _extrapolate(count: Callable[[int], int], value: int, period: int) -> int:
    """``count(value)``, if from ``period`` on counts grow as much in every period."""
    if value < 3 * period:
        return count(value)
    first = period + value % period
    return count(first) + (value - first) // period * (count(first + period) - count(first))


@lru_cache(maxsize=1 << 14)
def _short_count(config: EngineConfig, name: str, fields: tuple[int, ...]) -> int:
    given = dict(zip(_DECISIVE[name], fields, strict=True))
    form = next(form for form in INSTRUCTIONS if form.name == name)
    plain = Instruction(name, dict.fromkeys((field.name for field in form.fields), 0) | given)
    return microinstructions(config, plain)


def microinstructions(config: EngineConfig, instruction: Instruction) -> int:
    """How many microinstructions are executed for an instruction: it is executed, with all memories
    zero.
    """
    unit = Interpreter(program(config), config.lanes, config.activation_depth, config.parameter_depth)
    slots = instruction_slots(instruction)
    unit.control[: len(slots)] = slots
    memory = None
    if instruction.name in ("LOAD", "STORE"):
        memory = instruction["memory"]
        unit.feed([0] * (_BEATS * instruction["count"]))
    return unit.run(instruction.format.opcode, memory)
