"""Pipeline depths and exact cycle costs: the one place that both gateware and golden machine take
them from.

``cost(config, instruction)`` is exact for every cycle except those spent waiting for a stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from .compact.timing import compact_execution_cycles, compact_fetch_cycles
from .config import EngineConfig
from .generator import BLOCK_BITS, ROUNDS, ROUNDS_PER_INJECTION, index_pitch
from .isa import (
    OUTER_LOOPS,
    REDUCTION_LOOPS,
    Activation,
    Distribution,
    Instruction,
    InstructionFormat,
    LossKind,
    LossMode,
    Memory,
    Operand,
)
from .streams import beats_per_word

__all__ = [
    "BLOCK_RAM_LATENCY",
    "BROADCAST_LATENCY",
    "CORRELATE_DISTANCE",
    "DITHER_ALIGNMENT",
    "INTERPOLATOR_LATENCY",
    "ISSUE_LATENCY",
    "LOSS_EXPONENTIAL_STAGE",
    "LOSS_FINISH_CYCLES",
    "LOSS_LANE_CHOICE",
    "LOSS_LOGARITHM_STAGE",
    "LOSS_PAUSE",
    "LOSS_RESULT_CYCLES",
    "LOSS_SHORTEST_PASS",
    "LOSS_SQUARE_STAGE",
    "MEMORY_LATENCY",
    "MULTIPLIER_LATENCY",
    "PROBE_PRODUCT_CYCLES",
    "REQUANTISER_LATENCY",
    "SHORTEST_FETCH",
    "STORED_LATENCY",
    "STORE_INTERVAL",
    "UPDATE_INTERVAL",
    "UPDATE_LATENCY",
    "WRITE_LATENCY",
    "cycles_per_term",
    "dither_start",
    "drain_cycles_per_row",
    "execution_cycles",
    "fetch_cycles",
    "generator_cycles",
    "lane_sum_cycles",
]

BLOCK_RAM_LATENCY = 2
"""Cycles from an address to usable data in program memory and tables: block RAM and its output
register.
"""

MEMORY_LATENCY = 2 + BLOCK_RAM_LATENCY
"""Cycles from an address to usable data in every data memory: it has a register for the address,
and so has each of its banks."""

WRITE_LATENCY = 1
"""Cycles from a write to the first read that gives what was written: both pass the same registers
in front of the block RAM, and the block RAM needs one."""

MULTIPLIER_LATENCY = 2
"""Cycles from operands to their product: operand registers and a product register."""

INTERPOLATOR_LATENCY = BLOCK_RAM_LATENCY + MULTIPLIER_LATENCY + 2
"""Cycles from an argument to the value of a piecewise-linear table: entry, product, sum, clip."""

ISSUE_LATENCY = 4
"""CONTRACT's cycles from its start to the first weight address."""

BROADCAST_LATENCY = 2
"""CONTRACT's cycles from a weight word's arrival to the multipliers of every lane."""

CORRELATE_DISTANCE = MEMORY_LATENCY + 1 + WRITE_LATENCY
"""CORRELATE's least number of cycles between two visits of the same gradient word."""

REQUANTISER_LATENCY = 4
"""CONTRACT's cycles from an accumulator's copy to its rounded, clipped output: coarse and fine
shift, round, clip.
"""

LOSS_LANE_CHOICE = 3
"""Cycles in which LOSS chooses a lane of a word: a register for each, and two levels of choice."""

LOSS_SQUARE_STAGE = MEMORY_LATENCY + LOSS_LANE_CHOICE + 2 + MULTIPLIER_LATENCY + 1
"""Cycles from an element's address to the sum with its square: lane selection, difference,
magnitude, product, sum.
"""

LOSS_EXPONENTIAL_STAGE = MEMORY_LATENCY + LOSS_LANE_CHOICE + 5
"""Cycles from an element's address to the lookup of its exponential: lane selection, difference,
alignment in two, rounding, clip."""

LOSS_LOGARITHM_STAGE = LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + 1 + 3 + INTERPOLATOR_LATENCY
"""Cycles from the address of a lane's last element to its logarithm: exponential, sum,
normalisation in three, lookup."""

LOSS_SHORTEST_PASS = LOSS_LOGARITHM_STAGE - INTERPOLATOR_LATENCY - LOSS_EXPONENTIAL_STAGE - 2
"""Cycles of a pass over the outputs at the least: by its end, the sum of the pass before is
normalised, so that its logarithm can be looked up when the labels that separate passes leave the
tables free."""

LOSS_FINISH_CYCLES = 6
"""Cycles from a lane's loss to its sum: shift in three, rounding, clip, sum."""

LOSS_RESULT_CYCLES = 2
"""Cycles from the numbers that a difference or a derivative is made of to its write: rounding or
difference, clip.
"""

