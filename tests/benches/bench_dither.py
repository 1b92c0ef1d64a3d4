"""DitherUnit against its golden twin: random DITHERs, in place and not, at all offsets.

They come back to back. After every instruction the bench compares the whole memory, checks that
each output is written once, and compares cycles and saturations.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np

from dither.arch.isa import REGISTERS, Instruction
from dither.arch.timing import execution_cycles
from dither.golden.dither import dither, sample_signs

from .memories import UnitMachine
from .runner import bench_config, bench_parameters
from .words import pack

DEPTH = 512


def _instruction(random: Random) -> Instruction:
    """A random one whose outputs, modulo the memory's words, are different words, and no or exactly
    the inputs.
    """
    count = random.choice((1, 2, random.randint(1, 40), random.randint(1, 200)))
    if random.random() < 0.3:
        x = y = (random.choice((0, random.randrange(1 << 16))), random.randrange(-(1 << 15) + 1, 1 << 15, 2))
    else:
        x = (random.randrange(0, 1 << 16, 2), random.choice((0, 2, random.randrange(-(1 << 15), 1 << 15, 2))))
        y = (random.randrange(1, 1 << 16, 2), 0 if count == 1 else random.randrange(-(1 << 15) + 2, 1 << 15, 4))
    return Instruction.make(
        "DITHER",
        count=count,
        x_base=x[0],
        x_step=x[1],
        y_base=y[0],
        y_step=y[1],
        scale=random.choice((0, random.randrange(1 << 16))),
        gate=random.randrange(2),
        block=random.choice((0, (1 << 20) - 1, random.randrange(1 << 20))),
        **{name: random.randrange(REGISTERS) for name in ("seed", "step", "probe", "offset")},
    )


def _operands(random: Random) -> dict[str, int]:
    operands = {name: random.choice((0, 0xFFFFFFFF, random.getrandbits(32))) for name in ("seed", "step", "probe")}
    tile = random.choice((0, 0, random.randrange(1 << 10), (1 << 10) - 1))
    return operands | {"offset": 64 * tile + random.choice((0, 1, 7, 8, 55, 56, 62, 63, random.randrange(64)))}


def _contents(numbers: np.random.Generator, lanes: int, width: int) -> np.ndarray:
    """Numbers of all magnitudes, extremes and zeros among them."""
    shape, limit = (DEPTH, lanes), 1 << (width - 1)
    values = numbers.integers(-limit, limit, shape) >> numbers.integers(0, width, shape)
    special = numbers.choice([-limit, -1, 0, 1, limit - 1], shape)
    return np.where(numbers.random(shape) < 0.3, special, values)


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    L, W = config.lanes, config.width
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = UnitMachine(dut, reads={"activation": "activation"}, writes={"result": "activation"})
    await machine.begin(fields=0, seed=0, step=0, probe=0, offset=0)
    clips = 0
    for _ in range(count):
        instruction, operands = _instruction(random), _operands(random)
        contents = _contents(numbers, L, W)
        machine.memories["activation"] = [pack(word, W) for word in contents]

        steps = np.arange(instruction["count"])
        addresses = [instruction[f"{name}_base"] + instruction[f"{name}_step"] * steps for name in "xy"]
        x, y = (places % DEPTH for places in addresses)
        machine.expect_reads("activation", [*addresses[0], instruction["scale"]])
        signs = sample_signs(**operands, block=instruction["block"], words=len(steps), lanes=L)
        factors = contents[instruction["scale"] % DEPTH]
        contents[y], saturations = dither(contents[x], signs, factors, gate=bool(instruction["gate"]), width=W)

        predicted = execution_cycles(config, instruction)
        await machine.execute(instruction, predicted + 100, **operands)
        wrong = [i for i in range(DEPTH) if machine.memories["activation"][i] != pack(contents[i], W)]
        assert not wrong, f"{len(wrong)} words differ, first at {wrong[0]}: {instruction}, {operands}"
        assert machine.writes == {("activation", int(place) % (1 << 16)): 1 for place in addresses[1]}, (
            f"writes: {instruction}"
        )
        assert (machine.cycles, machine.saturations) == (predicted, saturations), f"{instruction}, {operands}"
        clips += saturations
        await machine.rest(random.choice((0, 0, 1, 7, 40)), random)
    assert clips, "the stimuli never saturated"
    dut._log.info("%d instructions, %d clips", count, clips)
