"""The unit of CONTRACT and CORRELATE with the bench as its memories, and their contents after."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.isa import GRADIENT_BITS, OUTER_LOOPS, REDUCTION_LOOPS, Instruction
from dither.arch.tables import Table
from dither.arch.timing import execution_cycles
from dither.golden.literal import literal_contract, literal_correlate

from .descriptors import displaced, random_contract, random_correlate
from .memories import UnitMachine
from .words import pack, pack_fields, unpack

__all__ = ["ContractionMachine"]

_LONG_SHARE = 0.1
"""Share of the contractions that have sums of hundreds of the largest products."""
_FLUSHED = 60
"""Cycles in which the lanes' pipelines run empty, with some to spare."""


class ContractionMachine(UnitMachine):
    """The unit, its memories, its tables, and what was counted since the last :meth:`clear`."""

    def __init__(self, dut: Any, config: EngineConfig, seed: int) -> None:
        reads, writes = {"weight": "weight", "activation": "activation"}, {"result": "activation"}
        if config.local_learning:
            reads |= {"gradient": "gradient"}
            writes |= {"gradient_write": "gradient"}
        super().__init__(dut, reads=reads, writes=writes)
        self.config = config
        self.row_steps = 0
        self.random, self._numbers = Random(seed), np.random.default_rng(seed)
        entries, width = 1 << config.table_bits, config.width
        # Arguments prefer a few segments: many must clip for some of these to.
        self.tables: list[Table] = [
            (self.numbers((entries,), width, 0.5), self.numbers((entries,), width, 0.5))
            for _ in range(config.activation_tables)
        ]

    def clear(self) -> None:
        super().clear()
        self.row_steps = 0

    async def cycle(self) -> bool:
        done = await super().cycle()
        self.row_steps += int(self.dut.row_steps.value)
        return done

    def numbers(self, shape: tuple[int, ...], width: int, extreme: float = 0.1) -> NDArray[np.int64]:
        """Numbers of all magnitudes, this share of them extremes."""
        random, limit = self._numbers, 1 << (width - 1)
        numbers = random.integers(-limit, limit, shape) >> random.integers(0, width, shape)
        extremes = random.choice([-limit, limit - 1], shape)
        return np.where(random.random(shape) < extreme, extremes, numbers)

    async def prepare(self) -> None:
        """Reset, and load the tables."""
        dut, mask = self.dut, (1 << self.config.width) - 1
        await self.begin(reset=0, **({"table__enable": 0} if self.config.activation_tables else {}))
        for number, (values, slopes) in enumerate(self.tables):
            for index, (value, slope) in enumerate(zip(values.tolist(), slopes.tolist(), strict=True)):
                dut.table__enable.value = 1
                dut.table__addr.value = (number << self.config.table_bits) + index
                dut.table__value.value = value & mask
                dut.table__slope.value = slope & mask
                await self.cycle()
        if self.tables:
            dut.table__enable.value = 0

    async def contract(self) -> int:
        """One random CONTRACT, checked; its clips. Some have sums as large as they can be."""
        config = self.config
        long = self.random.random() < _LONG_SHARE
        instruction = random_contract(self.random, config, long=long)
        activation, weight = self._fill(instruction, alike=long)
        expected, clips = literal_contract(config, instruction, activation, weight, self.tables)
        await self._run(instruction)
        self._compare("activation", expected, config.width, instruction)
        tiles, terms = _sizes(instruction)
        rows = _rows(config, instruction)
        assert self.writes.total() == rows * tiles, f"{self.writes.total()} writes: {instruction}"
        assert not any(memory != "activation" for memory, _ in self.writes), (
            f"another memory was written: {instruction}"
        )
        counted, right = (self.row_steps, self.saturations), (rows * tiles * terms, clips)
        assert counted == right, f"{counted}, not {right}: {instruction}"
        return clips

    async def correlate(self) -> None:
        """One random CORRELATE, checked."""
        config = self.config
        instruction = random_correlate(self.random, config)
        activation, _ = self._fill(instruction)
        gradient = self.numbers((config.parameter_depth, config.rows), GRADIENT_BITS)
        self.memories["gradient"] = [pack(word, GRADIENT_BITS) for word in gradient.tolist()]
        expected = literal_correlate(config, instruction, activation, gradient)
        await self._run(instruction)
        self._compare("gradient", expected, GRADIENT_BITS, instruction)
        tiles, terms = _sizes(instruction)
        writes = tiles * instruction["n_o0"] * terms
        assert self.writes.total() == writes, f"{self.writes.total()} writes, not {writes}: {instruction}"
        assert not any(memory != "gradient" for memory, _ in self.writes), f"another memory was written: {instruction}"
        counted, right = (self.row_steps, self.saturations), (_rows(config, instruction) * tiles * terms, 0)
        assert counted == right, f"{counted}, not {right}: {instruction}"

    async def abandon(self, instruction: Instruction) -> None:
        """An instruction that a reset ends: nothing is written and no weight asked for any more,
        and the next one does not notice.
        """
        dut = self.dut
        self._fill(instruction)
        dut.fields.value = pack_fields(instruction.encode()) & ((1 << len(dut.fields)) - 1)
        dut.index.value = 0
        await self.cycle()
        dut.start.value = 1
        await self.cycle()
        dut.start.value = 0
        for _ in range(self.random.randrange(execution_cycles(self.config, instruction) - 2)):
            await self.cycle()
        dut.reset.value = 1
        await self.cycle()
        dut.reset.value = 0
        self.clear()
        asked = int(dut.weight__addr.value)
        for _ in range(_FLUSHED):
            assert not await self.cycle(), "done after a reset"
            assert int(dut.weight__addr.value) == asked, "a weight is asked for after a reset"
        assert not self.writes, "written after a reset"
        self.clear()

    async def pause(self) -> None:
        """Some cycles in which nothing happens, or none."""
        await self.rest(self.random.choice((0, 0, 1, 30)), self.random)
        assert not self.row_steps, "row steps between instructions"

    def _fill(self, instruction: Instruction, *, alike: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Random activations and weights; all of either the same extreme, if they are ``alike``."""
        config = self.config
        activation = self.numbers((config.activation_depth, config.lanes), config.width)
        weight = self.numbers((config.parameter_depth, config.rows), config.width)
        if alike:
            activation[:], weight[:] = self.numbers((2,), config.width, 1.0)
        self.memories["activation"] = [pack(word, config.width) for word in activation.tolist()]
        self.memories["weight"] = [pack(word, config.width) for word in weight.tolist()]
        return activation, weight

    async def _run(self, instruction: Instruction) -> None:
        """The instruction by way of index registers, in as many cycles as predicted, and within the
        memories.
        """
        predicted = execution_cycles(self.config, instruction)
        for memory in self.memories:
            self.expect_reads(memory, [0])
        moved, indices = displaced(self.random, instruction)
        index = sum(value << 16 * i for i, value in enumerate(indices))
        await self.execute(moved, limit=predicted + 100, lead=1, index=index)
        assert self.cycles == predicted, f"{self.cycles} cycles, not {predicted}: {instruction}"
        beyond = [(memory, address) for memory, address in self.writes if address >= len(self.memories[memory])]
        assert not beyond, f"written beyond memories: {beyond[:3]}: {instruction}"

    def _compare(self, memory: str, expected: NDArray[np.int64], width: int, instruction: Instruction) -> None:
        written = np.array([unpack(word, expected.shape[1], width) for word in self.memories[memory]])
        wrong = np.argwhere(written != expected)
        assert not len(wrong), f"{memory}: {len(wrong)} numbers differ, first at {wrong[0]}: {instruction}"


def _sizes(instruction: Instruction) -> tuple[int, int]:
    """Tiles of one iteration of o0, and terms of a tile."""
    tiles = math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS[1:])
    return tiles, math.prod(instruction[f"n_{loop}"] for loop in REDUCTION_LOOPS)


def _rows(config: EngineConfig, instruction: Instruction) -> int:
    """Rows that count in all iterations of o0."""
    return (instruction["n_o0"] - 1) * config.rows + instruction["last_rows"]