LOSS_PAUSE = LOSS_LOGARITHM_STAGE + 1 - LOSS_EXPONENTIAL_STAGE
"""Cycles between a pass over a lane's outputs for their exponentials and one for their derivatives:
the logarithm is part of the derivatives' exponents, so it must be there in the cycle before they
are looked up."""

DITHER_ALIGNMENT = 14
"""DITHER's cycles for shifting up to 63 signs at the most: seven times eight of them, and seven
times one.
"""

PROBE_PRODUCT_CYCLES = MULTIPLIER_LATENCY + 2 - MEMORY_LATENCY
"""PERTURB's and ACCUMULATE's further cycles where xi is more than a sign: its product must be there
with the data.
"""

STORED_LATENCY = 3
"""Cycles from the memories to STORE's beats: a register for each bank, and two to put them
together.
"""

STORE_INTERVAL = MEMORY_LATENCY + STORED_LATENCY + 1
"""STORE's cycles from beat to beat: the word, its way to the stream, and the beat is taken."""

SHORTEST_FETCH = 3
"""Words that an instruction takes the time of, at least: what it is has to be looked up."""

UPDATE_INTERVAL = 6
"""UPDATE's cycles from parameter to parameter: it needs the unit's shifter so often."""

UPDATE_LATENCY = 66
"""UPDATE's cycles from a parameter's entry to its write."""


def fetch_cycles(form: InstructionFormat, compact: int = 0) -> int:
    """From the end of the last instruction to the start of this one.

    The program memory's latency and a cycle for each word; if registers are read, one for each and
    two more; one to decode; and one on the way to a unit. In a compact engine all cycles of an
    instruction but its execution, before it and behind it.
    """
    if compact:
        return compact_fetch_cycles(form)
    operands = len(form.sources)
    cycles = BLOCK_RAM_LATENCY + max(form.words, SHORTEST_FETCH) + (operands + 2 if operands else 0) + 1
    return cycles + (form.phase != "control")


def drain_cycles_per_row(config: EngineConfig, activation: Activation) -> int:
    """How long one output row occupies the drain: its lanes pass a shared interpolator one after
    the other.
    """
    return config.lanes_per_table if activation is Activation.TABLE else 1


def _control(config: EngineConfig, instruction: Instruction) -> int:
    return 1


def _pull(config: EngineConfig, instruction: Instruction) -> int:
    return beats_per_word(config, None) + 1


def _emit(config: EngineConfig, instruction: Instruction) -> int:
    return beats_per_word(config, None) + 3


def _beats(config: EngineConfig, instruction: Instruction) -> int:
    return instruction["count"] * beats_per_word(config, Memory(instruction["memory"]))


def _load(config: EngineConfig, instruction: Instruction) -> int:
    return _beats(config, instruction) + 2


def _store(config: EngineConfig, instruction: Instruction) -> int:
    return STORE_INTERVAL * _beats(config, instruction) + 1


def cycles_per_term(operand: Operand) -> int:
    """How long CONTRACT takes for a term: two words of one memory are two reads."""
    return 1 if operand is Operand.WEIGHT else 2


def _issue(instruction: Instruction, tile: int) -> int:
    """Cycles of a loop nest whose tiles last so long, without idle cycles. Those of the last tile
    are not waited for: what follows it is counted by itself."""
    tiles = math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS)
    return tiles * (tile + instruction["idle"]) - instruction["idle"]


def _contract(config: EngineConfig, instruction: Instruction) -> int:
    activation = Activation(instruction["activation"])
    terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS) + instruction["bias"]
    issue = _issue(instruction, terms * cycles_per_term(Operand(instruction["operand"])))
    drain = instruction["last_rows"] * drain_cycles_per_row(config, activation)
    accumulate, copy, output, report = 1, 1, 1, 1
    latency = ISSUE_LATENCY + MEMORY_LATENCY + BROADCAST_LATENCY + MULTIPLIER_LATENCY + accumulate
    latency += copy + REQUANTISER_LATENCY + output + report
    if activation is Activation.TABLE:
        latency += 1 + INTERPOLATOR_LATENCY
    # One cycle is the first term's and the first row's as well as the latency's.
    return issue + drain + latency - 1


def lane_sum_cycles(config: EngineConfig) -> int:
    """CORRELATE's cycles from the products of all lanes to their sum: a level of a tree of adders
    in each, first within the lanes that share a table, then among their groups."""
    groups = config.lanes // config.lanes_per_table
    return (config.lanes_per_table - 1).bit_length() + (groups - 1).bit_length()


def _correlate(config: EngineConfig, instruction: Instruction) -> int:
    terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS)
    port, accumulate = 1, 1
    latency = ISSUE_LATENCY + port + MEMORY_LATENCY + MULTIPLIER_LATENCY + lane_sum_cycles(config) + accumulate
    return _issue(instruction, config.rows + terms) + latency


