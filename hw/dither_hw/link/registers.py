"""The link's access to the engine's host port, for WRITE, READ and START."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.regmap import REGISTERS

from ..base.interfaces import ADDRESS_BITS
from .serial import SLOT, Circulating, constant_bit

__all__ = ["RegisterAccess"]

_START = next(register.address for register in REGISTERS if register.name == "start")
_WORD_BYTES = 4


class RegisterAccess(wiring.Component):
    """Writes words from the input buffer to registers, reads registers, and starts programs.

    One address that counts up and one word serve all three. A WRITE takes four slots a word, a READ
    three. No START and no other WRITE may come while a WRITE is at work; a READ that they interrupt
    has to begin anew.

    Resources: 55 registers, about 60 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    argument : In(1)
        An address or a program's entry, bit by bit.
    start : In(1)
        For a whole slot: starts the program at ``argument``, two slots later.
    write : In(1)
        For a whole slot: writes the words in the input buffer to the registers from address
        ``argument`` on.
    starting, writing : Out(1), Out(1)
        A START is not done yet; a WRITE is not done yet.
    want, bits, bit, remains : Out(1), In(1), In(1), In(1)
        Connected to the input buffer.
    seek, seek_number : In(1), In(1)
        For a whole slot: ``seek_number`` is, bit by bit, the address of what is read next.
    load : In(1)
        For a whole slot: reads the next register.
    shift : In(1)
        For two slots: gives the bits of the register that was read, one a cycle.
    word_bit : Out(1)
        The bit that ``shift`` gives.
    host_addr, host_write, host_wdata, host_rdata : Out, Out, Out, In
        The engine's host port.

    :param read_cycles: cycles of the host port from an address to its register's value.
    """

    def __init__(self, read_cycles: int = 1) -> None:
        self._read_cycles = read_cycles
        super().__init__(
            {
                "slot": In(SLOT),
                "argument": In(1),
                "start": In(1),
                "write": In(1),
                "starting": Out(1),
                "writing": Out(1),
                "want": Out(1),
                "bits": In(1),
                "bit": In(1),
                "remains": In(1),
                "seek": In(1),
                "seek_number": In(1),
                "load": In(1),
                "shift": In(1),
                "word_bit": Out(1),
                "host_addr": Out(ADDRESS_BITS),
                "host_write": Out(1),
                "host_wdata": Out(32),
                "host_rdata": In(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        address = Circulating(m, slot, "address")
        word = Signal(32)
        count = Signal(range(_WORD_BYTES))
        due = Signal()
        behind_gap = Signal(self._read_cycles)
        m.d.comb += [
            self.want.eq(self.writing),
            self.host_addr.eq(address.value),
            self.host_wdata.eq(word),
            self.host_write.eq(due & slot.gap),
            self.word_bit.eq(word[0]),
        ]
        m.d.sync += behind_gap.eq(Cat(slot.gap, behind_gap))
        with m.If(slot.gap):
            m.d.sync += due.eq(0)

        address.step(due | self.load)
        with m.If(self.seek):
            m.d.comb += address.enter.eq(self.seek_number)
        with m.If(self.write):
            m.d.comb += address.enter.eq(self.argument)
        with m.If(self.start):
            m.d.comb += address.enter.eq(constant_bit(slot, _START))

        filling = self.writing & self.bits
        with m.If(self.load & behind_gap[-1]):
            # This is the register whose address was on ``host_addr`` in the gap.
            m.d.sync += word.eq(self.host_rdata)
        with m.Elif(filling | ((self.start | self.starting | self.shift) & ~slot.gap)):
            m.d.sync += word.eq(Cat(word[1:], Mux(self.writing, self.bit, self.argument & self.start)))
        with m.If(filling & (slot.bit[:3] == 7)):
            m.d.sync += [count.eq(count + 1), due.eq(count == _WORD_BYTES - 1)]

        with m.If(slot.last):
            m.d.sync += self.starting.eq(self.start)
            with m.If(self.starting):
                m.d.sync += due.eq(1)
            with m.If(self.write):
                m.d.sync += self.writing.eq(1)
            with m.Elif(~self.remains):
                m.d.sync += self.writing.eq(0)
        return m
