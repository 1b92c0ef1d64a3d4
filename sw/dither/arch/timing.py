"""Pipeline depths and exact cycle costs, from which gateware and golden machine both take them.

An instruction costs :func:`fetch_cycles` plus :func:`execution_cycles`. Both are exact for every
cycle except those spent waiting for a stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

from .compact import timing as compact
from .config import EngineConfig
from .family import COMPACT, FULL, Family
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
    "OPERAND_LATENCY",
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
"""Cycles from an address to usable data in program memory and tables.

They are the block RAM's and its output register's.
"""

MEMORY_LATENCY = 2 + BLOCK_RAM_LATENCY
"""Cycles from an address to usable data in every data memory.

Besides the block RAM's, two: the memory has a register for the address, and so has each bank.
"""

WRITE_LATENCY = 1
"""Cycles from a write to the first read that gives what was written.

Both pass the same registers in front of the block RAM, so only the block RAM's own cycle counts.
"""

MULTIPLIER_LATENCY = 2
"""Cycles from operands to their product: operand registers and a product register."""

INTERPOLATOR_LATENCY = BLOCK_RAM_LATENCY + MULTIPLIER_LATENCY + 2
"""Cycles from an argument to the value of a piecewise-linear table: entry, product, sum, clip."""

ISSUE_LATENCY = 4
"""Cycles from CONTRACT's start to its first weight address."""

BROADCAST_LATENCY = 2
"""Cycles from a weight word's arrival at CONTRACT to every lane."""

OPERAND_LATENCY = 1
"""Cycles from words at a lane to its multipliers: registers of the lane's own."""

CORRELATE_DISTANCE = MEMORY_LATENCY + 1 + WRITE_LATENCY
"""Least number of cycles between two visits of CORRELATE to the same gradient word."""

REQUANTISER_LATENCY = 4
"""Cycles from an accumulator's copy in CONTRACT to its rounded, clipped output.

Coarse shift, fine shift, rounding and clip take one each.
"""

LOSS_LANE_CHOICE = 3
"""Cycles in which LOSS chooses one lane of a word: a register for each, and two levels of choice.
"""

LOSS_SQUARE_STAGE = MEMORY_LATENCY + LOSS_LANE_CHOICE + 2 + MULTIPLIER_LATENCY + 1
"""Cycles in LOSS from an element's address to the sum that includes its square.

Lane choice, difference, magnitude, product and sum follow the memory's latency.
"""

LOSS_EXPONENTIAL_STAGE = MEMORY_LATENCY + LOSS_LANE_CHOICE + 5
"""Cycles in LOSS from an element's address to the lookup of its exponential.

Lane choice, difference, alignment in two, rounding and clip follow the memory's latency.
"""

LOSS_LOGARITHM_STAGE = LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + 1 + 3 + INTERPOLATOR_LATENCY
"""Cycles in LOSS from the address of a lane's last element to the lane's logarithm.

Exponential, sum, normalisation in three and lookup.
"""

LOSS_SHORTEST_PASS = LOSS_LOGARITHM_STAGE - INTERPOLATOR_LATENCY - LOSS_EXPONENTIAL_STAGE - 2
"""Least number of cycles of LOSS's pass over a lane's outputs.

By its end, the sum of the pass before is normalised, so that its logarithm can be looked up while
the label that separates two passes leaves the tables free.
"""

LOSS_FINISH_CYCLES = 6
"""Cycles in LOSS from a lane's loss to the sum that includes it.

Shift in three, rounding, clip and sum.
"""

LOSS_RESULT_CYCLES = 2
"""Cycles in LOSS from the operands of a loss difference or derivative to its write.

Rounding or difference, then clip.
"""

LOSS_PAUSE = LOSS_LOGARITHM_STAGE + 1 - LOSS_EXPONENTIAL_STAGE
"""Cycles in LOSS between the passes over a lane's outputs for exponentials and for derivatives.

The logarithm is part of the derivatives' exponents, so it must be there in the cycle before they
are looked up.
"""

