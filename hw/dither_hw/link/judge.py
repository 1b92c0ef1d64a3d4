"""Decides about requests: checks each in the order of docs/protocol.md, then gives it effect."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.regmap import MAGIC
from dither.link.protocol import MAX_READ_WORDS, MAX_RESPONSE_BODY, Reason, RequestType

from .columns import COLUMN, FIELD_BITS, Column, RequestField
from .serial import SLOT, any_bit, constant_bit, exceeds

__all__ = ["KIND_BITS", "Judge"]

KIND_BITS = 3
"""Bits of a request's type; higher bits are zero in all there are."""


class Judge(wiring.Component):
    """Checks a complete request field by field, and lets it have its effect or refuses it.

    From a frame's end to the end of its effect, it takes nine slots; the first byte of the next
    frame does not come sooner.

    Resources: 19 registers, about 95 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    ended, sound, begun, done : In(1), In(1), In(1), Out(1)
        Connected to the intake. A frame that is not ``sound`` has no effect; only if it is
        ``begun`` too, ``error`` goes high and stays until the next session.
    field, bit : Out(2), In(1)
        Reads a field of the request, bit by bit.
    session, next, reason : In(COLUMN)
        The session's number, the number of the next request in sequence, and the reason to be
        answered.
    bodyless, words, overflow, nonempty, within : In(1) each
        What the buffers say of the request.
    busy, writing, occupied : In(1), In(1), In(1)
        The engine runs or has output; a WRITE is under way; a HELLO, READ, FETCH or PING waits to
        be answered.
    commit, settle, acknowledge, start, write : Out(1) each
        Effects, for a whole slot each.
    clear, forget : Out(1), Out(1)
        A new session begins: ``clear`` is a pulse behind the gap, ``forget`` lasts for the whole
        slot. After a reset there is a slot with ``forget``, too.
    remember, query : Out(1), Out(1)
        ``remember``: a pulse, this request is to be answered. ``query``: it is a HELLO, READ, FETCH
        or PING.
    urgent : Out(1)
        For a whole slot: the request needs the registers and their address now.
    opened, error : Out(1), Out(1)
        A driver has opened a session; a broken frame has come since.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": In(SLOT),
                "ended": In(1),
                "sound": In(1),
                "begun": In(1),
                "done": Out(1),
                "field": Out(FIELD_BITS),
                "bit": In(1),
                "bodyless": In(1),
                "words": In(1),
                "overflow": In(1),
                "nonempty": In(1),
                "within": In(1),
                "busy": In(1),
                "writing": In(1),
                "occupied": In(1),
                "commit": Out(1),
                "settle": Out(1),
                "acknowledge": Out(1),
                "start": Out(1),
                "write": Out(1),
                "clear": Out(1),
                "remember": Out(1),
                "query": Out(1),
                "urgent": Out(1),
                "forget": Out(1),
                "session": In(COLUMN),
                "next": In(COLUMN),
                "reason": In(COLUMN),
                "opened": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot, bit = self.slot, self.bit
        session = Column(m, slot, self.session, "session")
        following = Column(m, slot, self.next, "next")

        kind = Signal(KIND_BITS)
        reason = Signal(Reason)
        known = Signal()
        own = Signal()
        effect = Signal()
        hello, read, write, start, data, fetch = (
            kind == request.value
            for request in (
                RequestType.HELLO,
                RequestType.READ,
                RequestType.WRITE,
                RequestType.START,
                RequestType.DATA,
                RequestType.FETCH,
            )
        )
        sequenced = Signal()
        m.d.comb += sequenced.eq(Cat(*(kind == request.value for request in RequestType if request.sequenced)).any())

        # The number that a field must equal, and the most that it may be.
        wanted = Signal()
        limit = Signal()
        m.d.comb += [
            wanted.eq(following.out),
            limit.eq(constant_bit(slot, MAX_RESPONSE_BODY)),
        ]
        with m.If(hello):
            m.d.comb += wanted.eq(constant_bit(slot, MAGIC & 0xFFFF))
        with m.If(read):
            m.d.comb += limit.eq(constant_bit(slot, MAX_READ_WORDS))
        with m.If(self.field == RequestField.SESSION):
            m.d.comb += wanted.eq(session.out)
        differs = any_bit(m, slot, bit ^ wanted, "differs")
        something = any_bit(m, slot, bit, "something")
        excess = exceeds(m, slot, bit, limit, "excess")

        def leave(following: str) -> None:
            with m.If(slot.last):
                m.next = following

        malformed = Signal()
        with m.Switch(kind):
            with m.Case(RequestType.HELLO, RequestType.START):
                m.d.comb += malformed.eq(~self.bodyless)
            with m.Case(RequestType.READ):
                m.d.comb += malformed.eq(~self.bodyless | excess | ~something)
            with m.Case(RequestType.WRITE):
                m.d.comb += malformed.eq(self.bodyless | ~self.words)
            with m.Case(RequestType.DATA):
                m.d.comb += malformed.eq(self.bodyless)
            with m.Case(RequestType.FETCH):
                m.d.comb += malformed.eq(~self.bodyless | excess)
            with m.Case(RequestType.PING):
                m.d.comb += malformed.eq(excess)
            with m.Default():
                m.d.comb += malformed.eq(1)

        # The first reason that is found stays.
        refused = Signal()
        why = Signal(Reason, init=Reason.MALFORMED)
        with m.If(slot.last & refused & (reason == Reason.OK)):
            m.d.sync += reason.eq(why)

        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += [known.eq(1), reason.eq(Reason.OK)]
                with m.If(slot.last & self.ended):
                    m.next = "TYPE"
                    with m.If(~self.sound):
                        m.d.sync += self.error.eq(self.error | self.begun)
                        m.next = "SETTLE"
            with m.State("TYPE"):
                m.d.comb += self.field.eq(RequestField.TYPE)
                with m.If(~slot.gap & (slot.bit < KIND_BITS)):
                    m.d.sync += kind.eq(Cat(kind[1:], bit))
                with m.Elif(~slot.gap & (slot.bit < 8)):
                    m.d.sync += known.eq(known & ~bit)
                leave("ARGUMENT")
            with m.State("ARGUMENT"):
                m.d.comb += [self.field.eq(RequestField.ARGUMENT), refused.eq(malformed | ~known)]
                leave("SESSION")
            with m.State("SESSION"):
                m.d.comb += [
                    self.field.eq(RequestField.SESSION),
                    refused.eq(Mux(hello, ~something, differs)),
                    why.eq(Mux(hello, Reason.MALFORMED, Reason.SESSION)),
                ]
                with m.If(slot.last):
                    m.d.sync += own.eq(~differs)
                leave("NUMBER")
            with m.State("NUMBER"):
                m.d.comb += [
                    self.field.eq(RequestField.NUMBER),
                    refused.eq(Mux(fetch, ~self.within, (hello | sequenced) & differs)),
                    why.eq(Mux(fetch, Reason.POSITION, Mux(hello, Reason.MALFORMED, Reason.SEQUENCE))),
                ]
                leave("STATE")
            with m.State("STATE"):
                blocked = (write | start) & (self.busy | self.writing | (write & self.nonempty))
                m.d.comb += [
                    refused.eq(blocked | ((data | write) & (self.overflow | self.writing))),
                    why.eq(Mux(blocked, Reason.BUSY, Reason.ROOM)),
                ]
                leave("EFFECT")
            with m.State("EFFECT"):
                m.d.comb += [self.field.eq(RequestField.ARGUMENT), effect.eq(1)]
                with m.If(hello):
                    m.d.comb += self.field.eq(RequestField.SESSION)
                with m.If(fetch):
                    m.d.comb += self.field.eq(RequestField.NUMBER)
                leave("SETTLE")
            with m.State("SETTLE"):
                m.d.comb += [self.settle.eq(1), self.done.eq(slot.last)]
                leave("WAIT")

        works = Signal()
        new = Signal()
        fresh = Signal(init=1)
        with m.If(slot.last):
            m.d.sync += fresh.eq(0)
        m.d.comb += [
            works.eq(effect & (reason == Reason.OK)),
            new.eq(works & hello & ~own),
            self.write.eq(works & write),
            self.commit.eq(works & (write | data)),
            self.start.eq(works & start),
            # A FETCH that will not be answered must not free what an earlier one still asks for.
            self.acknowledge.eq(works & fetch & ~self.occupied),
            self.urgent.eq(works & (write | start)),
            # A reset does not clear numbers that are kept in a memory, so a slot does.
            self.forget.eq(new | fresh),
            self.query.eq(known & ~sequenced & (kind != 0)),
            self.remember.eq(effect & slot.last & ~self.occupied),
        ]
        with m.If(effect & ~self.occupied):
            # The reason is in the upper byte, as in a response.
            m.d.comb += self.reason.enter.eq(Cat(reason, 0).bit_select(slot.bit[:2], 1) & (slot.bit[2:] == 0b10))
        with m.Else():
            m.d.comb += self.reason.enter.eq(self.reason.out)
        # It comes from a register, because many components take it.
        m.d.sync += self.clear.eq(new & slot.gap)
        following.step(works & sequenced)
        with m.If(new):
            m.d.comb += session.enter.eq(bit)
            m.d.sync += self.opened.eq(1)
        with m.If(self.forget):
            m.d.comb += following.enter.eq(0)
        with m.If(fresh):
            m.d.comb += session.enter.eq(0)
        with m.If(self.clear):
            m.d.sync += self.error.eq(0)
        return m
