"""The engine's data memories."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from dither.timing import MEMORY_LATENCY

from .interfaces import ReadPort, WritePort

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """A memory of ``depth`` words, cut across its width into ``banks`` that share both addresses.

    Banks keep each lane's (or row's) bits in block RAMs of their own, next to the logic that uses them.
    One read and one write a cycle; read latency :data:`dither.timing.MEMORY_LATENCY`: the block RAM and its output
    register. Reading a word in the cycle in which it is written gives its old value.

    Resources: ``banks * ceil(depth * bits / 18 Kbit)`` block RAMs of an ECP5, or more where ``bits`` is not 9 or 18.

    :param depth: words.
    :param banks: banks of a word.
    :param bits: bits of one bank's part of a word.
    :param separate: every bank has a write enable of its own.
    """

    def __init__(self, *, depth: int, banks: int, bits: int, separate: bool = False) -> None:
        self.depth, self.banks, self.bits, self.separate = depth, banks, bits, separate
        write = WritePort(banks * bits, banks if separate else 1)
        super().__init__({"read": In(ReadPort(banks * bits)), "write": In(write)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i in range(self.banks):
            memory = Memory(shape=self.bits, depth=self.depth, init=[])
            m.submodules[f"bank{i}"] = memory
            write = memory.write_port()
            read = memory.read_port()
            part = slice(i * self.bits, (i + 1) * self.bits)
            m.d.comb += [
                write.en.eq(self.write.enable[i] if self.separate else self.write.enable),
                write.addr.eq(self.write.addr),
                write.data.eq(self.write.data[part]),
                read.addr.eq(self.read.addr),
            ]
            word = read.data
            for stage in range(1, MEMORY_LATENCY):
                delayed = Signal(self.bits, name=f"bank{i}_stage{stage}")
                m.d.sync += delayed.eq(word)
                word = delayed
            m.d.comb += self.read.data[part].eq(word)
        return m
