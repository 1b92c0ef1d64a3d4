"""Random whole programs that contain every instruction.

They load all memories, work in a loop and a subroutine, and send all memories at their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.isa import (
    GRADIENT_BITS,
    MASTER_BITS,
    REGISTERS,
    Distribution,
    Instruction,
    LossKind,
    LossMode,
    Memory,
    Rule,
)
from dither.arch.streams import Expect, Segment
from dither.arch.tables import scalar_tables

from .control_programs import layout
from .descriptors import displaced, random_contract, random_correlate

__all__ = ["WholeProgram", "whole_program"]

_STATE = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2, Memory.WEIGHT)
_SEED, _RATE, _LOSS, _SUM = 1, 2, 3, 4
_INDEX = 8
"""The first of the registers that bring indices."""
I = Instruction.make  # noqa: E741


@dataclass(frozen=True)
class WholeProgram:
    """A program that begins at word 0, what it takes and what it sends."""

    words: list[int]
    inputs: list[Segment]
    expects: list[Expect]


def whole_program(random: Random, config: EngineConfig) -> WholeProgram:
    """A random one; needs a parameter depth of 32 or more."""
    numbers = np.random.default_rng(random.getrandbits(32))
    activations = _numbers(numbers, (config.activation_depth, config.lanes), config.width)
    activations[0] = numbers.integers(-1, 4, config.lanes)  # labels
    memories = {Memory.ACTIVATION: activations}
    for kind in _STATE:
        width = {Memory.WEIGHT: config.width, Memory.GRADIENT: GRADIENT_BITS}.get(kind, MASTER_BITS)
        values = _numbers(numbers, (config.parameter_depth, config.rows), width)
        memories[kind] = values & 0xFFFFFFFF if kind is Memory.MOMENT2 else values
    if config.activation_tables:
        entries = config.activation_tables << config.table_bits
        memories[Memory.ACTIVATION_TABLE] = _numbers(numbers, (entries, 2), config.width)
    memories[Memory.SCALAR_TABLE] = np.stack(scalar_tables(config.table_bits), axis=1)
    load = [I("LOAD", memory=kind, base=0, count=len(values)) for kind, values in memories.items()]
    inputs = [
        *(Segment(kind, values) for kind, values in memories.items()),
        Segment.scalars(_numbers(numbers, (2, 1), 32)),
    ]
    load += [I("PULL", target=_SEED), I("PULL", target=_RATE)]

    iterations = 2
    work = _work(random, config)
    loop = [I("LOOP", register=0, count=iterations), I("CALL", target=1), I("END")]
    store = [I("STORE", memory=Memory.ACTIVATION, base=0, count=config.activation_depth)]
    store += [I("STORE", memory=kind, base=0, count=config.parameter_depth) for kind in _STATE]
    emit = [I("EMIT", source=register) for register in range(REGISTERS)]
    words, _ = layout([[*load, *loop, *store, *emit, I("HALT")], [*work, I("RETURN")]])

    sent = sum(instruction.name == "EMIT" for instruction in work)
    expects = [Expect(None, sent * iterations), Expect(Memory.ACTIVATION, config.activation_depth)]
    expects += [Expect(kind, config.parameter_depth) for kind in _STATE]
    return WholeProgram(words, inputs, [*expects, Expect(None, REGISTERS)])


def _numbers(numbers: np.random.Generator, shape: tuple[int, int], width: int) -> NDArray[np.int64]:
    """Numbers of all magnitudes."""
    limit = 1 << (width - 1)
    return numbers.integers(-limit, limit, shape) >> numbers.integers(0, width, shape)


def _work(random: Random, config: EngineConfig) -> list[Instruction]:
    """One of every unit's instructions, two losses and their difference."""
    inner, tiles = random.randint(1, 8), random.randint(1, 4)
    matrix = {
        "base": random.randrange(config.parameter_depth - inner * tiles + 1),
        "inner": inner,
        "tiles": tiles,
        "block": random.getrandbits(20),
        "seed": _SEED,
        "step": _SUM,
        "probe": random.choice((0, _LOSS)),
    }
    amplitude = random.randint(-(1 << 31), (1 << 31) - 1) >> random.randrange(32)
    distributions = [each for each in Distribution if each.bits <= 1 or config.wide_probes]
    probes = random.choice(distributions)
    count = random.randint(1, config.parameter_depth // 2)
    body = [
        I("SET", target=_SUM, source=_SUM, value=random.randint(-9, 9)),
        I("PERTURB", **matrix, distribution=random.choice(distributions), amplitude=amplitude),
        *_indexed(random, random_contract(random, config)),
        _loss(random, config, LossKind.CROSS_ENTROPY, _LOSS),
        I("EMIT", source=_LOSS),
        I("PERTURB", **matrix, distribution=probes, amplitude=-amplitude - 1),
        random_contract(random, config),
        _loss(random, config, LossKind.SQUARED_ERROR, _LOSS + 2),
        I("SUBTRACT", target=_LOSS, left=_LOSS, right=_LOSS + 2),
        I("ADD", target=_SUM, left=_SUM, right=_LOSS),
        I("ACCUMULATE", **matrix, distribution=probes, difference=_LOSS),
    ]
    if config.local_learning:
        body += [_dither(random, config), _transpose(random, config)]
        body += _indexed(random, random_correlate(random, config))
    return body + [
        I(
            "UPDATE",
            base=random.randrange(config.parameter_depth - count),
            count=count,
            rule=rule,
            gradient_shift=random.randrange(48),
            decay1=random.randrange(16),
            decay2=random.randrange(16),
            rate=_RATE,
            rate_shift=random.randrange(32),
        )
        for rule in random.sample(list(Rule), 2)
    ]


def _indexed(random: Random, instruction: Instruction) -> list[Instruction]:
    """The instruction with index registers, and what sets them; their upper halves do not
    matter.
    """
    moved, values = displaced(random, instruction)
    registers = {name: _INDEX + i for i, name in enumerate(instruction.format.sources)}
    sets = [
        I("SET", target=register, source=0, value=value + (random.randint(-(1 << 15), (1 << 15) - 1) << 16))
        for register, value in zip(registers.values(), values, strict=True)
    ]
    return [*sets, Instruction(instruction.name, dict(moved.fields) | registers)]


def _dither(random: Random, config: EngineConfig) -> Instruction:
    half = config.activation_depth // 2
    return I(
        "DITHER",
        count=random.randint(1, half),
        x_base=0,
        x_step=1,
        y_base=random.choice((0, half)),
        y_step=1,
        scale=random.randrange(config.activation_depth),
        gate=random.randrange(2),
        block=random.getrandbits(20),
        seed=_SEED,
        step=_SUM,
        probe=0,
        offset=random.choice((0, _RATE)),
    )


def _transpose(random: Random, config: EngineConfig) -> Instruction:
    inner, columns = random.randint(1, 4), random.randint(1, 4)
    base, target = random.sample((0, config.parameter_depth // 2), 2)
    return I("TRANSPOSE", base=base, inner=inner, columns=columns, target=target)


def _loss(random: Random, config: EngineConfig, kind: LossKind, target: int) -> Instruction:
    """A LOSS in any mode that the engine has; it reads the lower half of the memory and may write
    to the upper one.
    """
    half = config.activation_depth // 2
    return I(
        "LOSS",
        kind=kind,
        z_base=random.randrange(half - 5),
        z_step=1,
        count=random.randint(1, 5),
        label=0,
        t_base=random.randrange(5, half),
        t_step=-1,
        z_frac=random.randint(0, 16),
        loss_frac=random.randint(0, 16),
        mode=random.choice(tuple(LossMode)) if config.local_learning else LossMode.SUM,
        d_base=half + random.randrange(half - 5),
        d_step=1,
        target=target,
    )
