"""Pipeline depths and exact cycle costs: the one place that both gateware and golden machine take them from.

``cost(config, instruction)`` is exact for every cycle except those spent waiting for a stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from .engine import EngineConfig
from .generator import BLOCK_BITS, ROUNDS, ROUNDS_PER_INJECTION, index_pitch
from .isa import OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction, InstructionFormat, LossKind

__all__ = [
    "BROADCAST_LATENCY", "INTERPOLATOR_LATENCY", "ISSUE_LATENCY", "LOSS_EXPONENTIAL_STAGE", "LOSS_FINISH_CYCLES",
    "LOSS_LOGARITHM_STAGE", "LOSS_SHORTEST_PASS", "LOSS_SQUARE_STAGE", "MEMORY_LATENCY", "MULTIPLIER_LATENCY",
    "REQUANTISER_LATENCY", "UPDATE_INTERVAL", "UPDATE_LATENCY", "drain_cycles_per_row", "execution_cycles",
    "fetch_cycles", "generator_cycles",
]  # fmt: skip

MEMORY_LATENCY = 2
"""Cycles from an address to usable data in every data memory (block RAM and its output register)."""

MULTIPLIER_LATENCY = 2
"""Cycles from operands to their product: operand registers and a product register."""

INTERPOLATOR_LATENCY = MEMORY_LATENCY + MULTIPLIER_LATENCY + 2
"""Cycles from an argument to the value of a piecewise-linear table: entry, product, sum, clip."""

ISSUE_LATENCY = 4
"""CONTRACT's cycles from its start to the first weight address."""

BROADCAST_LATENCY = 2
"""CONTRACT's cycles from a weight word's arrival to the multipliers of every lane."""

REQUANTISER_LATENCY = 4
"""CONTRACT's cycles from an accumulator's copy to its rounded, clipped output: coarse and fine shift, round, clip."""

LOSS_SQUARE_STAGE = MEMORY_LATENCY + 2 + 1 + MULTIPLIER_LATENCY + 1
"""Cycles from an element's address to the sum with its square: lane selection, difference, product, sum."""

LOSS_EXPONENTIAL_STAGE = MEMORY_LATENCY + 2 + 5
"""Cycles from an element's address to the lookup of its exponential: lane selection, difference, alignment in
two, rounding, clip."""

LOSS_LOGARITHM_STAGE = LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + 1 + 3 + INTERPOLATOR_LATENCY
"""Cycles from the address of a lane's last element to its logarithm: exponential, sum, normalisation in three,
lookup."""

LOSS_SHORTEST_PASS = LOSS_LOGARITHM_STAGE - INTERPOLATOR_LATENCY - LOSS_EXPONENTIAL_STAGE - 2
"""Cycles of a pass over the outputs at the least: by its end, the sum of the pass before is normalised, so that its
logarithm can be looked up when the labels that separate passes leave the tables free."""

LOSS_FINISH_CYCLES = 6
"""Cycles from a lane's loss to its sum: shift in three, rounding, clip, sum."""

UPDATE_INTERVAL = 6
"""UPDATE's cycles from parameter to parameter: it needs the unit's shifter so often."""

UPDATE_LATENCY = 63
"""UPDATE's cycles from a parameter's entry to its write."""


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


def _scalar(config: EngineConfig, instruction: Instruction) -> int:
    return 2


def _load(config: EngineConfig, instruction: Instruction) -> int:
    return instruction["count"] + 2


def _store(config: EngineConfig, instruction: Instruction) -> int:
    return (MEMORY_LATENCY + 1) * instruction["count"] + 1


def _contract(config: EngineConfig, instruction: Instruction) -> int:
    activation = Activation(instruction["activation"])
    tiles = math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS)
    terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS) + instruction["bias"]
    # The idle cycles of the last tile are not waited for: its drain is counted by itself.
    issue = tiles * (terms + instruction["idle"]) - instruction["idle"]
    drain = instruction["last_rows"] * drain_cycles_per_row(config, activation)
    accumulate, copy, output, report = 1, 1, 1, 1
    latency = ISSUE_LATENCY + MEMORY_LATENCY + BROADCAST_LATENCY + MULTIPLIER_LATENCY + accumulate
    latency += copy + REQUANTISER_LATENCY + output + report
    if activation is Activation.TABLE:
        latency += 1 + INTERPOLATOR_LATENCY
    # One cycle is the first term's and the first row's as well as the latency's.
    return issue + drain + latency - 1


def generator_cycles(rounds_per_cycle: int) -> int:
    """From one block of the perturbation generator to the next: its rounds, and a cycle for each key injection."""
    return ROUNDS // rounds_per_cycle + ROUNDS // ROUNDS_PER_INJECTION + 1


def _loss(config: EngineConfig, instruction: Instruction) -> int:
    outputs = instruction["count"]
    if instruction["kind"] == LossKind.SQUARED_ERROR:
        elements, depth = config.lanes * (1 + 2 * outputs), LOSS_SQUARE_STAGE
    else:
        # A pass for each lane's maximum; the last lane's exponentials follow.
        elements = config.lanes * (1 + max(outputs, LOSS_SHORTEST_PASS)) + 1 + outputs
        depth = LOSS_LOGARITHM_STAGE
    return 1 + elements + depth + 1 + LOSS_FINISH_CYCLES


@lru_cache(maxsize=4096)
def _words_by_block(rows: int, inner: int, tiles: int) -> tuple[int, ...]:
    """Words of a tensor whose signs each block of the generator gives, in order."""
    pitch = index_pitch(tiles * rows)
    last_index = (inner - 1) * pitch + (tiles - 1) * rows

    def words_before(index: int) -> int:
        k, rest = divmod(index, pitch)
        return min(k * tiles + min(tiles, -(-rest // rows)), inner * tiles)

    ends = [words_before(BLOCK_BITS * (block + 1)) for block in range(last_index // BLOCK_BITS + 1)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def _parameters(config: EngineConfig, instruction: Instruction) -> int:
    write = 4 if instruction.name == "PERTURB" else 3  # cycles from a word's address to its write
    if instruction.name == "PERTURB" and not instruction["random"]:
        return 1 + instruction["inner"] * instruction["tiles"] + write
    generation = generator_cycles(config.rounds_per_cycle)
    *hiding, last = _words_by_block(config.rows, instruction["inner"], instruction["tiles"])
    return 1 + 2 + generation + sum(max(generation, words) for words in hiding) + last + write


def _update(config: EngineConfig, instruction: Instruction) -> int:
    return 1 + UPDATE_INTERVAL * (config.rows * instruction["count"] - 1) + UPDATE_LATENCY + 1


_EXECUTION: dict[str, Callable[[EngineConfig, Instruction], int]] = {
    "PULL": _scalar, "EMIT": _scalar, "LOAD": _load, "STORE": _store, "CONTRACT": _contract, "LOSS": _loss,
    "PERTURB": _parameters, "ACCUMULATE": _parameters, "UPDATE": _update,
}  # fmt: skip


def execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    """From an instruction's start to its end, without cycles spent waiting for a stream."""
    return _EXECUTION.get(instruction.name, _control)(config, instruction)
