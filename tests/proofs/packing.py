"""What the other end of the link packs by definition comes out, and it unpacks what goes in."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal
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
    chunk, place, within = Signal(range(chunks + 1)), Signal(range(width)), Signal()
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
    bench.invariant(held | complete | (chunk == 0), "no chunk at rest")
    bench.invariant(within == its_within, "within")
    bench.invariant(place == its_place, "place")
    bench.invariant(~within | (held & ~complete), "within a chunk")
    bench.invariant(within | (place == 0), "between chunks")
    bench.invariant(done == (complete & held), "done")
    bench.invariant(its_chunk == Mux(complete, 0, chunk), "chunk")
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
    bench.invariant(~busy | its_fresh | (ending == Mux(within, place == width - 1, none[0])), "ending")


def pack(bench: Bench) -> None:
    """The specification packs words by the definition of the stream; the unpacker must give them.

    It chooses a word, anew when the last one was taken, and leaves out chunks that repeat the word
    before: some or all of them.
    """
    m, dut = bench.m, bench.dut
    width, chunks = CONFIG.width, beat_chunks(CONFIG)
    size = chunks * width
    new, skip = bench.free(size, "new"), bench.free(chunks, "skip")
    word, previous, skips = Signal(size), Signal(size), Signal(chunks)
    begun, chunk, place, within = Signal(), Signal(range(chunks + 1)), Signal(range(width)), Signal()
    for i in range(chunks):
        part = slice(i * width, (i + 1) * width)
        bench.assume(~skip[i] | (new[part] == previous[part]))
        bench.invariant(~begun | ~skips[i] | (word[part] == previous[part]), "left out")
    with m.If(~begun):
        m.d.sync += [word.eq(new), skips.eq(skip), begun.eq(1)]
    with m.If(dut.output.valid & dut.output.ready):
        m.d.sync += [begun.eq(0), chunk.eq(0), previous.eq(word)]

    # Eight bits come in a row, or sixteen; whether they are wanted is asked up to two cycles before
    # the end of the bits before. They are the word's bits, and zeros behind them.
    left, asked, pause = Signal(5), Signal(5), Signal(2)
    ask, double, go = (bench.free(1, name) for name in ("ask", "double", "go"))
    complete = chunk == chunks
    m.d.comb += dut.bits.eq(left != 0)
    with m.If((asked == 0) & (left <= 2) & ask & dut.want & begun):
        m.d.sync += asked.eq(Mux(double & dut.pair, 16, 8))
    with m.If(left != 0):
        m.d.sync += [left.eq(left - 1), pause.eq(2)]
    with m.Elif(pause != 0):
        m.d.sync += pause.eq(pause - 1)
    with m.Elif(go & (asked != 0)):
        m.d.sync += [left.eq(asked), asked.eq(0)]
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

    first, second = (left == 16) | ((left == 8) & bench.past(left == 0, name="left")), left == 8
    bench.check(~(first | second) | ~complete, "no byte comes behind a word")
    with m.If(dut.output.valid):
        bench.check(begun & complete & (left == 0) & (asked == 0), "a beat comes behind its last byte")
        bench.check(dut.output.payload == word[: CONFIG.beat_width], "a beat is the one that was packed")
    bench.check(dut.held | (chunk == 0) | bench.past(chunk == 0, 2, name="chunk"), "a word that has begun is held")
    # It neither forgets to ask nor to offer.
    idle = begun & (left == 0) & (asked == 0) & ~dut.want & ~dut.output.valid
    patience = Signal(3)
    m.d.sync += patience.eq(Mux(idle, patience + 1, 0))
    bench.check(patience < 4, "it asks or offers within a few cycles")

    # How the component counts: it is a cycle behind.
    registers = bench.registers()
    bits, bit, shifts = registers[0], registers[1], registers[-2]
    its_place, its_within, least, done, turning, turns, turn, ring, its_bit = (
        bench.register(name)
        for name in ("place", "within", "least", "done", "turning", "turns", "turn0_copy", "beats", "late")
    )
    then_chunk, then_place, then_within = (
        Signal.like(signal, name=f"then_{signal.name}") for signal in (chunk, place, within)
    )
    m.d.sync += [then_chunk.eq(chunk), then_place.eq(place), then_within.eq(within)]
    with m.If(dut.output.valid & dut.output.ready):
        m.d.sync += then_chunk.eq(0)
    bench.invariant(bits == bench.past(dut.bits, name="bits"), "bits")
    bench.invariant(bit == bench.past(dut.bit, name="bit"), "bit")
    bench.invariant(its_within == then_within, "within")
    bench.invariant(its_place == then_place, "place")
    behind = Mux(then_within, chunks - 1 - then_chunk + width - then_place, chunks - then_chunk)
    behind = Mux(then_within, chunks - 1 - then_chunk + width - then_place, chunks - then_chunk)
    bench.invariant(least == behind, "least")
    bench.invariant(done == (then_chunk == chunks), "done")
    bench.invariant(dut.held == ((then_chunk != 0) | then_within), "held")
    bench.invariant(~turning | done, "turning")
    bench.invariant(turns == 0, "turns")
    bench.invariant(~(turn | shifts) | turning | ~done, "no turn behind the word")
    bench.invariant(~(turn & shifts), "one at a time")
    both = Cat(previous, word)
    at = Signal(size)
    m.d.comb += at.eq(both >> ((then_chunk + then_within) * width))
    old, fresh = previous.word_select(then_chunk, width), word.word_select(then_chunk, width)
    top, missing = Signal(width), Signal(range(width + 1))
    m.d.comb += missing.eq(width - then_place)
    m.d.comb += top.eq(Mux(then_within, (old >> then_place) | (fresh << missing), at[-width:]))
    turned = Mux(turn, Cat(ring[width:], ring[:width]), ring)
    now = Mux(shifts, Cat(turned[:-width], turned[-width + 1 :], its_bit), turned)
    bench.invariant(now == Cat(at[:-width], top), "ring")
    # How the specification hangs together.
    rest = Signal.like(least)
    m.d.comb += rest.eq(Mux(within, chunks - 1 - chunk + width - place, chunks - chunk))
    bench.invariant((chunk <= chunks) & ~(complete & within) & (within | (place == 0)), "chunks")
    bench.invariant((then_chunk <= chunks) & ~((then_chunk == chunks) & then_within), "chunks then")
    bench.invariant((left <= 16) & ((asked == 0) | (asked == 8) | (asked == 16)), "bytes")
    bench.invariant(begun | ((chunk == 0) & ~within & (left == 0) & (asked == 0)), "rest")
    bench.invariant((left <= 8) | (rest > left - 8), "second byte")
    bench.invariant((asked == 0) | (rest > left), "asked for")
    bench.invariant((asked != 16) | (rest > left + 8), "asked for two")
    bench.invariant((pause == 0) | (left != 0) | (pause <= 2), "pause")


PROOFS = (
    Proof(
        "packing of output",
        "The bits that leave the packer are, by the definition of the stream, the beats that it took: every beat once, "
        "in order, whole.",
        f"beats of {beat_chunks(CONFIG)} chunks of 16 bits",
        lambda: Packer(CONFIG),
        unpack,
        faults=(
            Change(
                "only the first chunk's zeros count",
                "zeros",
                lambda old, c, m: old[0] if isinstance(old, Concat) else None,
            ),
            Change("the last chunk is lost", "last", only("==", lambda old: old | (old.operands[0] == 1))),
        ),
        depth=4,
        fault_depth=60,
    ),
    Proof(
        "unpacking of input",
        "The beats that leave the unpacker are those that were packed by the definition of the stream: every beat "
        "once, in order, whole, whatever is left out; no byte is asked for in vain.",
        f"beats of {beat_chunks(CONFIG)} chunks of 16 bits",
        lambda: Unpacker(CONFIG),
        pack,
        faults=(
            Change("the ring does not turn for a chunk that is left out", "turn0_copy", lambda old, c, m: old & c.bit),
            Change("it asks for a byte too many", "want", lambda old, c, m: Const(1)),
        ),
        fault_depth=60,
        depth=4,
    ),
)
