"""The engine against the golden machine: whole programs, started through the host port.

Both streams pause by patterns. Outputs and all counters but ``wait`` are the golden machine's,
whatever the patterns; without pauses there are no waits.

Parameters: ``config``, ``patterns`` (pairs of :mod:`.beats`), ``count`` of programs.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np

from dither.arch.config import EngineConfig
from dither.arch.device import RunResult
from dither.arch.isa import Instruction, decode_program
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS
from dither.arch.streams import beat_words, pack, physical_beats, unpack
from dither.golden import GoldenMachine

from . import coverage
from .beats import Sink, Source
from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters
from .whole_programs import WholeProgram, whole_program

_ADDRESS = {register.name: register.address for register in REGISTERS}
_FAULT = 2
_ENOUGH = 200_000
"""Cycles in which every program is done."""


class _Driver:
    """The host's side of an engine: what a driver of a real one does, cycle by cycle."""

    def __init__(self, dut: Any, config: EngineConfig, random: Random) -> None:
        self.dut = dut
        self.config = config
        self.random = random

    async def begin(self) -> None:
        await begin(
            self.dut,
            reset=0,
            host_addr=0,
            host_write=0,
            host_wdata=0,
            input__valid=0,
            input__payload=0,
            output__ready=0,
        )
        assert await self.read("magic") == MAGIC
        assert await self.read("configuration") == int(self.config.digest(), 16)

    async def write(self, address: int, value: int) -> None:
        dut = self.dut
        dut.host_addr.value, dut.host_wdata.value, dut.host_write.value = address, value, 1
        await next_cycle(dut)
        dut.host_write.value = 0

    async def read(self, register: str | int) -> int:
        dut = self.dut
        dut.host_addr.value = _ADDRESS[register] if isinstance(register, str) else register
        for _ in range(self.config.family.host_read_cycles):
            await next_cycle(dut)
        await settled(dut)
        value = int(dut.host_rdata.value)
        await next_cycle(dut)
        return value

    async def write_program(self, words: list[int]) -> None:
        for address, word in enumerate(words):
            await self.write(PROGRAM_WINDOW + address, word)

    async def run(self, program: WholeProgram, patterns: tuple[str, str]) -> RunResult:
        """The loaded program, from word 0 to its end; sees the end through the status register."""
        dut, config = self.dut, self.config
        source, sink = Source(dut, "input", patterns[0], self.random), Sink(dut, "output", patterns[1], self.random)
        source.send(int.from_bytes(beat.tobytes(), "little") for beat in pack(config, program.inputs))
        await self.write(_ADDRESS["start"], 0)
        dut.host_addr.value = _ADDRESS["status"]
        status, cycles = 1, 0
        while status & 1 or cycles < 5:
            source.drive()
            sink.drive()
            await settled(dut)
            source.settle()
            sink.settle()
            status, cycles = int(dut.host_rdata.value), cycles + 1
            assert cycles < _ENOUGH, "the program does not end"
            await next_cycle(dut)
        dut.input__valid.value = dut.output__ready.value = 0
        assert not status & _FAULT, "the program faults"
        assert not source.beats, f"{len(source.beats)} beats were not taken"
        counters = {counter.name: await self.read(COUNTER_BASE + i) for i, counter in enumerate(COUNTERS)}
        return RunResult(self._unpacked(program, sink.beats), counters)

    def _unpacked(self, program: WholeProgram, beats: list[int]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        words = beat_words(self.config)
        lengths = [physical_beats(self.config, expect) for expect in program.expects]
        expected = sum(lengths)
        assert len(beats) == expected, f"{len(beats)} beats came, not {expected}"
        raw = b"".join(beat.to_bytes(4 * words, "little") for beat in beats)
        physical, outputs, taken = np.frombuffer(raw, "<u4").reshape(-1, words), [], 0
        for expect, length in zip(program.expects, lengths, strict=True):
            outputs.append(unpack(self.config, expect.kind, physical[taken : taken + length]))
            taken += length
        return outputs


@cocotb.test()
async def whole_programs(dut: Any) -> None:
    config, parameters, random = bench_config(), bench_parameters(), Random(cocotb.RANDOM_SEED)
    golden, driver = GoldenMachine(config), _Driver(dut, config, random)
    await driver.begin()
    # Registers outlive runs: the golden machine runs as often as the engine.
    for number in range(parameters["count"]):
        program = whole_program(random, config)
        golden.write_program(program.words)
        await driver.write_program(program.words)
        for patterns in parameters["patterns"]:
            want, got = golden.run(0, program.inputs, program.expects), await driver.run(program, patterns)
            for _, instruction in decode_program(program.words):
                coverage.meet(coverage.PROGRAMS, instruction, dict(zip(("input", "output"), patterns, strict=True)))
            context = f"program {number}, streams {patterns}"
            for expect, expected, output in zip(program.expects, want.outputs, got.outputs, strict=True):
                wrong = np.argwhere(expected != output)
                name = "scalars" if expect.kind is None else expect.kind.name
                assert not len(wrong), f"{context}: {name} differs, first at (word, slot) {wrong[0]}"
            counters = dict(got.counters)
            waits = counters.pop("cycles_wait")
            expected_counters = {name: value for name, value in want.counters.items() if name != "cycles_wait"}
            assert counters == expected_counters, f"{context}: counters {counters}, not {expected_counters}"
            assert patterns != ["always", "always"] or not waits, f"{waits} waits without pauses"


@cocotb.test()
async def fault_and_recovery(dut: Any) -> None:
    """An unknown opcode shows as a fault; the next start clears it."""
    driver = _Driver(dut, bench_config(), Random(cocotb.RANDOM_SEED))
    await driver.begin()
    for words, fault in (([0xFF], _FAULT), (Instruction.make("HALT").encode(), 0), ([0x1F], _FAULT)):
        await driver.write_program(words)
        await driver.write(_ADDRESS["start"], 0)
        for _ in range(20):
            await next_cycle(dut)
        assert await driver.read("status") == fault
