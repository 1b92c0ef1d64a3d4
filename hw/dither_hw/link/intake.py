"""Sorts the payloads of frames as they come: header to the columns, body to the buffer, CRC."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from dither.link.protocol import REQUEST

from .serial import SLOT

__all__ = ["Intake"]


class Intake(wiring.Component):
    """Works through a frame's payload, one byte a slot, and checks its CRC.

    The first eight bytes are the header, all others the body and, at the end, the CRC. Bytes come
    at least four slots apart. When a frame ends, ``ended`` stays high until ``done``; a byte that
    comes meanwhile, at most one, waits.

    Resources: 48 registers, about 55 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    payload, emit, end, good : In
        What the decoder gives (:class:`~dither_hw.link.cobs.CobsDecoder`).
    header, field, bit : Out(1), Out(2), Out(1)
        With ``header``, ``bit`` belongs to the header's field of this number, in the place of this
        cycle.
    body, data : Out(1), Out(8)
        With ``body``, this slot has a byte of the body, which is on ``data`` in the gap.
    ended, sound, begun : Out(1), Out(1), Out(1)
        The frame is complete; it has a whole header and a correct CRC; it is not empty.
    done : In(1)
        A pulse that makes the intake forget this frame.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": In(SLOT),
                "payload": In(8),
                "emit": In(1),
                "end": In(1),
                "good": In(1),
                "header": Out(1),
                "field": Out(2),
                "bit": Out(1),
                "body": Out(1),
                "data": Out(8),
                "ended": Out(1),
                "sound": Out(1),
                "begun": Out(1),
                "done": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        crc = CRC32_ISO_HDLC(data_width=1).create()
        m.submodules.crc = ResetInserter(self.done)(crc)
        byte = Signal(8)
        index = Signal(range(REQUEST.size + 1))
        waiting = Signal()
        working = Signal()
        passable = Signal()
        in_body = index[-1]
        # A header's byte is shifted out in its half of the slot, the first or second of its pair of
        # bytes; for the body, the half does not matter.
        turn = working & ~slot.gap & (slot.bit[-1] == index[0])
        m.d.comb += [
            self.field.eq(index[1:]),
            self.bit.eq(byte[0]),
            self.header.eq(turn & ~in_body),
            self.body.eq(working & in_body),
            self.data.eq(byte),
            crc.data.eq(byte[0]),
            crc.valid.eq(turn),
            self.sound.eq(passable & in_body & crc.match_detected),
            self.begun.eq(index != 0),
        ]
        with m.If(turn):
            m.d.sync += byte.eq(byte.rotate_right(1))
        with m.If(slot.last):
            m.d.sync += [working.eq(waiting & ~self.ended), waiting.eq(waiting & self.ended)]
            with m.If(working & ~in_body):
                m.d.sync += index.eq(index + 1)
        with m.If(self.emit):
            m.d.sync += [byte.eq(self.payload), waiting.eq(1)]
        with m.If(self.end):
            m.d.sync += [self.ended.eq(1), passable.eq(self.good)]
        with m.If(self.done):
            m.d.sync += [self.ended.eq(0), index.eq(0)]
        return m
