"""ContractUnit against the golden machine: random instructions, with the bench as memories of latency 2.

After every instruction: the activation memory, the number of writes, the cycles, and both counters. Between
instructions: nothing is written or counted.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from dither.engine import EngineConfig
from dither.golden.reference import reference_contract
from dither.isa import OUTER_LOOPS, REDUCTION_LOOPS
from dither.tables import Table
from dither.timing import execution_cycles

from ..cocotb_runner import bench_config, bench_parameters
from .descriptors import random_contract
from .memories import UnitMachine
from .words import pack, unpack


class _Machine(UnitMachine):
    """The unit, its memories, and what was counted since the last :meth:`clear`."""

    def __init__(self, dut: Any, config: EngineConfig) -> None:
        super().__init__(dut, reads={"weight": "weight", "activation": "activation"}, writes={"result": "activation"})
        self.config = config
        self.row_steps = 0

    def clear(self) -> None:
        super().clear()
        self.row_steps = 0

    async def cycle(self) -> bool:
        done = await super().cycle()
        self.row_steps += int(self.dut.row_steps.value)
        return done

    async def load_tables(self, tables: list[Table]) -> None:
        dut, mask = self.dut, (1 << self.config.width) - 1
        for number, (values, slopes) in enumerate(tables):
            for index, (value, slope) in enumerate(zip(values.tolist(), slopes.tolist(), strict=True)):
                dut.table__enable.value = 1
                dut.table__addr.value = (number << self.config.table_bits) + index
                dut.table__value.value = value & mask
                dut.table__slope.value = slope & mask
                await self.cycle()
        if tables:
            dut.table__enable.value = 0


def _numbers(
    random: np.random.Generator, shape: tuple[int, ...], width: int, extreme: float = 0.1
) -> NDArray[np.int64]:
    """Numbers of all magnitudes, this share of them extremes."""
    limit = 1 << (width - 1)
    numbers = random.integers(-limit, limit, shape) >> random.integers(0, width, shape)
    extremes = random.choice([-limit, limit - 1], shape)
    return np.where(random.random(shape) < extreme, extremes, numbers)


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = _Machine(dut, config)
    await machine.begin(**({"table__enable": 0} if config.activation_tables else {}))
    entries = 1 << config.table_bits
    # Arguments prefer a few segments: many must clip for some of these to.
    tables: list[Table] = [
        (_numbers(numbers, (entries,), config.width, 0.5), _numbers(numbers, (entries,), config.width, 0.5))
        for _ in range(config.activation_tables)
    ]
    await machine.load_tables(tables)
    L, R, W = config.lanes, config.rows, config.width
    clips = 0
    for _ in range(count):
        instruction = random_contract(random, config)
        activation = _numbers(numbers, (config.activation_depth, L), W)
        weight = _numbers(numbers, (config.parameter_depth, R), W)
        machine.memories["activation"] = [pack(word, W) for word in activation.tolist()]
        machine.memories["weight"] = [pack(word, W) for word in weight.tolist()]
        expected, saturations = reference_contract(config, instruction, activation, weight, tables)
        predicted = execution_cycles(config, instruction)

        await machine.execute(instruction, limit=predicted + 100)
        written = np.array([unpack(word, L, W) for word in machine.memories["activation"]])
        wrong = np.argwhere(written != expected)
        assert not len(wrong), f"{len(wrong)} numbers differ, first at (word, lane) {wrong[0]}: {instruction}"
        rows = (instruction["n_o0"] - 1) * config.rows + instruction["last_rows"]
        rows *= math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS[1:])
        terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS)
        counted = (machine.writes.total(), machine.cycles, machine.row_steps, machine.saturations)
        assert counted == (rows, predicted, rows * terms, saturations), f"{counted}: {instruction}"
        clips += saturations

        await machine.rest(random.choice((0, 0, 1, 30)), random)
        assert not machine.row_steps, "row steps between instructions"
    assert clips, "the stimuli never saturated"
    dut._log.info("%d instructions, %d clips", count, clips)
