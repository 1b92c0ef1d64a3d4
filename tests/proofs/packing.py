"""Packing and unpacking are each other's inverse: what the other end packs and unpacks by definition, comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from amaranth.hdl._ast import Concat

from dither.arch.config import EngineConfig
from dither.link.packing import beat_chunks
from dither_hw.link.packing import Packer, Unpacker
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

CONFIG = EngineConfig(rows=1, lanes=2, width=16, table_bits=6, lanes_per_table=1)
PARTS = EngineConfig(rows=2, lanes=2, table_bits=6, lanes_per_table=1, word_parts=2, local_learning=0)


def unpack(bench: Bench) -> None:
    """The specification unpacks what the packer gives, by the definition of the stream.

    It keeps the beat that the packer took, and what it has unpacked of it so far.
    """
    m, dut = bench.m, bench.dut
    width, chunks = CONFIG.width, beat_chunks(CONFIG)
    size = width * chunks
    beat = Signal(size)
    chunk, place, within, full = Signal(range(chunks + 1)), Signal(range(width)), Signal(), Signal()
    held = Signal()
    with m.If(dut.input.valid & dut.input.ready):
        m.d.sync += [beat.eq(dut.input.payload), held.eq(1), chunk.eq(0)]
    # Bits are taken eight in a row, with a gap of two cycles or more.
    byte, gap = Signal(3), Signal(2)
    fresh = bench.past(held, name="held")
    bench.assume(~dut.take | (dut.held & ((byte != 0) | (fresh & (gap == 2)))))
    bench.assume((byte == 0) | dut.take)
    with m.If(dut.take):
        m.d.sync += [byte.eq(byte + 1), gap.eq(0)]
    with m.Elif(gap != 2):
        m.d.sync += gap.eq(gap + 1)

    mine = Signal(width)
    m.d.comb += mine.eq(beat.word_select(chunk, width))
    complete = chunk == chunks
    with m.If(dut.take):
        with m.If(complete):
            bench.check(~dut.bit, "the last byte is filled up with zeros")
        with m.Elif(within):
            bench.check(dut.bit == mine.bit_select(place, 1), "a chunk comes bit by bit")
            m.d.sync += place.eq(place + 1)
            with m.If(place == width - 1):
                m.d.sync += [within.eq(0), place.eq(0), chunk.eq(chunk + 1)]
        with m.Else():
            bench.check(dut.bit == mine.any(), "a chunk of zeros is left out and no other")
            with m.If(dut.bit):
                m.d.sync += within.eq(1)
            with m.Else():
                m.d.sync += chunk.eq(chunk + 1)
    # The next beat may come as soon as the byte of the last bit has been taken, not sooner.
    with m.If(complete & held & ~dut.take):
        m.d.sync += held.eq(0)
    bench.check(dut.held == held, "a beat is held until its last byte was taken")
    bench.check(dut.input.ready == ~held, "the next beat is taken behind it")

    # How the component counts.
    its_chunk, its_place, its_within, done, turns, its_beat, zeros, ending, its_fresh = (
        bench.register(name)
        for name in ("chunk", "place", "within", "done", "turns", "beat", "zeros", "ending", "fresh")
    )
    bench.invariant(chunk <= chunks, "chunks")
    bench.invariant(place < width, "places")
    bench.invariant((byte == 0) | held, "bytes")
    bench.invariant(~turns | held, "turning")
    bench.invariant(its_fresh == bench.past(~held, name="rested"), "fresh")
    bench.invariant(~(its_fresh & held) | ((chunk == 0) & (byte == 0) & ~its_within & ~done), "fresh beat")
    bench.invariant(held | ((byte == 0) & ~done & ~within), "rest")
    bench.invariant(within == its_within, "within")
    bench.invariant(place == its_place, "place")
    bench.invariant(~within | (held & ~complete), "within a chunk")
    bench.invariant(within | (place == 0), "between chunks")
    bench.invariant(done == (complete & held), "done")
    bench.invariant(its_chunk == Mux(complete, 0, chunk) , "chunk")
    # What is left of the beat stands lowest; it moves a cycle after the chunk ends.
    rest = Signal(size)
    m.d.comb += rest.eq(beat >> (chunk * width)[:8])
    now = Signal(size)
    m.d.comb += now.eq(Mux(turns, its_beat >> width, its_beat))
    busy = held & ~complete
    bench.invariant(~busy | (now[width:] == rest[width:]), "chunks behind")
    bench.invariant(~busy | (now[:width] == rest[:width] >> place), "the chunk")
    bench.invariant(~turns | (~within & (place == 0) & (complete | (chunk != 0))), "turns")
    none = Cat(~rest[i * width : (i + 1) * width].any() for i in range(chunks))
    left = Const((1 << chunks) - 1, chunks) >> chunk
    bench.invariant(~busy | its_fresh | ((zeros & left) == (none & left)), "zeros")
    bench.invariant(
        ~busy | its_fresh | (ending == Mux(within, place == width - 1, none[0])), "ending"
    )


def pack(config: EngineConfig) -> Callable[[Bench], None]:
    """The specification packs words by the definition of the stream; the unpacker must give them.

    It chooses a word, anew when the last one was taken, and leaves out chunks that repeat the word
    before: some or all of them.
    """
    width, chunks, parts = config.width, beat_chunks(config), config.word_parts
    many, beat_bits = chunks * parts, chunks * width
    size = beat_bits * parts

    def body(bench: Bench) -> None:
        m, dut = bench.m, bench.dut
        # The word that is sent, the one before, and which chunks are left out.
        new, skip = bench.free(size, "new"), bench.free(many, "skip")
        word, previous, skips = Signal(size), Signal(size), Signal(many)
        begun, chunk, place, within = Signal(), Signal(range(many + 1)), Signal(range(width)), Signal()
        sent = Signal()
        offered = Signal(range(parts + 1))
        for i in range(many):
            same = new[i * width : (i + 1) * width] == previous[i * width : (i + 1) * width]
            bench.assume(~skip[i] | same)
        if config.beat_width < beat_bits:
            for part in range(parts):
                bench.assume(new[part * beat_bits : (part + 1) * beat_bits][config.beat_width :] == 0)
        given = dut.output.valid & dut.output.ready
        with m.If(~begun):
            m.d.sync += [word.eq(new), skips.eq(skip), begun.eq(1), chunk.eq(0), offered.eq(0), sent.eq(0)]
        with m.If(given):
            m.d.sync += offered.eq(offered + 1)
            with m.If(offered == parts - 1):
                m.d.sync += [begun.eq(0), previous.eq(word)]

        # Bytes come when they are wanted: eight bits or sixteen in a row, two cycles later at the
        # earliest. Their bits are of the word, and zeros behind it.
        left, pause = Signal(5), Signal(2)
        go, double = bench.free(1, "go"), bench.free(1, "double")
        starts = (left == 0) & (pause == 0) & dut.want & go & begun
        m.d.comb += dut.bits.eq(left != 0)
        with m.If(starts):
            m.d.sync += left.eq(Mux(double & dut.pair, 16, 8))
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), pause.eq(3)]
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        complete = chunk == many
        with m.If(dut.bits & ~complete):
            with m.If(within):
                m.d.comb += dut.bit.eq(word.word_select(chunk, width).bit_select(place, 1))
                m.d.sync += place.eq(place + 1)
                with m.If(place == width - 1):
                    m.d.sync += [within.eq(0), place.eq(0), chunk.eq(chunk + 1)]
            with m.Else():
                here = ~skips.bit_select(chunk, 1)
                m.d.comb += dut.bit.eq(here)
                with m.If(here):
                    m.d.sync += within.eq(1)
                with m.Else():
                    m.d.sync += chunk.eq(chunk + 1)
        bench.check(~(dut.bits & complete & (left > 8)), "it asks for no byte behind a word")
        with m.If(dut.output.valid):
            bench.check(complete & (left == 0) & begun, "beats come behind the word's last byte")
            expected = word.word_select(offered, beat_bits)[: config.beat_width]
            bench.check(dut.output.payload == expected, "beats are those that were packed")
        bench.check(~dut.want | ~complete | (left != 0) | ~begun, "it wants no more than the word has")
        # It neither forgets to ask nor to offer.
        patience = Signal(range(64))
        idle = begun & (left == 0) & (pause == 0) & ~dut.want & ~dut.output.valid
        m.d.sync += patience.eq(Mux(idle, patience + 1, 0))
        bench.check(patience <= chunks + 4, "it asks or offers within a few cycles")

    return body


PROOFS = (
    Proof(
        "packing of output",
        "The bits that leave the packer are, by the definition of the stream, the beats that it took: every beat once, "
        "in order, whole.",
        f"beats of {beat_chunks(CONFIG)} chunks of 16 bits",
        lambda: Packer(CONFIG),
        unpack,
        faults=(
            Change("only the first chunk's zeros count", "zeros", lambda old, c, m: old[0] if isinstance(old, Concat) else None),
            Change("the last chunk is lost", "last", only("==", lambda old: old | (old.operands[0] == 1))),
        ),
        depth=4,
        fault_depth=60,
    ),
    Proof(
        "unpacking of input",
        "The beats that leave the unpacker are those that were packed by the definition of the stream: every beat once, "
        "in order, whole, whatever is left out; no byte is asked for in vain.",
        f"beats of {beat_chunks(CONFIG)} chunks of 16 bits",
        lambda: Unpacker(CONFIG),
        pack(CONFIG),
        faults=(),
        depth=90,
        bounded=True,
        slow=True,
    ),
)
