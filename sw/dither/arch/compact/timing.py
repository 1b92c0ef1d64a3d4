"""Cycle costs of compact engines: the sequencer's, which executes step by step what is not the
scalar unit's.

The sequencer's program is ``dither_hw.compact.control_program``; the numbers here are lengths of
paths through it.
"""

from __future__ import annotations

import math

from ..config import EngineConfig
from ..isa import OUTER_LOOPS, REDUCTION_LOOPS, Instruction, InstructionFormat, Memory
from .microcode.cycles import cycles as scalar_cycles
from .microcode.layout import STATE_MEMORIES

__all__ = ["COMPACT_FETCH", "compact_execution_cycles", "compact_fetch_cycles"]

COMPACT_FETCH = {
    "HALT": 7,
    "LOOP": 42,
    "END": 25,
    "CALL": 22,
    "RETURN": 16,
    "SET": 28,
    "ADD": 31,
    "SUBTRACT": 31,
    "PULL": 13,
    "EMIT": 13,
    "LOAD": 55,
    "STORE": 55,
    "CONTRACT": 48,
    "LOSS": 22,
    "PERTURB": 20,
    "ACCUMULATE": 18,
    "UPDATE": 17,
}
"""Cycles of an instruction that are not its execution: fetching it, decoding it, what is left to do
behind it.
"""

_SETUP = 98
"""CONTRACT's cycles before the first term: modes, addresses, counters, the first bias."""
_CHECK, _END = 3, 4
"""Cycles to see whether a loop goes on and, if it does not, to begin it anew."""
_INNER, _INNER_ADVANCE = 3, 5
"""Cycles from the end of loop k0 to the first check of another inner loop, and from a check to the
next term.
"""
_OUTER_ADVANCE = 8
"""Cycles from an outer loop's check to the next term."""
_DRAINED = 6
"""Cycles of a drain besides those of its lanes: order, requantiser."""
_STATE = 3
"""Cycles before the scalar unit is started for a LOAD or a STORE."""
_SCALAR, _CONTROL = 2, 1
"""PULL's and EMIT's cycles, and those of instructions that only control."""


def compact_fetch_cycles(form: InstructionFormat) -> int:
    """See :data:`COMPACT_FETCH`; zero for what a compact engine does not know."""
    return COMPACT_FETCH.get(form.name, 0)


def compact_execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    """As :func:`dither.arch.timing.execution_cycles`, of a compact engine."""
    match instruction.name:
        case "PULL" | "EMIT":
            return _SCALAR
        case "LOAD" | "STORE":
            return _transfer(config, instruction)
        case "CONTRACT":
            return _contract(config.lanes, instruction)
        case "LOSS" | "PERTURB" | "ACCUMULATE" | "UPDATE":
            return scalar_cycles(config, instruction)
        case _:
            return _CONTROL


def _contract(lanes: int, instruction: Instruction) -> int:
    """CONTRACT: one cycle a term, and those in which loops advance. A tile always lasts longer than
    its drain, so ``idle`` is ignored."""
    reduction = [instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS]
    outer = [instruction[f"n_{loop}"] for loop in OUTER_LOOPS]
    tiles, runs = math.prod(outer), math.prod(reduction[1:])
    inner = 1
    if runs > 1:
        # Loop k1 is checked after every run of k0, loop k2 after the last one of k1.
        inner = runs * (_INNER + _CHECK) + (runs - 1) * _INNER_ADVANCE + reduction[2] * (_END + _CHECK) + _END + 1
    ends = sum(math.prod(outer[i + 1 :]) for i in range(len(outer)))
    outside = tiles * _CHECK + (tiles - 1) * _OUTER_ADVANCE + ends * (_END + _CHECK) - _CHECK
    return _SETUP + tiles * (math.prod(reduction) + inner) + outside + lanes + _DRAINED


def _transfer(config: EngineConfig, instruction: Instruction) -> int:
    """LOAD and STORE, without waiting."""
    count, load = instruction["count"], instruction.name == "LOAD"
    match memory := Memory(instruction["memory"]):
        case Memory.ACTIVATION:
            return 7 + count * (config.lanes + (1 if load else 2))
        case Memory.WEIGHT:
            return 6 + count * (3 if load else 4)
        case _:
            return _STATE + (scalar_cycles(config, instruction) if memory in STATE_MEMORIES else 0)