DITHER_ALIGNMENT = 14
"""Most cycles that DITHER takes to shift its first signs into place, by up to 63.

Seven shifts by eight signs, and seven by one.
"""

PROBE_PRODUCT_CYCLES = MULTIPLIER_LATENCY + 2 - MEMORY_LATENCY
"""Extra cycles of PERTURB and ACCUMULATE where xi is more than a sign.

The product with xi must be ready together with the word that it is added to.
"""

STORED_LATENCY = 3
"""Cycles from the memories to STORE's beats.

A register for each bank takes one, putting the banks together takes two.
"""

STORE_INTERVAL = MEMORY_LATENCY + STORED_LATENCY + 1
"""Cycles of STORE from one beat to the next.

The word's read, its way to the stream, and the cycle in which the beat is taken.
"""

SHORTEST_FETCH = 3
"""Least number of cycles for the words of an instruction, however few it has.

What the instruction is has to be looked up meanwhile.
"""

UPDATE_INTERVAL = 6
"""Cycles of UPDATE from one parameter to the next: each needs the unit's shifter so often."""

UPDATE_LATENCY = 66
"""Cycles of UPDATE from a parameter's entry to its write."""


def _fetch_cycles(form: InstructionFormat) -> int:
    """Returns a full engine's cycles from the end of the last instruction to the start of this one.

    The program memory's latency and a cycle for each word; if registers are read, one for each and
    two more; one to decode; and one on the way to a unit.
    """
    operands = len(form.sources)
    cycles = BLOCK_RAM_LATENCY + max(form.words, SHORTEST_FETCH) + (operands + 2 if operands else 0) + 1
    return cycles + (form.phase != "control")


