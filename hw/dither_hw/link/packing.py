"""Packs and unpacks the engine's streams, leaving out chunks of a beat that say nothing new."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.link.packing import beat_chunks

__all__ = ["Packer", "Unpacker"]

_BYTE = 8
_LATE_BITS = 3
"""Bits of a pair of bytes that may still come when the last of them is asked for.

They are those in the next slot's gap and behind it, and one on its way.
"""


class Unpacker(wiring.Component):
    """Makes beats for the engine from the bits that come over the link.

    A chunk that is left out is the same as in the beat ``word_parts`` before, which is the same
    part of the word before. The last ``word_parts`` beats stand in a ring of chunks, and the next
    beats are made from them. A chunk takes one cycle if it is left out, otherwise one more than it
    has bits. A word's beats are offered when its last byte is over. The beat on offer is in the
    newest chunks of the ring. Where a word has several beats, the ring turns by one beat before
    each of them, a chunk in a cycle; after the last, it stands as before.

    Resources: a register for each bit of a word, without logic; about 35 more, about 65 LUTs.

    Attributes
    ----------
    want, pair : Out(1), Out(1)
        ``want``: eight more bits are wanted. ``pair``: sixteen are, because the word cannot end
        within the first eight.
    bits, bit : In(1), In(1)
        With ``bits``, a bit comes; eight or sixteen come in a row. Meanwhile ``want`` allows for up
        to three bits that are still to come.
    held : Out(1)
        A word has begun, and its last beat was not taken yet.
    output : Out(stream)
        The beats.

    :param config: the engine; gives widths, word parts and chunks.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "want": Out(1),
                "pair": Out(1),
                "bits": In(1),
                "bit": In(1),
                "held": Out(1),
                "output": Out(stream.Signature(config.beat_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, parts, chunks = self.config.width, self.config.word_parts, beat_chunks(self.config)
        place = Signal(range(width))
        within = Signal()
        least = Signal(range(parts * chunks * (width + 1) + 1), init=parts * chunks)
        """Number of bits that are still to come for the word if all further chunks are left out."""
        done = Signal()
        offered = Signal(range(parts))
        """Number of the beat, within its word, that is or will be on offer."""
        turning = Signal()
        """The ring still has to turn before that beat is on offer."""
        turns = Signal(range(chunks + 1), init=chunks if parts > 1 else 0)
        """Number of chunks by which the ring still has to turn."""
        bits, bit = Signal(), Signal()
        m.d.sync += [bits.eq(self.bits), bit.eq(self.bit)]
        ends = (least == 1) & (within | ~bit)
        coming = Mux(bits, _LATE_BITS, 0)
        m.d.comb += [
            self.want.eq(least > coming),
            self.pair.eq(least > coming + _BYTE),
            self.output.valid.eq(done & ~bits & ~turning),
        ]
        turn, shift = Signal(), Signal()
        with m.If(bits & ~done):
            m.d.sync += [self.held.eq(1), least.eq(least - 1), done.eq(ends), turning.eq(ends)]
            with m.If(~within):
                m.d.comb += turn.eq(1)
                m.d.sync += within.eq(bit)
                with m.If(bit):
                    m.d.sync += least.eq(least + (width - 1))
            with m.Else():
                m.d.comb += shift.eq(1)
                m.d.sync += place.eq(place + 1)
                with m.If(place == width - 1):
                    m.d.sync += [within.eq(0), place.eq(0)]
        with m.If(turning):
            with m.If(turns == 0):
                m.d.sync += [turns.eq(turns.init), turning.eq(0)]
            with m.Else():
                m.d.comb += turn.eq(1)
                m.d.sync += turns.eq(turns - 1)
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += [offered.eq(offered + 1), turning.eq(offered != parts - 1)]
            with m.If(offered == parts - 1):
                m.d.sync += [least.eq(parts * chunks), done.eq(0), self.held.eq(0)]
        self._ring(m, turn, shift, bit)
        return m

    def _ring(self, m: Module, turn: Signal, shift: Signal, bit: Signal) -> None:
        """Makes the ring, which turns by a chunk or takes a bit into its newest chunk.

        Both happen a cycle later, because its registers are many and far apart.
        """
        width, size = self.config.width, beat_chunks(self.config) * self.config.width
        beats = Signal(self.config.word_parts * size)
        m.d.comb += self.output.payload.eq(beats[-size:])
        turned, top = Cat(beats[width:], beats[:width]), beats[-width:]
        for start in range(0, len(beats), size):
            near = Signal(name=f"turn{start // size}_copy")
            m.d.sync += near.eq(turn)
            with m.If(near):
                m.d.sync += beats[start : start + size].eq(turned[start : start + size])
        shifts, late = Signal(), Signal()
        m.d.sync += [shifts.eq(shift), late.eq(bit)]
        with m.If(shifts):
            m.d.sync += top.eq(Cat(top[1:], late))


class Packer(wiring.Component):
    """Makes bits for the link from the engine's beats; a chunk of zeros is left out.

    Resources: a register for each bit of a beat, one for each chunk, 11 more; a LUT for each bit of
    a beat, about 45 more.

    Attributes
    ----------
    input : In(stream)
        The beats.
    held : Out(1)
        There is a beat whose bits have not all been taken.
    take : In(1)
        Takes a bit: eight in a row, the next eight two cycles later or more; only while ``held``,
        and only from the second cycle of that on.
    bit : Out(1)
        The bit that ``take`` takes.

    :param config: the engine; gives widths and chunks.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "input": In(stream.Signature(config.beat_width)),
                "held": Out(1),
                "take": In(1),
                "bit": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, chunks = self.config.width, beat_chunks(self.config)
        beat = Signal(chunks * width, reset_less=True)
        chunk = Signal(range(chunks))
        place = Signal(range(width))
        within = Signal()
        done = Signal()
        last = Signal()
        low = beat[:width]
        ending = Signal(reset_less=True)
        """The chunk ends with the next bit: its last, or the only one of a chunk of zeros."""
        zeros = Signal(chunks, reset_less=True)
        """A bit for the current chunk and each one behind it: the chunk is all zeros."""
        fresh = Signal()
        """The beat came in the cycle before; it is looked at now, because it arrives late."""
        turns = Signal()
        """The chunk ended in the cycle before. The next one's first bit is known from ``zeros``,
        so that chunk itself may come later.
        """
        m.d.comb += [
            last.eq(chunk == chunks - 1),
            self.input.ready.eq(~self.held),
            self.bit.eq(~done & Mux(within, low[0], ~ending)),
        ]
        m.d.sync += turns.eq(0)
        if chunks > 1:
            with m.If(turns):
                m.d.sync += beat.eq(beat >> width)
        with m.If(self.take & ~done):
            with m.If(within):
                m.d.sync += [low.eq(low >> 1), place.eq(place + 1), ending.eq(place == width - 2)]
            with m.Else():
                m.d.sync += within.eq(1)
            with m.If(ending):
                m.d.sync += [
                    turns.eq(1),
                    zeros.eq(zeros >> 1),
                    ending.eq(zeros[1] if chunks > 1 else 0),
                    within.eq(0),
                    place.eq(0),
                    chunk.eq(Mux(last, 0, chunk + 1)),
                    done.eq(last),
                ]
        # The byte in which a beat ends is filled up; then the next may come.
        with m.If(done & ~self.take):
            m.d.sync += [done.eq(0), self.held.eq(0)]
        m.d.sync += fresh.eq(~self.held)
        with m.If(~self.held):
            m.d.sync += [beat.eq(self.input.payload), self.held.eq(self.input.valid)]
        with m.If(fresh):
            none = Cat(~beat[i * width : (i + 1) * width].any() for i in range(chunks))
            m.d.sync += [zeros.eq(none), ending.eq(none[0])]
        return m
