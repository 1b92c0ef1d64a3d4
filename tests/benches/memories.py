"""A unit of the engine with the bench as its memories, and instructions run on it one by one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from dither.arch.isa import Instruction
from dither.arch.timing import MEMORY_LATENCY
from dither_hw.base.interfaces import ADDRESS_BITS

from . import coverage
from .words import pack_fields

__all__ = ["UnitMachine"]


class UnitMachine:
    """Drives a unit's start, fields and operands, and answers at its memory ports.

    A read gives the word as it is in the cycle of its address, ``MEMORY_LATENCY`` cycles later; a
    write in the same cycle comes after it. Addresses are taken modulo the number of words.

    :param reads: memory by read port.
    :param writes: memory by write port.
    :param parts: bits of a part of a word, by those of the write ports that put one number into
        chosen parts.
    """

    def __init__(
        self,
        dut: Any,
        *,
        reads: Mapping[str, str],
        writes: Mapping[str, str] | None = None,
        parts: Mapping[str, int] | None = None,
    ) -> None:
        self.dut = dut
        self.memories: dict[str, list[int]] = {name: [0] for name in (*reads.values(), *(writes or {}).values())}
        """Words by memory; to be set before they are used."""
        self.cycles = self.saturations = 0
        self.writes: Counter[tuple[str, int]] = Counter()
        """How often each word was written (or a part of it), by memory and whole address."""
        self._pages: dict[str, set[int]] = {}
        self._reads = {port: (memory, deque([0] * MEMORY_LATENCY)) for port, memory in reads.items()}
        self._writes = dict(writes or {})
        self._parts = dict(parts or {})
        self._saturates = hasattr(dut, "saturations")

    def clear(self) -> None:
        """Forgets what was counted."""
        self.cycles = self.saturations = 0
        self.writes.clear()

    async def begin(self, **inputs: int) -> None:
        """Starts the clock and resets; ``inputs`` get these values."""
        dut = self.dut
        for name, value in ({"start": 0} | inputs).items():
            getattr(dut, name).value = value
        dut.rst.value = 1
        Clock(dut.clk, 10, "ns").start()
        await self.cycle()
        dut.rst.value = 0
        await self.cycle()
        self.clear()

    async def cycle(self) -> bool:
        """To the middle of the next cycle, where all has settled; whether ``done`` is high in
        it.
        """
        await FallingEdge(self.dut.clk)
        dut = self.dut
        self.cycles += 1
        for port, (memory, pipeline) in self._reads.items():
            words = self.memories[memory]
            page, address = divmod(int(getattr(dut, f"{port}__addr").value), len(words))
            astray = page not in self._pages.get(memory, {page})
            pipeline.append(words[address] ^ ((1 << len(getattr(dut, f"{port}__data"))) - 1 if astray else 0))
            getattr(dut, f"{port}__data").value = pipeline.popleft()
        for port, memory in self._writes.items():
            if enable := int(getattr(dut, f"{port}__enable").value):
                words = self.memories[memory]
                whole = int(getattr(dut, f"{port}__addr").value)
                address = whole % len(words)
                number = int(getattr(dut, f"{port}__data").value)
                if port in self._parts:
                    number = _replaced(words[address], number, enable, self._parts[port])
                words[address] = number
                self.writes[memory, whole] += 1
        if self._saturates:
            self.saturations += int(dut.saturations.value)
        return bool(int(dut.done.value))

    def expect_reads(self, memory: str, addresses: Iterable[int]) -> None:
        """From now on, a memory gives other words far from these addresses, modulo 2**16."""
        size = len(self.memories[memory])
        self._pages[memory] = {int(address) % (1 << ADDRESS_BITS) // size for address in addresses}

    async def execute(self, instruction: Instruction, limit: int, *, lead: int = 0, **operands: int) -> None:
        """Runs one instruction; counts its cycles from start to done, both included.

        It starts in the next cycle, so never in the last one of another; or ``lead`` cycles later,
        with the instruction already there.
        """
        dut = self.dut
        coverage.meet(coverage.UNITS, instruction)
        assert not await self.cycle(), "done without a start"
        self.clear()
        dut.fields.value = pack_fields(instruction.encode()) & ((1 << len(dut.fields)) - 1)
        for name, value in operands.items():
            getattr(dut, name).value = value
        for _ in range(lead):
            assert not await self.cycle(), "done without a start"
        dut.start.value = 1
        self.cycles = 1  # this one, of which half is left
        done = await self.cycle()
        dut.start.value = 0
        while not done:
            assert self.cycles < limit, f"not done after {limit} cycles: {instruction}"
            done = await self.cycle()

    async def rest(self, cycles: int, random: Random) -> None:
        """Some cycles between instructions, with noise as fields: nothing may be written, counted
        or done.
        """
        self.clear()
        for _ in range(cycles):
            assert not await self.cycle(), "done without a start"
            self.dut.fields.value = random.getrandbits(len(self.dut.fields))
        assert not self.writes, f"written between instructions: {sorted(self.writes)}"
        assert not self.saturations, f"{self.saturations} saturations between instructions"


def _replaced(word: int, number: int, enable: int, bits: int) -> int:
    """The word with the number in its parts of so many bits that are enabled."""
    for part in range(enable.bit_length()):
        if enable >> part & 1:
            word += (number - (word >> part * bits & (1 << bits) - 1)) << part * bits
    return word
