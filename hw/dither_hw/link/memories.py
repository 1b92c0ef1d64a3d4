"""The memories of the board's end of the link.

What is read is there from the second cycle after the address on, because block RAMs of an ECP5 are
slow without a register. The result of reading a word in the cycle in which it is written is
undefined; nothing here does that.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .. import vendor
from ..vendor import gowin, ice40_memory

__all__ = ["BitMemory", "ByteMemory", "RingMemory"]

_BYTE = 8
_LANES = 2


def _register(m: Module, port: Any, word: Signal) -> None:
    """Drives ``word`` with what a port has read, through a register."""
    fresh = Signal(name="read_fresh")
    m.d.sync += fresh.eq(port.en)
    with m.If(fresh):
        m.d.sync += word.eq(port.data)


class RingMemory(wiring.Component):
    """A memory of bytes, in words of two, behind one port that either reads or writes.

    Resources: one single-port RAM of an iCE40UP5K; elsewhere block RAM.

    Attributes
    ----------
    enable, write : In(1), In(1)
        With ``enable``, reads a word in this cycle or, with ``write``, writes a byte.
    position : In(16)
        The byte's position; the memory uses the low bits.
    data : In(8)
        The byte to write.
    word : Out(16)
        The word that was read last, from the second cycle after its address until the next access;
        undefined after a write.

    :param size: bytes, a power of two up to 32,768.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(
            {
                "enable": In(1),
                "write": In(1),
                "position": In(16),
                "data": In(_BYTE),
                "word": Out(_LANES * _BYTE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lane, addr = self.position[0], self.position[1 : (self.size - 1).bit_length()]
        if vendor.family(platform) == vendor.ICE40UP:
            word = ice40_memory.single_port_bytes(
                m, enable=self.enable, write=self.write, lane=lane, addr=addr, data=self.data
            )
            m.d.comb += self.word.eq(word)
            return m
        if vendor.family(platform) == vendor.GOWIN:
            # The halves of a word have nine bits.
            read = gowin.block_ram(
                m,
                name="ring",
                depth=self.size // _LANES,
                write_enable=self.enable & self.write,
                write_addr=addr,
                write_data=Cat(self.data, 0, self.data, 0),
                byte_enables=Cat(~lane, lane),
                read_enable=self.enable & ~self.write,
                read_addr=addr,
            )
            m.d.comb += self.word.eq(Cat(read[:_BYTE], read[_BYTE + 1 : -1]))
            return m
        memory = Memory(shape=_LANES * _BYTE, depth=self.size // _LANES, init=[], attrs={"ram_style": "block"})
        m.submodules.memory = memory
        write, read = memory.write_port(granularity=_BYTE), memory.read_port()
        for number in range(_LANES):
            m.d.comb += write.en[number].eq(self.enable & self.write & (lane == number))
        m.d.comb += [
            write.addr.eq(addr),
            write.data.eq(self.data.replicate(_LANES)),
            read.en.eq(self.enable & ~self.write),
            read.addr.eq(addr),
        ]
        _register(m, read, self.word)
        return m


class ByteMemory(wiring.Component):
    """A memory of bytes, with one port to write and one to read.

    Resources: a block RAM of an iCE40 for 512 bytes.

    Attributes
    ----------
    write_enable, write_addr, write_data : In
        A write of one byte.
    read_enable, read_addr : In
        A read of one byte.
    read_data : Out(8)
        The byte that was read last, from the second cycle after its address on.

    :param size: bytes, a power of two.
    :param init: the memory's first contents.
    """

    def __init__(self, size: int, init: bytes = b"") -> None:
        self.size, self._init = size, init
        address = (size - 1).bit_length()
        super().__init__(
            {
                "write_enable": In(1),
                "write_addr": In(address),
                "write_data": In(_BYTE),
                "read_enable": In(1),
                "read_addr": In(address),
                "read_data": Out(_BYTE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if vendor.family(platform) == vendor.ICE40UP:
            read_data = ice40_memory.byte_ram(
                m,
                size=self.size,
                write_enable=self.write_enable,
                write_addr=self.write_addr,
                write_data=self.write_data,
                read_enable=self.read_enable,
                read_addr=self.read_addr,
                init=self._init,
            )
            m.d.comb += self.read_data.eq(read_data)
            return m
        if vendor.family(platform) == vendor.GOWIN:
            byte = gowin.block_ram(
                m,
                name="bytes",
                depth=self.size,
                write_enable=self.write_enable,
                write_addr=self.write_addr,
                write_data=self.write_data,
                read_enable=self.read_enable,
                read_addr=self.read_addr,
                init=self._init,
            )
            m.d.comb += self.read_data.eq(byte)
            return m
        memory = Memory(shape=_BYTE, depth=self.size, init=self._init, attrs={"ram_style": "block"})
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_addr),
        ]
        _register(m, read, self.read_data)
        return m


class BitMemory(wiring.Component):
    """A memory of words whose bits have a write enable each.

    Resources: one block RAM of an iCE40 for up to 16 bits.

    Attributes
    ----------
    write_enables, write_addr, write_data : In
        A write of those bits of a word whose enables are high.
    read_addr : In
        Address of the word to read.
    read_data : Out
        The word at the address of the cycle before.

    :param depth: number of words.
    :param width: bits of a word.
    """

    def __init__(self, depth: int, width: int) -> None:
        self._depth, self._width = depth, width
        address = (depth - 1).bit_length()
        super().__init__(
            {
                "write_enables": In(width),
                "write_addr": In(address),
                "write_data": In(width),
                "read_addr": In(address),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if vendor.family(platform) == vendor.ICE40UP:
            read_data = ice40_memory.column_ram(
                m,
                write_enables=self.write_enables,
                write_addr=self.write_addr,
                write_data=self.write_data,
                read_addr=self.read_addr,
            )
            m.d.comb += self.read_data.eq(read_data)
            return m
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._depth, init=[])
        write, read = memory.write_port(granularity=1), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write_enables),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            read.addr.eq(self.read_addr),
            self.read_data.eq(read.data),
        ]
        return m
