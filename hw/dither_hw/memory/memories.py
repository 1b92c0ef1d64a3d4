"""The data memories of an engine, made of banks of block RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from dither.arch.timing import BLOCK_RAM_LATENCY

from .. import vendor
from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort
from ..vendor import ecp5, gowin

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """A memory of ``depth`` words whose width is divided among ``banks`` with common addresses.

    Banks keep each lane's (or row's) bits in block RAMs of their own, next to the logic that uses
    them. Addresses and writes pass two registers: one for each half of the banks, then one for each
    bank. So the way there, across a chip, has two cycles that hold nothing but wires and the choice
    of who writes or reads.

    Throughput: one read and one write a cycle. A read gives,
    :data:`dither.arch.timing.MEMORY_LATENCY` cycles after its address, what was written up to
    :data:`dither.arch.timing.WRITE_LATENCY` cycles before that address. A word may be read while it
    is written, but the value read is undefined and must not be used. On an FPGA it is anything; in
    simulation it is the complement of the old value, so that whatever depends on it fails.

    A memory that is ``near`` its reader has no registers for the read address. Its latency is
    :data:`dither.arch.timing.BLOCK_RAM_LATENCY`, and what is read must have been written one cycle
    earlier than in other memories.

    Resources: for each bank, the block RAMs of :meth:`dither_hw.vendor.flow.BlockRamLayout.of`, and
    a flip-flop for each bit of a write and of an address.

    Attributes
    ----------
    read : In(ReadPort)
        The read port, ``banks * bits`` wide.
    write : In(WritePort)
        The write port, ``banks * bits`` wide, with ``enables`` enables.

    :param depth: number of words.
    :param banks: number of banks that a word is divided among.
    :param bits: bits of a word in one bank.
    :param enables: number of write enables, each for an equal share of the banks, from the lowest
        on.
    :param near: whether the read address comes straight from the reader, without registers.
    """

    def __init__(self, *, depth: int, banks: int, bits: int, enables: int = 1, near: bool = False) -> None:
        self.depth, self.banks, self.bits, self.near = depth, banks, bits, near
        write = WritePort(banks * bits, enables)
        super().__init__({"read": In(ReadPort(banks * bits)), "write": In(write)})

    def part(self, word: Any, bank: int) -> Any:
        """Returns the bits of a word that one bank holds."""
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
            elif vendor.family(platform) == vendor.GOWIN:
                read = gowin.block_ram(
                    m,
                    depth=self.depth,
                    write_enable=enable,
                    write_addr=addr,
                    write_data=value,
                    read_addr=own_addr,
                    name=f"bank{i}",
                )
                word = Signal(self.bits, name=f"bank{i}_read", reset_less=True)
                m.d.sync += word.eq(read)
            else:
                word = self._bank(m, i, enable, addr, value, own_addr, simulated=platform is None)
            m.d.comb += self.part(self.read.data, i).eq(word)
        return m

    def _half(self, m: Module, number: int) -> tuple[Any, Signal]:
        """Makes the first registers of half of the banks; returns a write and a read address.

        The two halves may be far from each other on the chip.
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
        """Makes a bank without a vendor's primitives; returns the word that it has read."""
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