def drain_cycles_per_row(config: EngineConfig, activation: Activation) -> int:
    """Returns how many cycles one output row occupies CONTRACT's drain.

    With an activation table it is ``lanes_per_table``, as the lanes that share an interpolator pass
    it one after the other; otherwise 1.
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
    """Returns how many cycles CONTRACT takes for one term.

    A lane-wise operand comes from the same memory as the input, which takes two reads.
    """
    return 1 if operand is Operand.WEIGHT else 2


def _issue(instruction: Instruction, tile: int) -> int:
    """Returns the cycles in which a loop nest issues its terms.

    Idle cycles of the last tile do not count: the drain behind it is added separately.

    :param tile: cycles of one tile without its idle cycles.
    """
    tiles = math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS)
    return tiles * (tile + instruction["idle"]) - instruction["idle"]


def _contract(config: EngineConfig, instruction: Instruction) -> int:
    activation = Activation(instruction["activation"])
    terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS) + instruction["bias"]
    issue = _issue(instruction, terms * cycles_per_term(Operand(instruction["operand"])))
    drain = instruction["last_rows"] * drain_cycles_per_row(config, activation)
    accumulate, copy, output, report = 1, 1, 1, 1
    latency = ISSUE_LATENCY + MEMORY_LATENCY + BROADCAST_LATENCY + OPERAND_LATENCY + MULTIPLIER_LATENCY + accumulate
    latency += copy + REQUANTISER_LATENCY + output + report
    if activation is Activation.TABLE:
        latency += 1 + INTERPOLATOR_LATENCY
    # The latency's first cycle is also the first term's, and its last the first row's: one is
    # counted twice.
    return issue + drain + latency - 1


def lane_sum_cycles(config: EngineConfig) -> int:
    """Returns CORRELATE's cycles from the products of all lanes to their sum.

    One for each level of the tree of adders: first within each lane group (the lanes that share a
    table), then among the groups.
    """
    groups = config.lanes // config.lanes_per_table
    return (config.lanes_per_table - 1).bit_length() + (groups - 1).bit_length()


def _correlate(config: EngineConfig, instruction: Instruction) -> int:
    terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS)
    port, accumulate = 1, 1
    latency = ISSUE_LATENCY + port + MEMORY_LATENCY + OPERAND_LATENCY + MULTIPLIER_LATENCY
    return _issue(instruction, config.rows + terms) + latency + lane_sum_cycles(config) + accumulate


def generator_cycles(rounds_per_cycle: int) -> int:
    """Returns the cycles from one block of the perturbation generator to the next.

    Its rounds, and one for each key injection, the first included.
    """
    return ROUNDS // rounds_per_cycle + ROUNDS // ROUNDS_PER_INJECTION + 1


def _loss(config: EngineConfig, instruction: Instruction) -> int:
    outputs, mode = instruction["count"], LossMode(instruction["mode"])
    finish = 1 + LOSS_FINISH_CYCLES
    if mode is LossMode.DIFFER:
        # The difference starts from the lane's loss, one cycle before the loss is in the sum.
        finish += LOSS_RESULT_CYCLES - 1
    if instruction["kind"] == LossKind.SQUARED_ERROR:
        return 1 + config.lanes * (1 + 2 * outputs) + LOSS_SQUARE_STAGE + finish
    # One pass for each lane's maximum; exponentials overlap with the next lane's pass, but those of
    # the last lane follow.
    shortest = max(outputs, LOSS_SHORTEST_PASS)
    before = 1 + config.lanes * (1 + shortest) + 1
    if mode is LossMode.ERROR:
        before += shortest + config.lanes * (LOSS_PAUSE + outputs)
        return before + LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY + LOSS_RESULT_CYCLES
    return before + outputs + LOSS_LOGARITHM_STAGE + finish


_RANDOM_BITS = {int(distribution): distribution.bits for distribution in Distribution}


@lru_cache(maxsize=4096)
def _items_by_block(step: int, columns: int, inner: int, bits: int) -> tuple[int, ...]:
    """Returns how many items each block of the generator serves, in order of the blocks.

    An item is ``step`` successive parameters of one input, with ``bits`` random bits each. Padding
    behind a row of columns may leave a block without any.
    """
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
    """Returns DITHER's cycles from its start to its first input address, whatever the offset.

    The signs of the first word stand in two blocks of the generator. Shifting them into place takes
    up to :data:`DITHER_ALIGNMENT` cycles, and with many lanes the third block may be needed before
    it could be there. The next block starts a cycle after the one before was taken.
    """
    generation = generator_cycles(config.rounds_per_cycle)
    return 2 + 2 * generation + max(DITHER_ALIGNMENT, generation + config.lanes - BLOCK_BITS)


def _dither(config: EngineConfig, instruction: Instruction) -> int:
    write = MEMORY_LATENCY + 3  # cycles from a word's address to its write: register, sum, clip
    return dither_start(config) + instruction["count"] + write


def _transpose(config: EngineConfig, instruction: Instruction) -> int:
    rows, columns = config.rows, instruction["columns"]
    sources, tiles = -(-instruction["inner"] // rows), -(-columns // rows)
    # A block of R by R weights takes R cycles. Of the last block, only columns that exist are
    # waited for.
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


def _execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    return _EXECUTION.get(instruction.name, _control)(config, instruction)


_FETCH: dict[Family, Callable[[InstructionFormat], int]] = {
    FULL: _fetch_cycles,
    COMPACT: compact.fetch_cycles,
}
_EXECUTE: dict[Family, Callable[[EngineConfig, Instruction], int]] = {
    FULL: _execution_cycles,
    COMPACT: partial(compact.execution_cycles, drain=REQUANTISER_LATENCY),
}


def fetch_cycles(form: InstructionFormat, family: Family = FULL) -> int:
    """Returns the cycles of an instruction that are not its execution.

    In a full engine they pass between the end of the last instruction and the start of this one;
    in a compact one some of them come behind the execution.
    """
    return _FETCH[family](form)


def execution_cycles(config: EngineConfig, instruction: Instruction) -> int:
    """Returns the cycles from an instruction's start to its end, stream waits not included."""
    return _EXECUTE[config.family](config, instruction)
