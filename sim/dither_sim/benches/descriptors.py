"""Random CONTRACT instructions that a given engine may execute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from dither.engine import EngineConfig
from dither.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction
from dither.timing import drain_cycles_per_row

__all__ = ["random_contract"]

_MAX_TERMS = 40
_MAX_TILES = 12


def random_contract(random: Random, config: EngineConfig) -> Instruction:
    """A valid instruction with random loops, strides of both signs, bias, idle cycles, rows, shift and activation.

    Inputs are in one half of the activation memory, outputs in the other; outputs may be written more than once. A
    tile lasts as long as its drain, or longer. Steps of loops that never advance are arbitrary.
    """
    counts = {
        **_counts(random, REDUCTION_LOOPS, _MAX_TERMS),
        **_counts(random, OUTER_LOOPS, _MAX_TILES),
    }
    half = config.activation_depth // 2
    upper = random.randrange(2)
    inputs, outputs = (upper * half, half), ((1 - upper) * half, half)
    weights = (0, config.parameter_depth)

    fields = {f"n_{loop}": count for loop, count in counts.items()}
    fields |= _operand(random, "w", LOOPS, counts, weights)
    fields |= _operand(random, "x", LOOPS, counts, inputs)
    fields |= _operand(random, "b", OUTER_LOOPS, counts, weights)
    fields |= _operand(random, "y", OUTER_LOOPS, counts, outputs, rows=config.rows)

    activation = random.choice(list(Activation) if config.activation_tables else [Activation.NONE, Activation.RELU])
    bias = random.randrange(2)
    terms = math.prod(counts[loop] for loop in REDUCTION_LOOPS) + bias
    needed = max(0, config.rows * drain_cycles_per_row(config, activation) - terms)
    return Instruction.make(
        "CONTRACT",
        **fields,
        last_rows=random.randint(1, config.rows),
        bias=bias,
        one=inputs[0] + random.randrange(half),
        idle=min(255, needed + random.choice((0, 0, 0, 1, random.randrange(20)))),
        shift=random.choice((random.randrange(48), random.randrange(config.width - 3, config.width + 6), 0, 47)),
        activation=activation,
        table=random.randrange(max(1, config.activation_tables)),
    )


def _counts(random: Random, loops: Sequence[str], most: int) -> dict[str, int]:
    """Iterations with a product of at most ``most``, many of them 1."""
    counts = dict.fromkeys(loops, 1)
    for loop in random.sample(loops, len(loops)):
        room = most // math.prod(counts.values())
        counts[loop] = random.choice((1, random.randint(1, max(1, min(room, 5))), random.randint(1, max(1, room))))
    return counts


def _operand(
    random: Random, kind: str, loops: Sequence[str], counts: Mapping[str, int], place: tuple[int, int], rows: int = 1
) -> dict[str, int]:
    """Base and steps that keep all of an operand's addresses in a place (first word, words)."""
    start, size = place
    spread = random.choice((1, 3, 40))
    strides = {loop: random.randint(-spread, spread) for loop in loops}
    y_row = random.randint(-spread, spread)
    while True:
        reaches = [(counts[loop] - 1) * strides[loop] for loop in loops] + [(rows - 1) * y_row]
        lowest, highest = sum(min(0, reach) for reach in reaches), sum(max(0, reach) for reach in reaches)
        if highest - lowest < size:
            break
        strides = {loop: int(stride / 2) for loop, stride in strides.items()}
        y_row = int(y_row / 2)
    fields = {f"{kind}_base": start - lowest + random.randrange(size - (highest - lowest))}
    way = 0
    for loop in loops:
        advances = counts[loop] > 1
        fields[f"{kind}_{loop}"] = strides[loop] - way if advances else random.randint(-(1 << 15), (1 << 15) - 1)
        way += (counts[loop] - 1) * strides[loop]
    if kind == "y":
        fields["y_row"] = y_row
    return fields
