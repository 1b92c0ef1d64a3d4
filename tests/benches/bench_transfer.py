"""TransferUnit: random LOAD, STORE, PULL and EMIT between random streams and the bench's memories.

The bench checks beats both ways, memories, results and cycles: those not spent waiting are exactly
those of :mod:`dither.arch.timing`.

Parameters: ``config``, ``input`` and ``output`` (patterns of the streams), ``count`` of
instructions.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import cocotb

from dither.arch.config import EngineConfig
from dither.arch.isa import Instruction, Memory
from dither.arch.timing import MEMORY_LATENCY, STORED_LATENCY, execution_cycles

from . import coverage
from .beats import Sink, Source
from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters
from .words import pack_fields

_DEPTH = 1 << 16
_WHOLE = (Memory.ACTIVATION_TABLE, Memory.SCALAR_TABLE)
"""Memories with one place a word, however many parts the words of others have."""
_WANTED_LATENCY = 2
"""Cycles in which the engine tells its banks whether STORE wants what they have."""
_LEAD = 3
"""Cycles in which the instruction is there before the unit starts."""
_PATIENCE = 100
"""Cycles in a row that the unit may wait for a stream."""


class _Bench:
    def __init__(self, dut: Any, config: EngineConfig, random: Random) -> None:
        parameters = bench_parameters()
        self.dut = dut
        self.config = config
        self.random = random
        self.source = Source(dut, "input", parameters["input"], random)
        self.sink = Sink(dut, "output", parameters["output"], random)
        self.depth = _DEPTH * config.word_parts
        self.memories: dict[tuple[int, int], int] = {}
        """Parts of words by memory and place, where known."""
        self.reads: deque[int] = deque([0] * MEMORY_LATENCY)
        self.wanted: deque[bool] = deque([False] * _WANTED_LATENCY)
        self.stored: deque[int] = deque([0] * STORED_LATENCY)
        self.waited = 0
        self.loading = False

    def word(self, memory: int, address: int) -> int:
        """What a memory has at an address, or of a word in parts, at a place."""
        return self.memories.setdefault((memory, address % self.depth), self.random.getrandbits(self.config.beat_width))

    async def cycle(self) -> tuple[bool, bool]:
        """One cycle of streams and memories: whether the unit is done, whether it waits."""
        dut = self.dut
        self.source.drive()
        self.sink.drive()
        dut.read_data.value = self.stored.popleft()
        await settled(dut)
        self.stored.append(self.reads.popleft() * self.wanted.popleft())
        self.wanted.append(bool(int(dut.stores.value)))
        self.source.settle()
        self.sink.settle()
        memory, address = int(dut.memory.value), int(dut.place.value)
        self.reads.append(self.word(memory, address))
        if int(dut.write_enable.value):
            self.memories[memory, address] = int(dut.write_data.value)
        if self.config.local_learning and not self.loading:
            assert int(dut.write_data.value) == 0, "data to write without a LOAD"
        done, waiting = bool(int(dut.done.value)), bool(int(dut.waiting.value))
        self.waited = self.waited + 1 if waiting else 0
        assert self.waited < _PATIENCE, "the unit waits for ever"
        return done, waiting

    async def execute(self, instruction: Instruction, operand: int) -> int:
        """Run one instruction; its result if it is a PULL."""
        dut, random = self.dut, self.random
        coverage.meet(coverage.UNITS, instruction, bench_parameters())
        dut.opcode.value = instruction.format.opcode
        bits = pack_fields(instruction.encode())
        # What stands behind a short instruction is another one's.
        noise = random.getrandbits(len(dut.fields)) >> instruction.format.bits << instruction.format.bits
        dut.fields.value = (bits | noise) & ((1 << len(dut.fields)) - 1)
        dut.operand.value = operand
        for _ in range(_LEAD):
            assert await self.cycle() == (False, False), "done or waiting without a start"
            await next_cycle(dut)
        dut.start.value = 1
        predicted = execution_cycles(self.config, instruction)
        cycles = waits = 0
        done = False
        self.loading = instruction.name == "LOAD"
        while not done:
            assert cycles - waits < predicted + 10, f"not done after {cycles} cycles: {instruction}"
            done, waiting = await self.cycle()
            cycles, waits = cycles + 1, waits + waiting
            result = int(dut.result.value)
            await next_cycle(dut)
            dut.start.value = 0
        self.loading = False
        assert cycles - waits == predicted, f"{cycles} cycles, {waits} of them waits, not {predicted}: {instruction}"
        return result

    async def idle(self, cycles: int) -> None:
        """Nothing may happen without a start, whatever the streams offer."""
        pending, sent, memories = len(self.source.beats), len(self.sink.beats), dict(self.memories)
        for _ in range(cycles):
            assert await self.cycle() == (False, False), "done or waiting without a start"
            assert (int(self.dut.output__valid.value), int(self.dut.write_enable.value)) == (0, 0)
            await next_cycle(self.dut)
        assert (len(self.source.beats), len(self.sink.beats)) == (pending, sent)
        assert all(self.memories[key] == word for key, word in memories.items())


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, random = bench_config(), Random(cocotb.RANDOM_SEED)
    width = config.beat_width
    await begin(dut, start=0, opcode=0, fields=0, operand=0, read_data=0, input__valid=0, output__ready=0)
    bench = _Bench(dut, config, random)
    for _ in range(bench_parameters()["count"]):
        bench.sink.beats.clear()
        name = random.choice(("LOAD", "LOAD", "STORE", "STORE", "PULL", "EMIT"))
        memory, base = random.choice(list(Memory)), random.choice((0, _DEPTH - 1, random.randrange(_DEPTH)))
        count = random.choice((1, 1, 2, 3, random.randint(4, 60)))
        parts = config.word_parts
        copies = parts if memory in _WHOLE else 1
        places = [base * parts // copies + i for i in range(count * parts // copies)]
        operand = random.randint(-(1 << 31), (1 << 31) - 1)
        match name:
            case "LOAD":
                beats = [random.getrandbits(width) for _ in places]
                around = places[0] - 1, places[-1] + 1
                before = [bench.word(memory, place) for place in around]
                # The beat behind the last one is on offer, and not this instruction's.
                bench.source.send([*(beat for beat in beats for _ in range(copies)), *[0] * parts])
                await bench.execute(Instruction.make(name, memory=memory, base=base, count=count), operand)
                left = len(bench.source.beats)
                assert left == parts, f"LOAD left {left} beats instead of {parts}"
                assert [bench.word(memory, place) for place in places] == beats, "LOAD wrote other words"
                assert before == [bench.word(memory, place) for place in around], "LOAD wrote too much"
                await bench.idle(random.randrange(6))
                await bench.execute(Instruction.make("PULL", target=0), operand)
            case "STORE":
                words = [bench.word(memory, place) for place in places]
                await bench.execute(Instruction.make(name, memory=memory, base=base, count=count), operand)
                sent = [word for word in words for _ in range(copies)]
                assert bench.sink.beats == sent, "STORE sent other words"
            case "PULL":
                beat = random.getrandbits(width)
                bench.source.send([beat] * parts)
                result = await bench.execute(Instruction.make(name, target=random.randrange(16)), operand)
                assert result == beat & 0xFFFFFFFF, f"PULL gave {result:#x} of {beat:#x}"
                assert not bench.source.beats, "PULL took nothing"
            case "EMIT":
                await bench.execute(Instruction.make(name, source=random.randrange(16)), operand)
                sent = [operand & ((1 << width) - 1)] * parts
                assert bench.sink.beats == sent, f"EMIT sent {bench.sink.beats} for {operand}"
        await bench.idle(random.choice((0, 0, 1, 5)))
