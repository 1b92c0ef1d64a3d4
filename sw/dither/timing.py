"""Pipeline depths and exact cycle costs: the one place that both gateware and golden machine take them from.

``cost(config, instruction)`` is exact for every cycle except those spent waiting for a stream.
"""

from __future__ import annotations

from collections.abc import Callable

from .engine import EngineConfig
from .isa import Activation, Instruction, InstructionFormat

__all__ = ["MEMORY_LATENCY", "drain_cycles_per_row", "execution_cycles", "fetch_cycles"]

MEMORY_LATENCY = 2
"""Cycles from an address to usable data in every data memory (block RAM and its output register)."""


def fetch_cycles(form: InstructionFormat) -> int:
    """From the end of the last instruction to the start of this one.

    One cycle of latency and one a word; then, if registers are read, the same again for them.
    """
    operands = len(form.sources)
    return form.words + 1 + (operands + 1 if operands else 0)


def drain_cycles_per_row(config: EngineConfig, activation: Activation) -> int:
    """How long one output row occupies the drain: its lanes pass a shared interpolator one after the other."""
    return config.lanes_per_table if activation is Activation.TABLE else 1


def _control(config: EngineConfig, instruction: Instruction) -> int:
    return 1


def _load(config: EngineConfig, instruction: Instruction) -> int:
    return instruction["count"] + 2


def _store(config: EngineConfig, instruction: Instruction) -> int:
    return (MEMORY_LATENCY + 1) * instruction["count"] + 1


def _contract(config: EngineConfig, instruction: Instruction) -> int:
    raise NotImplementedError


def _loss(config: EngineConfig, instruction: Instruction) -> int:
    raise NotImplementedError


def _parameters(config: EngineConfig, instruction: Instruction) -> int:
    raise NotImplementedError


def _update(config: EngineConfig, instruction: Instruction) -> int:
    raise NotImplementedError


_EXECUTION: dict[str, Callable[[EngineConfig, Instruction], int]] = {
    "LOAD": _load, "STORE": _store, "CONTRACT": _contract, "LOSS": _loss,
    "PERTURB": _parameters, "ACCUMULATE": _parameters, "UPDATE": _update,
}  # fmt: skip


def execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    """From an instruction's start to its end, without cycles spent waiting for a stream."""
    return _EXECUTION.get(instruction.name, _control)(config, instruction)
