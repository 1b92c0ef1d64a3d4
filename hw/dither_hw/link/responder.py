"""The responder: it composes responses, field by field and with a CRC, in the frame memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, ValueLike
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from dither.link.protocol import RESPONSE_BIT, Flag, RequestType

from .columns import COLUMN, FIELD_BITS, Column, RequestField
from .judge import KIND_BITS
from .serial import SLOT, any_bit, constant_bit

__all__ = ["Responder"]


class Responder(wiring.Component):
    """Composes one response at a time from what the numbers are at that moment.

    It takes one slot for each 16-bit field of the header, and for the body one slot for each byte,
    or three for each register. It waits while a WRITE is under way. Some requests ask for
    something: HELLO, READ, FETCH and PING, called *queries* here. A new request takes the place of
    the one whose response is being composed, unless that is a query.

    Resources: 58 registers, about 110 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    remember, query : In(1), In(1)
        From the judge: there is a request to be answered; it is a query.
    occupied : Out(1)
        A query waits to be answered.
    clear : In(1)
        A pulse after which nothing is to be answered any more; a response that is on its way out
        goes on.
    urgent : In(1)
        For a whole slot: another request needs the registers, so what is being composed must begin
        anew later.
    wait : In(1)
        No response may begin yet.
    composing : Out(1)
        A response is being composed, so buffers must not produce anything new.
    field, asked : Out(2), In(1)
        Reads a field of the request that is to be answered, bit by bit.
    busy, fault, writing : In(1) each
        What the response's flags say.
    reason, session, next, free, produced : In(1) each
        The numbers that a response tells, bit by bit.
    seek : Out(1)
        For a whole slot: ``asked`` is the address or position that READ or FETCH names.
    fetch, fetched, more : Out(1), In(1), In(1)
        Connected to the output buffer.
    load, shift, word : Out(1), Out(1), In(1)
        Connected to the registers.
    constant : In(8)
        The next byte of the identity, from the frame memory.
    start, data, valid, finish, sending : Out(1), Out(8), Out(1), Out(1), In(1)
        Connected to the frame memory.
    left : In(COLUMN)
        How many bytes or registers of the body are left.

    :param identity_bytes: length of the identity in bytes.
    """

    def __init__(self, identity_bytes: int) -> None:
        self._identity_bytes = identity_bytes
        super().__init__(
            {
                "slot": In(SLOT),
                "remember": In(1),
                "query": In(1),
                "occupied": Out(1),
                "clear": In(1),
                "urgent": In(1),
                "wait": In(1),
                "composing": Out(1),
                "field": Out(FIELD_BITS),
                "asked": In(1),
                "reason": In(1),
                "busy": In(1),
                "fault": In(1),
                "writing": In(1),
                "session": In(1),
                "next": In(1),
                "free": In(1),
                "produced": In(1),
                "seek": Out(1),
                "fetch": Out(1),
                "fetched": In(1),
                "more": In(1),
                "load": Out(1),
                "shift": Out(1),
                "word": In(1),
                "constant": In(8),
                "start": Out(1),
                "data": Out(8),
                "valid": Out(1),
                "finish": Out(1),
                "sending": In(1),
                "left": In(COLUMN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        crc = CRC32_ISO_HDLC(data_width=1).create()
        m.submodules.crc = ResetInserter(self.start)(crc)
        left = Column(m, slot, self.left, "left")
        pending = Signal()
        kind = Signal(KIND_BITS)
        refused = Signal()
        bit = Signal()
        emit = Signal()
        counted = Signal()
        item = Signal()
        advance = Signal()
        answered = Signal()
        restart = Signal()
        # A later request takes the earlier one's place until that is answered.
        m.d.comb += restart.eq(self.remember | (self.urgent & slot.last))
        is_kind = {request: kind == request.value for request in RequestType}
        flags = Cat(self.busy, self.fault, self.writing)
        assert (Flag.BUSY, Flag.FAULT, Flag.WRITING) == (1, 2, 4)

        constant_now = Signal()
        m.d.sync += constant_now.eq(self.constant.bit_select(slot.ahead[:3], 1))

        left.step(item, down=True)
        remains = any_bit(m, slot, left.enter, "remains")
        goes_on = remains & (~is_kind[RequestType.FETCH] | self.more)
        m.d.comb += advance.eq(slot.last)

        def leave(following: str) -> None:
            with m.If(advance):
                m.next = following
            with m.If(self.clear):
                m.next = "IDLE"

        def interrupted() -> None:
            with m.If(restart):
                m.next = "READY"
            with m.If(self.clear):
                m.next = "IDLE"

        def field(following: str, source: ValueLike, stored: int | None = None) -> None:
            """A slot whose 16 bits go into the response."""
            m.d.comb += [bit.eq(source), emit.eq(1)]
            if stored is not None:
                m.d.comb += self.field.eq(stored)
            leave(following)
            interrupted()

        def body() -> None:
            """What comes behind the header or a part of the body."""
            with m.If(advance):
                m.next = "CRC"
                m.d.comb += answered.eq(~restart)
                with m.If(goes_on):
                    m.d.comb += answered.eq(0)
                    m.next = "BYTE"
                    with m.If(is_kind[RequestType.READ]):
                        m.next = "LOAD"
            interrupted()

        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(advance & pending & ~self.sending):
                m.next = "READY"
            with m.State("READY"):
                m.d.comb += self.start.eq(slot.gap)
                m.d.sync += refused.eq(0)
                with m.If(advance & ~self.wait):
                    m.next = "TYPE"
                interrupted()
            with m.State("TYPE"):
                field("SESSION", self.asked | constant_bit(slot, RESPONSE_BIT), RequestField.TYPE)
                with m.If(~slot.gap & (slot.bit < KIND_BITS)):
                    m.d.sync += kind.eq(Cat(kind[1:], self.asked))
            with m.State("SESSION"):
                field("FLAGS", self.session)
            with m.State("FLAGS"):
                is_flag = slot.bit < 4
                field("NEXT", self.reason | (is_flag & Cat(flags, 0).bit_select(slot.bit[:2], 1)))
                with m.If(~slot.gap):
                    m.d.sync += refused.eq(refused | self.reason)
            with m.State("NEXT"):
                field("FREE", self.next)
            with m.State("FREE"):
                field("PRODUCED", self.free, RequestField.NUMBER)
                m.d.comb += self.seek.eq(1)
            with m.State("PRODUCED"):
                m.d.comb += [bit.eq(self.produced), emit.eq(1), self.field.eq(RequestField.ARGUMENT)]
                with m.Switch(kind):
                    with m.Case(RequestType.HELLO):
                        m.d.comb += counted.eq(constant_bit(slot, self._identity_bytes))
                    with m.Case(RequestType.READ, RequestType.FETCH, RequestType.PING):
                        m.d.comb += counted.eq(self.asked)
                m.d.comb += left.enter.eq(counted & ~refused)
                body()
            with m.State("BYTE"):
                with m.Switch(kind):
                    with m.Case(RequestType.HELLO):
                        m.d.comb += bit.eq(constant_now)
                    with m.Case(RequestType.FETCH):
                        m.d.comb += bit.eq(self.fetched)
                # In the first half of the slot, memories still give the byte before.
                m.d.comb += [emit.eq(slot.bit[-1]), item.eq(1), self.fetch.eq(1)]
                body()
            with m.State("LOAD"):
                m.d.comb += self.load.eq(~self.urgent)
                leave("LOW")
                interrupted()
            with m.State("LOW"):
                m.d.comb += [bit.eq(self.word), emit.eq(1), self.shift.eq(1), item.eq(1)]
                leave("HIGH")
                interrupted()
            with m.State("HIGH"):
                m.d.comb += [bit.eq(self.word), emit.eq(1), self.shift.eq(1)]
                body()
            with m.State("CRC"):
                m.d.comb += emit.eq(1)
                leave("CRC2")
            with m.State("CRC2"):
                m.d.comb += emit.eq(1)
                leave("FINISH")
            with m.State("FINISH"):
                # Not in the gap, because the last byte takes three cycles to its place.
                m.d.comb += self.finish.eq(advance)
                leave("IDLE")
            ends = fsm.ongoing("CRC") | fsm.ongoing("CRC2")
            idle = fsm.ongoing("IDLE")

        # Bits are registered, so that no path leads from where they come from through the CRC. At
        # the end, the CRC's own bits are fed to it, which only shifts it.
        valid = Signal()
        complete = Signal()
        composed = Signal()
        last_bits = Signal()
        going = Mux(last_bits, crc.crc[0], composed)
        m.d.sync += [
            valid.eq(emit & ~slot.gap),
            complete.eq(emit & ~slot.gap & (slot.bit[:3] == 7)),
            composed.eq(bit),
            last_bits.eq(ends),
            self.valid.eq(complete),
        ]
        m.d.comb += [self.composing.eq(~idle), crc.valid.eq(valid), crc.data.eq(going ^ last_bits)]
        with m.If(valid):
            m.d.sync += self.data.eq(Cat(self.data[1:], going))
        with m.If(answered | self.clear):
            m.d.sync += [pending.eq(0), self.occupied.eq(0)]
        with m.If(self.remember):
            m.d.sync += [pending.eq(1), self.occupied.eq(self.query)]
        return m
