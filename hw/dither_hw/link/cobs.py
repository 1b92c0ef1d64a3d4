"""Consistent overhead byte stuffing: a decoder for bytes as they come, and a memory that encodes.

Source: Cheshire and Baker, *Consistent overhead byte stuffing*, IEEE/ACM Transactions on Networking
7 (1999).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .memories import ByteMemory

__all__ = ["FRAME_BYTES", "ROM_BYTES", "CobsDecoder", "FrameMemory"]

_FULL = 255
"""Code of a block of 254 bytes without a zero behind it."""
FRAME_BYTES = 512
"""Bytes of the memory that a frame is encoded in."""
_ROM_BITS = 7
ROM_BYTES = 1 << _ROM_BITS
"""Bytes at the memory's end, which keep their first contents."""


class CobsDecoder(wiring.Component):
    """Decodes frames byte by byte, without delay.

    Each byte from the line either gives at most one byte of the payload, in the same cycle, or is
    the zero that ends a frame.

    Resources: 10 registers, about 40 LUTs.

    Attributes
    ----------
    data, valid, error : In(8), In(1), In(1)
        A byte from the line, in a cycle with ``valid``; with ``error``, neither the byte nor its
        frame can be trusted.
    payload, emit : Out(8), Out(1)
        A byte of the payload, in a cycle with ``emit``.
    end, good : Out(1), Out(1)
        The frame ends in this cycle; with ``good``, its encoding was not broken.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "data": In(8),
                "valid": In(1),
                "error": In(1),
                "payload": Out(8),
                "emit": Out(1),
                "end": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(8)
        zero_due = Signal()
        broken = Signal()
        in_block = left != 0
        m.d.comb += [
            self.payload.eq(Mux(in_block, self.data, 0)),
            self.good.eq(~in_block & ~broken & ~self.error),
        ]
        with m.If(self.valid):
            with m.If(self.data == 0):
                m.d.comb += self.end.eq(1)
                m.d.sync += [left.eq(0), zero_due.eq(0), broken.eq(0)]
            with m.Else():
                m.d.comb += self.emit.eq(in_block | zero_due)
                m.d.sync += [left.eq(Mux(in_block, left, self.data) - 1), broken.eq(broken | self.error)]
                with m.If(~in_block):
                    m.d.sync += zero_due.eq(self.data != _FULL)
        return m


class FrameMemory(wiring.Component):
    """Encodes a frame while it is written, then sends it with the zero that ends it.

    Blocks are encoded in place: the code of a block stands where the payload had a zero before it
    (or in the place before the payload) and is written as soon as the block's length is known.
    Bytes come at least four cycles apart. The end of the memory, 128 bytes, holds constants, which
    may be part of the frame: byte *i* of the encoded frame can be taken from byte *i* of the
    constants.

    Resources: one block RAM of 512 bytes; 33 registers, about 60 LUTs.

    Attributes
    ----------
    start : In(1)
        Begins a frame; not while ``sending``.
    data, valid : In(8), In(1)
        A byte of the payload, in a cycle with ``valid``; at most 384 in all.
    finish : In(1)
        The frame is complete and is to be sent; three cycles or more after the last byte.
    sending : Out(1)
        The memory's bytes are on their way out.
    constant : Out(8)
        The constant for the payload's next byte, valid from the third cycle after the byte before,
        but not while sending.
    output : Out(stream)
        The encoded frame, a byte at a time.

    :param constants: bytes of the constants. Those in the places of a frame's first byte, which is
        a code, are never used.
    """

    def __init__(self, constants: bytes = b"") -> None:
        if len(constants) > ROM_BYTES:
            raise ValueError(f"a frame's constants have up to {ROM_BYTES} bytes, not {len(constants)}")
        self._constants = constants
        super().__init__(
            {
                "start": In(1),
                "data": In(8),
                "valid": In(1),
                "finish": In(1),
                "sending": Out(1),
                "constant": Out(8),
                "output": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        init = bytes(FRAME_BYTES - ROM_BYTES) + self._constants.ljust(ROM_BYTES, b"\0")
        m.submodules.memory = memory = ByteMemory(FRAME_BYTES, init)
        place = Signal(range(FRAME_BYTES))
        behind = Signal(range(FRAME_BYTES))
        code = Signal(8)
        opening = Signal()
        close = Signal()
        ending = Signal()
        addressed = Signal()
        read = Signal()
        fetched = Signal()
        last = Signal()
        accepted = Signal()
        m.d.sync += [opening.eq(self.start), ending.eq(self.finish)]
        m.d.comb += [
            # In a new frame, ``place`` can be anywhere; writing there does no harm.
            close.eq((self.valid & (self.data == 0)) | (code == _FULL) | self.finish | opening),
            accepted.eq(fetched & self.output.ready),
            memory.write_enable.eq(self.valid | close | ending),
            memory.write_addr.eq(Mux(close | ending, place, behind)),
            memory.write_data.eq(Mux(ending, 0, Mux(close, code, self.data))),
            # The constants are at the memory's end.
            memory.read_addr.eq(
                Cat(behind[:_ROM_BITS], behind[_ROM_BITS:] | (~self.sending).replicate(len(behind) - _ROM_BITS))
            ),
            memory.read_enable.eq(1),
            self.constant.eq(memory.read_data),
            self.output.payload.eq(memory.read_data),
            self.output.valid.eq(fetched),
        ]
        with m.If(close):
            m.d.sync += [place.eq(behind), code.eq(1)]
        with m.Elif(self.valid):
            m.d.sync += code.eq(code + 1)
        with m.If(close | self.valid | accepted):
            m.d.sync += behind.eq(behind + 1)
        with m.If(self.start | ending):
            m.d.sync += behind.eq(0)

        with m.If(ending):
            m.d.sync += self.sending.eq(1)
        # The only zero in a frame is at its end.
        m.d.sync += [
            addressed.eq(self.sending & ~accepted),
            read.eq(addressed & ~accepted),
            fetched.eq(read & ~accepted),
            last.eq(memory.read_data == 0),
        ]
        with m.If(accepted & last):
            m.d.sync += self.sending.eq(0)
        return m