def generator_cycles(rounds_per_cycle: int) -> int:
    """From one block of the perturbation generator to the next: its rounds, and a cycle for each
    key injection.
    """
    return ROUNDS // rounds_per_cycle + ROUNDS // ROUNDS_PER_INJECTION + 1


def _loss(config: EngineConfig, instruction: Instruction) -> int:
    outputs, mode = instruction["count"], LossMode(instruction["mode"])
    finish = 1 + LOSS_FINISH_CYCLES
    if mode is LossMode.DIFFER:
        # A lane's loss is there a cycle before it is in the sum.
        finish += LOSS_RESULT_CYCLES - 1
    if instruction["kind"] == LossKind.SQUARED_ERROR:
        return 1 + config.lanes * (1 + 2 * outputs) + LOSS_SQUARE_STAGE + finish
    # A pass for each lane's maximum; the last lane's exponentials follow.
    shortest = max(outputs, LOSS_SHORTEST_PASS)
    before = 1 + config.lanes * (1 + shortest) + 1
    if mode is LossMode.ERROR:
        before += shortest + config.lanes * (LOSS_PAUSE + outputs)
        return before + LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + LOSS_RESULT_CYCLES
    return before + outputs + LOSS_LOGARITHM_STAGE + finish


_RANDOM_BITS = {int(distribution): distribution.bits for distribution in Distribution}


@lru_cache(maxsize=4096)
def _items_by_block(step: int, columns: int, inner: int, bits: int) -> tuple[int, ...]:
    """How many items each block of the generator serves, in order: an item is ``step`` successive
    parameters of one input, with ``bits`` random bits each. Padding behind a row of columns may
    leave a block without any."""
    pitch, capacity = index_pitch(columns), BLOCK_BITS // bits
    items = columns // step
    last_index = (inner - 1) * pitch + columns - step

    def items_before(index: int) -> int:
        k, rest = divmod(index, pitch)
        return min(k * items + min(items, -(-rest // step)), inner * items)

    ends = [items_before(capacity * (block + 1)) for block in range(last_index // capacity + 1)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def _parameters(config: EngineConfig, instruction: Instruction) -> int:
    # Cycles from a word's address to its write: choice of the addends, sum, clip.
    write = MEMORY_LATENCY + (3 if instruction.name == "PERTURB" else 2)
    bits = _RANDOM_BITS.get(instruction["distribution"], 0)
    inner, tiles = instruction["inner"], instruction["tiles"]
    if bits == 0:
        return 1 + inner * tiles * config.word_parts + write
    wide = bits > 1
    generation = generator_cycles(config.rounds_per_cycle)
    *hiding, last = _items_by_block(1 if wide else config.part_rows, tiles * config.rows, inner, bits)
    cycles = 1 + 2 + generation + sum(max(generation, items) for items in hiding) + last + write
    return cycles + PROBE_PRODUCT_CYCLES * wide


def _update(config: EngineConfig, instruction: Instruction) -> int:
    return 1 + UPDATE_INTERVAL * (config.rows * instruction["count"] - 1) + UPDATE_LATENCY + 1


def dither_start(config: EngineConfig) -> int:
    """DITHER's cycles from its start to its first input address, whatever the offset.

    The signs of the first word stand in two blocks of the generator. Shifting them into place takes
    up to ``DITHER_ALIGNMENT`` cycles, and with many lanes the third block may be needed before it
    could be there.
    """
    generation = generator_cycles(config.rounds_per_cycle)
    return 1 + 2 * generation + max(DITHER_ALIGNMENT, generation + config.lanes - BLOCK_BITS - 1)


def _dither(config: EngineConfig, instruction: Instruction) -> int:
    write = MEMORY_LATENCY + 2  # cycles from a word's address to its write: sum, clip
    return dither_start(config) + instruction["count"] + write


def _transpose(config: EngineConfig, instruction: Instruction) -> int:
    rows, columns = config.rows, instruction["columns"]
    sources, tiles = -(-instruction["inner"] // rows), -(-columns // rows)
    # Blocks of R by R take R cycles; of the last block's columns, only those there are are waited
    # for.
    return 1 + sources * tiles * rows + MEMORY_LATENCY + columns - (tiles - 1) * rows


_EXECUTION: dict[str, Callable[[EngineConfig, Instruction], int]] = {
    "PULL": _pull,
    "EMIT": _emit,
    "LOAD": _load,
    "STORE": _store,
    "CONTRACT": _contract,
    "LOSS": _loss,
    "CORRELATE": _correlate,
    "PERTURB": _parameters,
    "ACCUMULATE": _parameters,
    "UPDATE": _update,
    "DITHER": _dither,
    "TRANSPOSE": _transpose,
}


def execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    """From an instruction's start to its end, without cycles spent waiting for a stream."""
    if config.compact:
        return compact_execution_cycles(config, instruction)
    return _EXECUTION.get(instruction.name, _control)(config, instruction)
