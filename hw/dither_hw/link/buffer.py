"""The ring buffers: for bodies of requests, and for output that the host has yet to acknowledge."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.link.protocol import CRC_BYTES, CRC_SLACK, MAX_REQUEST_BODY

from .columns import COLUMN, Column
from .memories import ByteMemory, RingMemory
from .serial import SLOT, Circulating, any_bit, constant_bit, exceeds, subtract

__all__ = ["MAX_BUFFER_BYTES", "MIN_BUFFER_BYTES", "InputBuffer", "OutputBuffer"]

MIN_BUFFER_BYTES = 64
"""Smallest size in bytes that a buffer can have."""
MAX_BUFFER_BYTES = 1 << 15
"""Largest size in bytes that a buffer can have.

Positions count modulo 2**16; they tell an empty buffer from a full one up to half of that.
"""


def _checked(size: int, what: str) -> int:
    """Returns the size of a buffer if it is a power of two within the limits."""
    if size & (size - 1) or not MIN_BUFFER_BYTES <= size <= MAX_BUFFER_BYTES:
        raise ValueError(
            f"the {what} buffer must have a power of two from {MIN_BUFFER_BYTES} to {MAX_BUFFER_BYTES} bytes, "
            f"not {size}"
        )
    return size


class InputBuffer(wiring.Component):
    """Keeps what comes from the host until the engine's streams and registers take it.

    A frame's body and CRC are written behind what the buffer holds. At the frame's end, either they
    are kept without the CRC (``commit``) or not; then the next frame begins behind what was kept
    (``settle``). So a broken frame leaves no trace. In each slot one byte goes in, or else one byte
    goes out, or two that share a word of the memory.

    Resources: one block RAM or more, or one single-port RAM of an iCE40UP5K; 53 registers, about 80
    LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    write, data : In(1), In(8)
        In a slot with ``write``, the ``data`` of its gap is appended, if there is room.
    commit : In(1)
        For a whole slot, without ``write``: keeps all that was written since the last ``settle``,
        except the CRC.
    forget : In(1)
        For a whole slot, at whose beginning the rest of the buffer is reset: the buffer is empty
        then.
    settle : In(1)
        For a whole slot, without ``write``: the next frame begins behind what is kept. It may
        follow ``commit`` at once.
    complete, bodyless, words : Out(1) each
        In the last cycle, what was written since the last ``settle`` has at least a CRC; has
        nothing but a CRC; is a number of whole 32-bit words.
    overlong, overflow : Out(1), Out(1)
        In the slots after it was written: it is longer than a frame may be; there was no room for
        all of it.
    want : In(1)
        In the gap: a byte is wanted in this slot.
    pair : In(1)
        In the gap: two bytes would be welcome too.
    bits, bit : Out(1), Out(1)
        While ``bits`` is high, ``bit`` is the next bit of a wanted byte. A byte's bits come in the
        last eight cycles of the slot. The sixteen of a pair begin six cycles earlier and end two
        cycles later, behind the next gap.
    nonempty : Out(1)
        The buffer held something at the end of the slot before.
    remains : Out(1)
        In the last cycle: the buffer holds something at the end of this slot.
    held : In(1)
        The taker has not used up yet what it took last: if the buffer is empty besides, one byte
        less counts as free.
    free : Out(1)
        The number of free bytes, bit by bit.
    kept : In(COLUMN)
        The position behind the last byte that is kept, as a number in the memory of columns.

    :param size: bytes, a power of two from 64 to 32,768.
    :raises ValueError: on other sizes.
    """

    def __init__(self, size: int) -> None:
        self.size = _checked(size, "input")
        super().__init__(
            {
                "slot": In(SLOT),
                "write": In(1),
                "data": In(8),
                "commit": In(1),
                "forget": In(1),
                "settle": In(1),
                "complete": Out(1),
                "bodyless": Out(1),
                "words": Out(1),
                "overlong": Out(1),
                "overflow": Out(1),
                "want": In(1),
                "pair": In(1),
                "bits": Out(1),
                "bit": Out(1),
                "nonempty": Out(1),
                "remains": Out(1),
                "kept": In(COLUMN),
                "held": In(1),
                "free": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        written, taken = Circulating(m, slot, "written"), Circulating(m, slot, "taken")
        kept = Column(m, slot, self.kept, "kept")
        full = Signal()
        taking = Signal()
        several, both = Signal(), Signal()
        lane = Signal()

        m.submodules.memory = memory = RingMemory(self.size)
        position = Mux(self.write, written.value, taken.value)
        m.d.comb += [
            memory.enable.eq(slot.gap),
            memory.write.eq(self.write & ~full & ~self.overflow),
            memory.position.eq(position),
            memory.data.eq(self.data),
        ]
        # ``bit`` is a register behind the memory's output. Bit k - 1 of a pair enters it in the
        # cycle of bit k, and the last one in the gap; the memory gives the word from bit 1 on.
        at = Mux(both, slot.bit - 1, Cat(slot.ahead[:3], lane))
        m.d.sync += self.bits.eq(Mux(both, slot.gap | (slot.bit != 0), taking & slot.ahead[-1]))
        m.d.sync += self.bit.eq(memory.word.bit_select(at[:4], 1))
        take = self.want & self.nonempty & ~self.write
        with m.If(slot.gap):
            m.d.sync += [taking.eq(take), lane.eq(position[0]), both.eq(take & self.pair & several & ~position[0])]

        written.step(self.write)
        taken.step(take, two=both)
        body_end = subtract(m, slot, written.out, constant_bit(slot, CRC_BYTES), "body_end")
        with m.If(self.settle):
            m.d.comb += written.enter.eq(kept.out)
        with m.If(self.commit):
            m.d.comb += kept.enter.eq(body_end)
        with m.If(self.forget):
            m.d.comb += kept.enter.eq(0)

        # What follows compares numbers as this slot's steps leave them.
        length = subtract(m, slot, written.enter, kept.enter, "length")
        complete = any_bit(m, slot, length & (slot.bit >= CRC_BYTES.bit_length() - 1), "length_enough")
        more = any_bit(m, slot, length ^ constant_bit(slot, CRC_BYTES), "length_more")
        split = any_bit(m, slot, length & (slot.bit < 2), "length_split")
        too_long = exceeds(m, slot, length, constant_bit(slot, MAX_REQUEST_BODY + CRC_BYTES), "too_long")
        unequal = any_bit(m, slot, taken.enter ^ kept.enter, "unequal")
        apart = any_bit(m, slot, (taken.enter ^ kept.enter) & (slot.bit != 0), "apart")
        # Positions that are the whole size apart differ in one bit only.
        whole = self.size.bit_length() - 1
        roomy = any_bit(m, slot, (written.enter ^ taken.enter ^ (slot.bit == whole)) & (slot.bit <= whole), "roomy")
        with m.If(slot.last):
            m.d.sync += [
                self.overlong.eq((self.overlong | too_long) & ~self.settle),
                self.overflow.eq((self.overflow | (self.write & full)) & ~self.settle),
                self.nonempty.eq(self.remains),
                several.eq(apart),
                full.eq(~roomy),
            ]
        m.d.comb += [
            self.complete.eq(complete),
            self.bodyless.eq(~more),
            self.words.eq(~split),
            self.remains.eq(unequal),
        ]

        used = subtract(m, slot, kept.out, taken.out, "used", borrow=0)
        m.d.comb += self.free.eq(
            subtract(
                m, slot, constant_bit(slot, self.size - CRC_SLACK), used, "unused", borrow=self.held & ~self.nonempty
            )
        )
        return m


class OutputBuffer(wiring.Component):
    """Keeps what the engine sends until the host has acknowledged it.

    It takes a byte in every other slot at most, and gives one in every slot.

    Resources: one block RAM for 512 bytes; 51 registers, about 30 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    offer : In(1)
        In the gap: there are bits to be taken.
    take, input_bit : Out(1), In(1)
        With ``take``, the bit of this cycle is taken: eight in a row, the lowest first, at the end
        of a slot.
    hold : In(1)
        Keeps the buffer from beginning to take a byte.
    number : In(1)
        A position, bit by bit, for ``acknowledge`` and ``within``.
    acknowledge : In(1)
        For a whole slot: all bytes before ``number`` may be forgotten.
    within : Out(1)
        In the last cycle: ``number`` is neither before what was acknowledged nor behind what was
        produced.
    seek, seek_number : In(1), In(1)
        For a whole slot: reading goes on at the position whose bits are on ``seek_number``.
    forget : In(1)
        For a whole slot, at whose beginning the rest of the buffer is reset: the buffer is empty
        then.
    next : In(1)
        In the gap: the byte at the reading position is read in this slot, and the one behind it in
        the next slot with ``next``.
    bit : Out(1)
        The bits of the byte that is read, in the last eight cycles.
    more : Out(1)
        In the last cycle: there are bytes behind those that were read.
    produced : Out(1)
        The position behind the last byte, bit by bit.
    acknowledged : In(COLUMN)
        The position up to which the host has acknowledged bytes, as a number in the memory of
        columns.

    :param size: bytes, a power of two from 64 to 32,768.
    :raises ValueError: on other sizes.
    """

    def __init__(self, size: int) -> None:
        self.size = _checked(size, "output")
        super().__init__(
            {
                "slot": In(SLOT),
                "offer": In(1),
                "take": Out(1),
                "input_bit": In(1),
                "hold": In(1),
                "number": In(1),
                "acknowledge": In(1),
                "within": Out(1),
                "seek": In(1),
                "seek_number": In(1),
                "forget": In(1),
                "next": In(1),
                "bit": Out(1),
                "more": Out(1),
                "produced": Out(1),
                "acknowledged": In(COLUMN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        m.submodules.memory = memory = ByteMemory(self.size)
        produced, fetched = Circulating(m, slot, "produced"), Circulating(m, slot, "fetched")
        acknowledged = Column(m, slot, self.acknowledged, "acknowledged")
        byte = Signal(8)
        taking = Signal()
        full = Signal()
        m.d.comb += [
            memory.write_enable.eq(taking & slot.gap),
            memory.write_addr.eq(produced.value),
            memory.write_data.eq(byte),
            memory.read_enable.eq(slot.gap),
            memory.read_addr.eq(fetched.value),
            self.produced.eq(produced.out),
        ]
        m.d.sync += self.take.eq(taking & slot.ahead[-1])
        m.d.sync += self.bit.eq(memory.read_data.bit_select(slot.ahead[:3], 1))
        with m.If(self.take):
            m.d.sync += byte.eq(Cat(byte[1:], self.input_bit))
        with m.If(slot.gap):
            # A byte just taken is not in ``produced`` yet, nor in what ``full`` says.
            m.d.sync += taking.eq(self.offer & ~full & ~self.hold & ~taking)

        produced.step(taking)
        fetched.step(self.next)
        with m.If(self.acknowledge):
            m.d.comb += acknowledged.enter.eq(self.number)
        with m.If(self.seek):
            m.d.comb += fetched.enter.eq(self.seek_number)
        with m.If(self.forget):
            m.d.comb += acknowledged.enter.eq(0)

        whole = self.size.bit_length() - 1
        roomy = any_bit(
            m, slot, (produced.enter ^ acknowledged.enter ^ (slot.bit == whole)) & (slot.bit <= whole), "roomy"
        )
        with m.If(slot.last):
            m.d.sync += full.eq(~roomy)
        ahead = subtract(m, slot, self.number, acknowledged.out, "ahead")
        stored = subtract(m, slot, produced.out, acknowledged.out, "stored")
        m.d.comb += [
            self.within.eq(~exceeds(m, slot, ahead, stored, "beyond")),
            self.more.eq(any_bit(m, slot, fetched.enter ^ produced.enter, "unread")),
        ]
        return m
