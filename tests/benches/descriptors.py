"""Random CONTRACT and CORRELATE instructions that a given engine may execute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from dither.arch.config import EngineConfig
from dither.arch.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction, Operand
from dither.arch.timing import CORRELATE_DISTANCE, cycles_per_term, drain_cycles_per_row

__all__ = ["displaced", "random_contract", "random_correlate"]

_MAX_TERMS = 40
_MAX_TILES = 12
_LONG_TERMS, _LONG_TILES = range(100, 400), 2
"""Terms of a long sum, and most tiles of an instruction that has such."""


def random_contract(random: Random, config: EngineConfig, *, long: bool = False) -> Instruction:
    """A valid CONTRACT with random loops, strides of both signs, bias, idle cycles, rows, shift,
    activation and, if the engine has local learning, operand. Index registers are register 0.

    Inputs are in one half of the activation memory, outputs in the other; outputs may be written
    more than once. A tile lasts as long as its drain, or longer. Steps of loops that never advance
    are arbitrary. Where it is ``long``, a sum has hundreds of terms, and its shift is near the
    width of numbers.
    """
    counts = {
        **_counts(random, REDUCTION_LOOPS, 1 if long else _MAX_TERMS),
        **_counts(random, OUTER_LOOPS, _LONG_TILES if long else _MAX_TILES),
    }
    if long:
        counts[random.choice(REDUCTION_LOOPS)] = random.choice(_LONG_TERMS)
    half = config.activation_depth // 2
    upper = random.randrange(2)
    inputs, outputs = (upper * half, half), ((1 - upper) * half, half)
    operand = random.choice(list(Operand)) if config.local_learning and random.randrange(2) else Operand.WEIGHT
    lanewise = operand is not Operand.WEIGHT
    weights = inputs if lanewise else (0, config.parameter_depth)
    rows = 1 if lanewise else config.rows
    if lanewise:
        counts["o0"] = 1

    fields = {f"n_{loop}": count for loop, count in counts.items()}
    fields |= _operand(random, "w", LOOPS, counts, weights)
    fields |= _operand(random, "x", LOOPS, counts, inputs)
    fields |= _operand(random, "b", OUTER_LOOPS, counts, weights)
    fields |= _operand(random, "y", OUTER_LOOPS, counts, outputs, rows=rows)

    activation = random.choice(list(Activation) if config.activation_tables else [Activation.NONE, Activation.RELU])
    bias = random.randrange(2)
    terms = math.prod(counts[loop] for loop in REDUCTION_LOOPS) + bias
    needed = max(0, rows * drain_cycles_per_row(config, activation) - terms * cycles_per_term(operand))
    near = random.randrange(config.width - 3, config.width + 6)
    return Instruction.make(
        "CONTRACT",
        **fields,
        last_rows=random.randint(1, rows),
        bias=bias,
        one=inputs[0] + random.choice((0, random.randrange(half))),
        idle=min(255, needed + random.choice((0, 0, 0, 1, random.randrange(20)))),
        shift=near if long else random.choice((random.randrange(48), near, 0, 47)),
        activation=activation,
        table=random.randrange(max(1, config.activation_tables)),
        operand=operand,
        **dict.fromkeys(("w_index", "x_index", "y_index", "b_index"), 0),
    )


def random_correlate(random: Random, config: EngineConfig) -> Instruction:
    """A valid CORRELATE with random loops, strides of both signs (some of them zero), idle cycles
    and rows. Gradient words are visited again, but not too soon. Index registers are register 0."""
    activations, gradients = (0, config.activation_depth), (0, config.parameter_depth)
    while True:
        counts = {
            **_counts(random, REDUCTION_LOOPS, random.choice((_MAX_TERMS, 3))),
            **_counts(random, OUTER_LOOPS, _MAX_TILES),
        }
        terms = math.prod(counts[loop] for loop in REDUCTION_LOOPS)
        fields = {f"n_{loop}": count for loop, count in counts.items()}
        fields |= _operand(random, "d", OUTER_LOOPS, counts, activations, rows=config.rows)
        fields |= _operand(random, "x", LOOPS, counts, activations)
        fields |= _operand(random, "g", LOOPS, counts, gradients)
        instruction = Instruction.make(
            "CORRELATE",
            **fields,
            last_rows=random.randint(1, config.rows),
            idle=max(0, CORRELATE_DISTANCE - config.rows - terms) + random.choice((0, 0, 0, 1, random.randrange(20))),
            **dict.fromkeys(("d_index", "x_index", "g_index"), 0),
        )
        if _revisits(config, instruction) >= CORRELATE_DISTANCE:
            return instruction


def _revisits(config: EngineConfig, instruction: Instruction) -> int:
    """The least number of cycles from a visit of a gradient word of a CORRELATE to the next."""
    counts = [instruction[f"n_{loop}"] for loop in LOOPS]
    steps = [instruction[f"g_{loop}"] for loop in LOOPS]
    address, cycle, closest = instruction["g_base"], config.rows, 1 << 16
    seen: dict[int, int] = {}
    position = [0] * len(LOOPS)
    while True:
        if address in seen:
            closest = min(closest, cycle - seen[address])
        seen[address] = cycle
        advancing = next((i for i, count in enumerate(counts) if position[i] + 1 < count), None)
        if advancing is None:
            return closest
        position[: advancing + 1] = [*[0] * advancing, position[advancing] + 1]
        address = (address + steps[advancing]) % (1 << 16)
        cycle += 1
        if LOOPS[advancing] in OUTER_LOOPS:
            cycle += instruction["idle"] + config.rows


def displaced(random: Random, instruction: Instruction) -> tuple[Instruction, list[int]]:
    """The same instruction with other bases, and the values of index registers that lead to the
    same addresses.
    """
    fields, values = dict(instruction.fields), []
    for name in instruction.format.sources:
        base = name.replace("index", "base")
        values.append(random.choice((0, 1, 0xFFFF, fields[base], random.getrandbits(16))))
        fields |= {base: (fields[base] - values[-1]) % (1 << 16), name: random.randrange(16)}
    return Instruction(instruction.name, fields), values


def _counts(random: Random, loops: Sequence[str], most: int) -> dict[str, int]:
    """Iterations with a product of at most ``most``, many of them 1."""
    counts = dict.fromkeys(loops, 1)
    for loop in random.sample(loops, len(loops)):
        room = most // math.prod(counts.values())
        counts[loop] = random.choice((1, random.randint(1, max(1, min(room, 5))), random.randint(1, max(1, room))))
    return counts


def _operand(
    random: Random, kind: str, loops: Sequence[str], counts: Mapping[str, int], place: tuple[int, int], rows: int = 0
) -> dict[str, int]:
    """Base and steps that keep all of an operand's addresses in a place (first word, words); with
    rows, those too.
    """
    start, size = place
    spread = random.choice((1, 3, 40))
    strides = {loop: random.randint(-spread, spread) for loop in loops}
    row = random.randint(-spread, spread)
    while True:
        reaches = [(counts[loop] - 1) * strides[loop] for loop in loops] + [max(0, rows - 1) * row]
        lowest, highest = sum(min(0, reach) for reach in reaches), sum(max(0, reach) for reach in reaches)
        if highest - lowest < size:
            break
        strides = {loop: int(stride / 2) for loop, stride in strides.items()}
        row = int(row / 2)
    fields = {f"{kind}_base": start - lowest + random.randrange(size - (highest - lowest))}
    way = 0
    for loop in loops:
        advances = counts[loop] > 1
        idle = random.choice((0, random.randint(-(1 << 15), (1 << 15) - 1)))
        fields[f"{kind}_{loop}"] = strides[loop] - way if advances else idle
        way += (counts[loop] - 1) * strides[loop]
    if rows:
        fields[f"{kind}_row"] = row
    return fields
