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
from dither.isa import OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction
from dither.tables import Table, interpolate
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


def _numbers(random: np.random.Generator, shape: tuple[int, ...], width: int) -> NDArray[np.int64]:
    """Numbers of all magnitudes, extremes among them."""
    limit = 1 << (width - 1)
    numbers = random.integers(-limit, limit, shape) >> random.integers(0, width, shape)
    extremes = random.choice([-limit, limit - 1], shape)
    return np.where(random.random(shape) < 0.1, extremes, numbers)


def _golden(
    config: EngineConfig,
    instruction: Instruction,
    activation: NDArray[np.int64],
    weight: NDArray[np.int64],
    tables: list[Table],
) -> tuple[NDArray[np.int64], int]:
    """The activation memory afterwards, and the clips of requantisers and interpolators."""
    after, clips = reference_contract(config, instruction, activation, weight, tables)
    if instruction["activation"] == Activation.TABLE:
        clips += _interpolator_clips(config, instruction, activation, weight, tables)
    return after, clips


def _interpolator_clips(
    config: EngineConfig,
    instruction: Instruction,
    activation: NDArray[np.int64],
    weight: NDArray[np.int64],
    tables: list[Table],
) -> int:
    """How many outputs of the table were beyond its range: with the numbers in front of it written one by one."""
    fields = dict(instruction.fields) | {"activation": int(Activation.NONE)}
    width, half = config.width, 1 << (config.width - 1)
    rows = _written_rows(config, instruction)
    fields |= {f"y_{loop}": 0 for loop in OUTER_LOOPS}
    # Every row of the nest in a word of its own: no row's numbers may hide another's.
    depth = config.activation_depth + rows + config.rows
    widened = np.zeros((depth, config.lanes), np.int64)
    widened[: config.activation_depth] = activation
    fields |= {"y_base": config.activation_depth, "y_row": 1}
    way = 0
    for loop in OUTER_LOOPS:
        stride = _rows_before(config, instruction, loop)
        fields[f"y_{loop}"] = stride - way
        way += (instruction[f"n_{loop}"] - 1) * stride
    plain, _ = reference_contract(config, Instruction.make("CONTRACT", **fields), widened, weight, ())
    arguments = plain[config.activation_depth : config.activation_depth + rows] + half
    values, slopes = tables[instruction["table"]]
    results = interpolate(values, slopes, arguments, width - config.table_bits)
    return int(np.count_nonzero((results < -half) | (results >= half)))


def _rows_before(config: EngineConfig, instruction: Instruction, loop: str) -> int:
    """Rows written by one iteration of an outer loop."""
    if loop == OUTER_LOOPS[0]:
        return config.rows
    inside = OUTER_LOOPS[1 : OUTER_LOOPS.index(loop)]
    rows = (instruction["n_o0"] - 1) * config.rows + instruction["last_rows"]
    for other in inside:
        rows *= instruction[f"n_{other}"]
    return rows


def _written_rows(config: EngineConfig, instruction: Instruction) -> int:
    return _rows_before(config, instruction, OUTER_LOOPS[-1]) * instruction[f"n_{OUTER_LOOPS[-1]}"]


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = _Machine(dut, config)
    await machine.begin(**({"table__enable": 0} if config.activation_tables else {}))
    entries = 1 << config.table_bits
    tables: list[Table] = [
        (_numbers(numbers, (entries,), config.width), _numbers(numbers, (entries,), config.width))
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
        expected, saturations = _golden(config, instruction, activation, weight, tables)
        predicted = execution_cycles(config, instruction)

        await machine.execute(instruction, limit=predicted + 100)
        written = np.array([unpack(word, L, W) for word in machine.memories["activation"]])
        wrong = np.argwhere(written != expected)
        assert not len(wrong), f"{len(wrong)} numbers differ, first at (word, lane) {wrong[0]}: {instruction}"
        rows = _written_rows(config, instruction)
        terms = math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS)
        counted = (machine.writes.total(), machine.cycles, machine.row_steps, machine.saturations)
        assert counted == (rows, predicted, rows * terms, saturations), f"{counted}: {instruction}"
        clips += saturations

        await machine.rest(random.choice((0, 0, 1, 30)), random)
        assert not machine.row_steps, "row steps between instructions"
    assert clips, "the stimuli never saturated"
    dut._log.info("%d instructions, %d clips", count, clips)
