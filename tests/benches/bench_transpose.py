"""TransposeUnit against its golden twin: TRANSPOSE of random matrices, back to back.

After every instruction the bench compares the whole memory and the cycles, and checks that each
result word is written once.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np

from dither.arch.isa import Instruction
from dither.arch.timing import execution_cycles
from dither.golden.transpose import transpose

from .memories import UnitMachine
from .runner import bench_config, bench_parameters
from .words import pack

DEPTH = 512


def _instruction(random: Random, rows: int) -> Instruction:
    """A random one; source and result are different words modulo the memory's, though they may be
    far apart.
    """
    while True:
        inner, columns = (
            random.choice((1, rows, rows + 1, 2 * rows - 1, random.randint(1, 40), random.randint(1, 200)))
            for _ in range(2)
        )
        source, result = inner * -(-columns // rows), columns * -(-inner // rows)
        if source + result <= DEPTH:
            break
    base = random.choice((0, random.randrange(1 << 16)))
    target = base + source + random.randrange(DEPTH - source - result + 1) + DEPTH * random.randrange(1 << 7)
    if random.random() < 0.1:
        base, target = base - target, 0
    return Instruction.make("TRANSPOSE", base=base % (1 << 16), inner=inner, columns=columns, target=target % (1 << 16))


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    R, W = config.rows, config.width
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = UnitMachine(dut, reads={"weight": "weight"}, writes={"result": "weight"})
    await machine.begin(fields=0)
    for _ in range(count):
        instruction = _instruction(random, R)
        inner, columns = instruction["inner"], instruction["columns"]
        contents = numbers.integers(-(1 << (W - 1)), 1 << (W - 1), (DEPTH, R))
        machine.memories["weight"] = [pack(word, W) for word in contents]

        addresses = instruction["base"] + np.arange(inner * -(-columns // R))
        machine.expect_reads("weight", addresses)
        source = addresses % DEPTH
        addresses = (instruction["target"] + np.arange(columns * -(-inner // R))) % (1 << 16)
        result = addresses % DEPTH
        contents[result] = transpose(contents[source], inner, columns)

        predicted = execution_cycles(config, instruction)
        await machine.execute(instruction, predicted + 100)
        wrong = [i for i in range(DEPTH) if machine.memories["weight"][i] != pack(contents[i], W)]
        assert not wrong, f"{len(wrong)} words differ, first at {wrong[0]}: {instruction}"
        assert machine.writes == {("weight", int(place)): 1 for place in addresses}, f"writes: {instruction}"
        assert machine.cycles == predicted, f"{machine.cycles} cycles, not {predicted}: {instruction}"
        await machine.rest(random.choice((0, 0, 1, 7, 40)), random)
    dut._log.info("%d instructions", count)
