"""ContractUnit against the golden machine: random instructions, with the bench as memories of latency 2.

After every instruction: the activation memory, the number of writes, the cycles, and both counters. Between
instructions: nothing is written or counted.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from numpy.typing import NDArray

from dither.engine import EngineConfig
from dither.golden.reference import reference_contract
from dither.isa import OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction
from dither.tables import Table, interpolate
from dither.timing import MEMORY_LATENCY, execution_cycles

from ..cocotb_runner import bench_config, bench_parameters
from .descriptors import random_contract
from .words import pack, pack_fields, unpack


class _Machine:
    """The unit, its memories, and what was counted since the last :meth:`clear`."""

    def __init__(self, dut: Any, config: EngineConfig) -> None:
        self.dut = dut
        self.config = config
        self.weight = [0] * config.parameter_depth
        self.activation = [0] * config.activation_depth
        self.pending: deque[tuple[int, int]] = deque([(0, 0)] * MEMORY_LATENCY)
        self.clear()

    def clear(self) -> None:
        self.cycles = self.writes = self.row_steps = self.saturations = 0

    async def cycle(self) -> bool:
        """Halfway through the next cycle, do what memories and counters do in it; whether ``done`` is high."""
        await FallingEdge(self.dut.clk)
        dut = self.dut
        self.cycles += 1
        self.pending.append((int(dut.weight__addr.value), int(dut.activation__addr.value)))
        weight_addr, activation_addr = self.pending.popleft()
        dut.weight__data.value = self.weight[weight_addr % len(self.weight)]
        dut.activation__data.value = self.activation[activation_addr % len(self.activation)]
        if int(dut.result__enable.value):
            self.activation[int(dut.result__addr.value)] = int(dut.result__data.value)
            self.writes += 1
        self.row_steps += int(dut.row_steps.value)
        self.saturations += int(dut.saturations.value)
        return bool(int(dut.done.value))

    async def reset(self) -> None:
        dut = self.dut
        dut.start.value = 0
        if self.config.activation_tables:
            dut.table__enable.value = 0
        dut.rst.value = 1
        await self.cycle()
        dut.rst.value = 0
        await self.cycle()

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

    async def execute(self, instruction: Instruction, limit: int) -> None:
        """Run one instruction, counting its cycles from start to done, both included."""
        dut = self.dut
        self.clear()
        dut.fields.value = pack_fields(instruction.encode())
        dut.start.value = 1
        self.cycles = 1  # this one, of which half is left
        done = await self.cycle()
        dut.start.value = 0
        while not done:
            assert self.cycles < limit, f"not done after {limit} cycles: {instruction}"
            done = await self.cycle()


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
    Clock(dut.clk, 10, "ns").start()
    machine = _Machine(dut, config)
    await machine.reset()
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
        machine.activation = [pack(word, W) for word in activation.tolist()]
        machine.weight = [pack(word, W) for word in weight.tolist()]
        expected, saturations = _golden(config, instruction, activation, weight, tables)
        predicted = execution_cycles(config, instruction)

        await machine.execute(instruction, limit=predicted + 100)
        written = np.array([unpack(word, L, W) for word in machine.activation])
        wrong = np.argwhere(written != expected)
        assert not len(wrong), f"{len(wrong)} numbers differ, first at (word, lane) {wrong[0]}: {instruction}"
        rows = _written_rows(config, instruction)
        terms = np.prod([instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS])
        counted = (machine.writes, machine.cycles, machine.row_steps, machine.saturations)
        assert counted == (rows, predicted, rows * terms, saturations), f"{counted}: {instruction}"
        clips += saturations

        machine.clear()
        dut.fields.value = random.getrandbits(len(dut.fields))
        for _ in range(random.choice((0, 0, 1, 30))):
            assert not await machine.cycle(), "done without a start"
        counted = (machine.writes, machine.row_steps, machine.saturations)
        assert counted == (0, 0, 0), f"between instructions: {counted} writes, row steps, saturations"
    assert clips, "the stimuli never saturated"
    dut._log.info("%d instructions, %d clips", count, clips)
