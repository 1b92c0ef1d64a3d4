"""The rules that CONTRACT and CORRELATE must obey, except those on their addresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import LOOPS, REDUCTION_LOOPS, Activation, Instruction, Operand
from ..arch.timing import CORRELATE_DISTANCE, cycles_per_term, drain_cycles_per_row
from .nest import MODULUS, strides, terms

__all__ = ["MAX_SHIFT", "validate_contract", "validate_correlate"]

MAX_SHIFT = 47
"""Greatest right shift of CONTRACT's requantisation."""


def validate_contract(config: EngineConfig, instruction: Instruction) -> None:
    """Checks that a CONTRACT obeys the instruction set's rules, except those on its addresses.

    :raises DeviceError: with one line that says which rule is broken.
    """
    _validate_loops(config, instruction)
    require = _Requirement(instruction)
    require(instruction["shift"] <= MAX_SHIFT, f"shift must be from 0 to {MAX_SHIFT}, not {instruction['shift']}")
    require(instruction["activation"] in list(Activation), f"unknown activation {instruction['activation']}")
    activation, operand, rows = Activation(instruction["activation"]), Operand(instruction["operand"]), config.rows
    if activation is Activation.TABLE:
        require(
            instruction["table"] < config.activation_tables,
            f"table {instruction['table']} is not one of {config.activation_tables}",
        )
    if operand is not Operand.WEIGHT:
        require(config.local_learning == 1, f"operand {operand.name} needs an engine with local_learning")
        for name in ("n_o0", "last_rows"):
            require(instruction[name] == 1, f"{name} must be 1 with operand {operand.name}, not {instruction[name]}")
        rows = 1
    tile = (terms(instruction) + instruction["bias"]) * cycles_per_term(operand) + instruction["idle"]
    drain = rows * drain_cycles_per_row(config, activation)
    require(tile >= drain, f"a tile of {tile} cycles is shorter than its drain of {drain}")


def validate_correlate(config: EngineConfig, instruction: Instruction) -> None:
    """Checks that a CORRELATE obeys the instruction set's rules, except those on its addresses.

    :raises DeviceError: with one line that says which rule is broken.
    """
    _validate_loops(config, instruction)
    require = _Requirement(instruction)
    apart = _soonest_revisit(config, instruction)
    require(apart is None, f"a gradient word is reached again after {apart} cycles, not {CORRELATE_DISTANCE}")


@dataclass(frozen=True, slots=True)
class _Requirement:
    instruction: Instruction

    def __call__(self, good: bool, message: str) -> None:
        if not good:
            raise DeviceError(f"{self.instruction.name}: {message}")


def _validate_loops(config: EngineConfig, instruction: Instruction) -> None:
    require = _Requirement(instruction)
    for name in LOOPS:
        require(instruction[f"n_{name}"] >= 1, f"n_{name} must be at least 1")
    require(
        1 <= instruction["last_rows"] <= config.rows,
        f"last_rows must be from 1 to {config.rows}, not {instruction['last_rows']}",
    )


def _soonest_revisit(config: EngineConfig, instruction: Instruction) -> int | None:
    """Returns the cycles between two visits of one gradient word, if they may be too few.

    Too few are fewer than ``CORRELATE_DISTANCE``; otherwise the result is None.
    """
    split, inner = len(REDUCTION_LOOPS), terms(instruction)
    counts = [instruction[f"n_{loop}"] for loop in LOOPS]
    pitches = strides(counts, [instruction[f"g_{loop}"] for loop in LOOPS])

    def offsets(places: NDArray[np.int64]) -> NDArray[np.int64]:
        total = np.zeros_like(places)
        for count, pitch in zip(counts[:split], pitches[:split], strict=True):
            places, digit = np.divmod(places, count)
            total += digit * pitch
        return total

    # Within a tile it is enough to look at iterations near the loops' beginnings and ends.
    edge = np.arange(CORRELATE_DISTANCE)
    starts = np.zeros(1, np.int64)
    for count in reversed(counts[:split]):
        digits = np.unique(np.clip([*edge, *(count - 1 - edge)], 0, count - 1))
        starts = np.add.outer(starts * count, digits).ravel()
    for apart in range(1, CORRELATE_DISTANCE):
        early = starts[starts + apart < inner]
        if ((offsets(early + apart) - offsets(early)) % MODULUS == 0).any():
            return apart

    # Between tiles, the last words of one may be the first words of the next.
    edge = edge[:inner]
    cycles = config.rows + instruction["idle"] + 1 + np.add.outer(edge, edge)
    moved = np.subtract.outer(-offsets(inner - 1 - edge), -offsets(edge))
    back = 0
    for count, pitch in zip(counts[split:], pitches[split:], strict=True):
        if count > 1:
            close = cycles[((moved + pitch - back) % MODULUS == 0) & (cycles < CORRELATE_DISTANCE)]
            if close.size:
                return int(close.min())
        back += (count - 1) * pitch
    return None
