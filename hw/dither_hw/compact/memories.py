"""A compact engine's memories: latency 1, without the register behind a block RAM that a faster
clock would need.
"""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .. import vendor
from ..vendor import gowin, ice40_memory

__all__ = ["BlockMemory", "WideMemory"]


class BlockMemory(wiring.Component):
    """``word`` is what stood at ``addr`` a cycle ago; one write a cycle.

    What a word gives that is read in the cycle in which it is written is not defined, and nothing
    may depend on it; a simulation gives the complement of the old value.

    Resources on iCE40UP: a block RAM for every 256 words of 16 bits.

    :param depth: words.
    :param bits: of a word.
    :param init: words that are not zero at first, by address.
    """

    def __init__(self, *, depth: int, bits: int, init: Mapping[int, int] | None = None) -> None:
        self.depth = depth
        self.bits = bits
        contents = init or {}
        self.init = [contents.get(address, 0) for address in range(max(contents, default=-1) + 1)]
        address = ceil_log2(depth)
        super().__init__(
            {
                "addr": In(address),
                "word": Out(bits),
                "write": In(1),
                "write_addr": In(address),
                "write_data": In(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if vendor.family(platform) == vendor.ICE40UP:
            ice40_memory.word_ram(
                m,
                name="memory",
                depth=self.depth,
                write_enable=self.write,
                write_addr=self.write_addr,
                write_data=self.write_data,
                read_addr=self.addr,
                word=self.word,
                init=self.init,
            )
            return m
        if vendor.family(platform) == vendor.GOWIN:
            read = gowin.block_ram(
                m,
                name="memory",
                depth=self.depth,
                write_enable=self.write,
                write_addr=self.write_addr,
                write_data=self.write_data,
                read_addr=self.addr,
                init=self.init,
            )
            m.d.comb += self.word.eq(read)
            return m
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.depth, init=self.init)
        read, write = memory.read_port(), memory.write_port()
        clash = Signal()
        m.d.sync += clash.eq(self.write & (self.addr == self.write_addr))
        m.d.comb += [
            read.addr.eq(self.addr),
            self.word.eq(read.data ^ clash.replicate(self.bits)),
            write.en.eq(self.write),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
        ]
        return m


class WideMemory(wiring.Component):
    """A large memory with one port: ``word`` is what stood at ``addr`` a cycle ago, and anything if
    that was a write.

    Resources on iCE40UP: a single-port RAM of 16K words for every 16 bits.

    :param depth: words, up to 16K.
    :param bits: of a word, a multiple of 16.
    :raises ValueError: if it is deeper.
    """

    def __init__(self, *, depth: int, bits: int) -> None:
        if depth > ice40_memory.SPRAM_DEPTH:
            raise ValueError(f"a memory with one port has up to {ice40_memory.SPRAM_DEPTH} words, not {depth}")
        self.depth = depth
        self.bits = bits
        super().__init__({"addr": In(ceil_log2(depth)), "word": Out(bits), "write": In(1), "data": In(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = ice40_memory.WORD_BITS
        if vendor.family(platform) == vendor.ICE40UP:
            for i in range(self.bits // width):
                part = slice(i * width, (i + 1) * width)
                ice40_memory.single_port_ram(
                    m, name=f"ram{i}", addr=self.addr, write=self.write, data=self.data[part], word=self.word[part]
                )
            return m
        if vendor.family(platform) == vendor.GOWIN:
            read = gowin.block_ram(
                m,
                name="memory",
                depth=self.depth,
                write_enable=self.write,
                write_addr=self.addr,
                write_data=self.data,
                read_addr=self.addr,
            )
            m.d.comb += self.word.eq(read)
            return m
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.depth, init=[])
        read, write = memory.read_port(), memory.write_port()
        clash = Signal()
        m.d.sync += clash.eq(self.write)
        m.d.comb += [
            read.addr.eq(self.addr),
            self.word.eq(read.data ^ clash.replicate(self.bits)),
            write.en.eq(self.write),
            write.addr.eq(self.addr),
            write.data.eq(self.data),
        ]
        return m
