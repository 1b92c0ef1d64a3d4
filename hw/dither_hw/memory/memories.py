"""The engine's data memories."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from dither.arch.timing import BLOCK_RAM_LATENCY

from .. import vendor
from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort
from ..vendor import ecp5

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """A memory of ``depth`` words, cut across its width into ``banks`` that share both addresses.

    Banks keep each lane's (or row's) bits in block RAMs of their own, next to the logic that uses
    them. Addresses and writes go through a register for each half of them and one for each, so that
    the way there, across a chip, has two cycles, and nothing but wires and the choice of who writes
    or reads. One read and one write a cycle. A read gives,
    :data:`dither.arch.timing.MEMORY_LATENCY` cycles later, what was written up to
    :data:`dither.arch.timing.WRITE_LATENCY` cycles before it. What it gives of a word that is just
    being written is not defined: anything on an FPGA; in simulation the complement of the old
    value, so that whatever depends on it fails.

    A memory that is ``near`` whoever reads it takes his address as it is: its latency is
    :data:`dither.arch.timing.BLOCK_RAM_LATENCY`, and what is read must have been written a cycle
    earlier.

    Resources: for each bank, the block RAMs of :meth:`dither_hw.vendor.ecp5.BlockRamLayout.of`, and
    a flip-flop for each bit of a write and of an address.

    :param depth: words.
    :param banks: banks of a word.
    :param bits: bits of one bank's part of a word.
    :param enables: write enables, each for as many banks, from the lowest on.
    :param near: without registers for the address of a read.
    """

    def __init__(self, *, depth: int, banks: int, bits: int, enables: int = 1, near: bool = False) -> None:
        self.depth, self.banks, self.bits, self.near = depth, banks, bits, near
        write = WritePort(banks * bits, enables)
        super().__init__({"read": In(ReadPort(banks * bits)), "write": In(write)})

    def part(self, word: Any, bank: int) -> Any:
        """A bank's part of a word."""
        return word[bank * self.bits : (bank + 1) * self.bits]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        halves = [(self.write, self.read.addr)] if self.near else [self._half(m, i) for i in range(min(self.banks, 2))]
        for i in range(self.banks):
            write, read_addr = halves[i * len(halves) // self.banks]
            enable = Signal(name=f"write_enable{i}_copy")
            addr = Signal(ADDRESS_BITS, name=f"write_addr{i}_copy", reset_less=True)
            value = Signal(self.bits, name=f"write_data{i}", reset_less=True)
            m.d.sync += [
                enable.eq(write.enable[i * len(write.enable) // self.banks]),
                addr.eq(write.addr),
                value.eq(self.part(write.data, i)),
            ]
            own_addr = read_addr
            if not self.near:
                own_addr = Signal(ADDRESS_BITS, name=f"read_addr{i}_copy", reset_less=True)
                m.d.sync += own_addr.eq(read_addr)
            if vendor.family(platform) == vendor.ECP5:
                word: Value = ecp5.block_ram(
                    m,
                    depth=self.depth,
                    write_enable=enable,
                    write_addr=addr,
                    write_data=value,
                    read_addr=own_addr,
                    name=f"bank{i}",
                )
            else:
                word = self._bank(m, i, enable, addr, value, own_addr, simulated=platform is None)
            m.d.comb += self.part(self.read.data, i).eq(word)
        return m

    def _half(self, m: Module, number: int) -> tuple[Any, Signal]:
        """The first registers of some banks, which may be far from the others: what is written,
        what is read.
        """
        write = WritePort(self.banks * self.bits, len(self.write.enable)).create()
        enable = Signal(len(write.enable), name=f"write_enable_half{number}_copy")
        addr, read_addr = (
            Signal(ADDRESS_BITS, name=f"{name}_addr_half{number}_copy", reset_less=True) for name in ("write", "read")
        )
        m.d.sync += [
            enable.eq(self.write.enable),
            addr.eq(self.write.addr),
            write.data.eq(self.write.data),
            read_addr.eq(self.read.addr),
        ]
        m.d.comb += [write.enable.eq(enable), write.addr.eq(addr)]
        return write, read_addr

    def _bank(
        self, m: Module, number: int, enable: Value, addr: Value, value: Value, read_addr: Value, simulated: bool
    ) -> Value:
        """A bank without primitives."""
        memory = Memory(shape=self.bits, depth=self.depth, init=[])
        m.submodules[f"bank{number}"] = memory
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [write.en.eq(enable), write.addr.eq(addr), write.data.eq(value), read.addr.eq(read_addr)]
        word: Value = read.data
        if simulated:
            clash = Signal(name=f"clash{number}")
            m.d.sync += clash.eq(enable & (addr[: len(read.addr)] == read.addr))
            word = word ^ clash.replicate(self.bits)
        for stage in range(1, BLOCK_RAM_LATENCY):
            delayed = Signal(self.bits, name=f"bank{number}_stage{stage}")
            m.d.sync += delayed.eq(word)
            word = delayed
        return word
