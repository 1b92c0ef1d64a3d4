"""The engine's data memories."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from dither.timing import MEMORY_LATENCY

from . import vendor
from .interfaces import ADDRESS_BITS, ReadPort, WritePort
from .vendor import ecp5

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """A memory of ``depth`` words, cut across its width into ``banks`` that share both addresses.

    Banks keep each lane's (or row's) bits in block RAMs of their own, next to the logic that uses them, and have
    registers of their own for writes, so that the way there takes a whole cycle. One read and one write a cycle. A read
    gives, :data:`dither.timing.MEMORY_LATENCY` cycles later, what was written up to
    :data:`dither.timing.WRITE_LATENCY` cycles before it. What it gives of a word that is just being written is not
    defined: anything on an FPGA; in simulation the complement of the old value, so that whatever depends on it fails.

    Resources: for each bank, the block RAMs of :meth:`dither_hw.vendor.ecp5.BlockRamLayout.of`, and a flip-flop for
    each bit of a write.

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
            part = slice(i * self.bits, (i + 1) * self.bits)
            enable = Signal(name=f"write_enable{i}_copy")
            addr = Signal(ADDRESS_BITS, name=f"write_addr{i}_copy", reset_less=True)
            value = Signal(self.bits, name=f"write_data{i}", reset_less=True)
            m.d.sync += [
                enable.eq(self.write.enable[i if self.separate else 0]),
                addr.eq(self.write.addr),
                value.eq(self.write.data[part]),
            ]
            if vendor.family(platform) == vendor.ECP5:
                word: Value = ecp5.block_ram(
                    m,
                    depth=self.depth,
                    write_enable=enable,
                    write_addr=addr,
                    write_data=value,
                    read_addr=self.read.addr,
                    name=f"bank{i}",
                )
            else:
                word = self._bank(m, i, enable, addr, value, simulated=platform is None)
            m.d.comb += self.read.data[part].eq(word)
        return m

    def _bank(self, m: Module, number: int, enable: Value, addr: Value, value: Value, simulated: bool) -> Value:
        """A bank without primitives."""
        memory = Memory(shape=self.bits, depth=self.depth, init=[])
        m.submodules[f"bank{number}"] = memory
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [write.en.eq(enable), write.addr.eq(addr), write.data.eq(value), read.addr.eq(self.read.addr)]
        word: Value = read.data
        if simulated:
            clash = Signal(name=f"clash{number}")
            m.d.sync += clash.eq(enable & (addr[: len(read.addr)] == read.addr))
            word = word ^ clash.replicate(self.bits)
        for stage in range(1, MEMORY_LATENCY):
            delayed = Signal(self.bits, name=f"bank{number}_stage{stage}")
            m.d.sync += delayed.eq(word)
            word = delayed
        return word
