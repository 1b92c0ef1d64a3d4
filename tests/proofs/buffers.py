"""The ring buffer of output loses nothing, doubles nothing, and keeps the order."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Mux, Signal

from dither.link.protocol import CRC_BYTES, CRC_SLACK, MAX_REQUEST_BODY
from dither_hw.link.buffer import InputBuffer, OutputBuffer
from dither_hw.link.serial import SLOT_CYCLES, SlotCounter
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

SIZE = 64


def _slots(bench: Bench) -> tuple[Any, Signal]:
    """Gives the component its slots; returns the slot and the time in it, 0 in the gap."""
    m = bench.m
    m.submodules.counter = counter = SlotCounter()
    slot = counter.slot
    m.d.comb += bench.dut.slot.eq(slot)
    time = Signal(range(SLOT_CYCLES))
    m.d.sync += time.eq(Mux(time == SLOT_CYCLES - 1, 0, time + 1))
    bench.invariant(slot.gap == (time == 0), "gap")
    bench.invariant(slot.last == (time == SLOT_CYCLES - 1), "last")
    bench.invariant((time == 0) | (slot.bit == time - 1), "bit")
    bench.invariant(slot.ahead == Mux(time == SLOT_CYCLES - 1, 0, time), "ahead")
    return slot, time


def _whole(bench: Bench, slot: Any, width: int, name: str) -> Signal:
    """Returns an input that keeps for a whole slot what it is in the gap."""
    m = bench.m
    value = bench.free(width, name)
    kept, now = Signal(width, name=f"kept_{name}"), Signal(width, name=f"now_{name}")
    m.d.comb += now.eq(Mux(slot.gap, value, kept))
    m.d.sync += kept.eq(now)
    return now


def specify(bench: Bench) -> None:
    """The specification counts whole positions, and follows the byte at one of them, whichever."""
    m, dut = bench.m, bench.dut
    slot, time = _slots(bench)
    number, target = _whole(bench, slot, 16, "number"), _whole(bench, slot, 16, "target")
    acknowledge, seek = _whole(bench, slot, 1, "acknowledge"), _whole(bench, slot, 1, "seek")
    reads, takes = Signal(), Signal()
    produced, acknowledged, reading = Signal(16), Signal(16), Signal(16)
    its_taking = bench.register("taking")
    with m.If(slot.gap):
        m.d.sync += [reads.eq(dut.next), takes.eq(its_taking)]
    step, on = Mux(slot.gap, its_taking, takes), Mux(slot.gap, dut.next, reads)
    new_produced, new_acknowledged, new_reading = (
        Signal(16, name=f"new_{n}") for n in ("produced", "acked", "reading")
    )
    m.d.comb += [
        new_produced.eq(produced + step),
        new_acknowledged.eq(Mux(acknowledge, number, acknowledged)),
        new_reading.eq(Mux(seek, target, reading + on)),
        dut.number.eq(number.bit_select(slot.bit, 1)),
        dut.seek_number.eq(target.bit_select(slot.bit, 1)),
        dut.acknowledge.eq(acknowledge),
        dut.seek.eq(seek),
        dut.forget.eq(0),
        dut.acknowledged.out.eq(acknowledged.bit_select(slot.bit, 1)),
    ]
    with m.If(slot.last):
        m.d.sync += [produced.eq(new_produced), acknowledged.eq(new_acknowledged), reading.eq(new_reading)]
    ahead, stored = (number - acknowledged)[:16], (produced - acknowledged)[:16]
    # Only what was produced is acknowledged; whoever acknowledges asks ``within`` first.
    bench.assume(~acknowledge | (ahead <= stored))

    with m.If(~slot.gap):
        bench.check(dut.produced == produced.bit_select(slot.bit, 1), "what was produced")
        bit = new_acknowledged.bit_select(slot.bit, 1)
        bench.check(dut.acknowledged.enter == bit, "what was acknowledged")
    with m.If(slot.last):
        bench.check(dut.within == (ahead <= stored), "whether a position is within")
        bench.check(dut.more == (new_reading != new_produced), "whether there is more")
    bench.check(stored <= SIZE, "it never holds more than it can")

    # A byte is taken: eight bits at a slot's end. It goes to the position that is counted next.
    byte = Signal(8)
    with m.If(slot.gap):
        m.d.sync += byte.eq(0)
    with m.Elif(dut.take):
        m.d.sync += byte.bit_select(slot.bit[:3], 1).eq(dut.input_bit)
    bench.check(dut.take == (its_taking & ~slot.gap & slot.bit[3]), "eight bits are taken at the end")
    offered = bench.past(dut.offer, name="offered")
    no_hold = bench.past(~dut.hold, name="no_hold")
    with m.If(time == 1):
        bench.check(~its_taking | offered, "only what is offered is taken")
        room = (stored != SIZE) & no_hold & ~takes
        bench.check(~(offered & room) | its_taking, "what is offered is taken if there is room")
    position, value = bench.constant(16, "position"), Signal(8)
    known = Signal()
    with m.If(slot.gap & its_taking & (produced == position)):
        m.d.sync += [value.eq(byte), known.eq(1)]
    held = (position - acknowledged)[:16] < stored
    bench.check(~held | known, "no byte is counted that was not taken")

    # It comes back, bit by bit, whenever it is read before it is acknowledged.
    wanted, reread = Signal(), Signal(8)
    with m.If(slot.gap):
        m.d.sync += [wanted.eq(held & (reading == position)), reread.eq(value)]
    with m.If(wanted & ~slot.gap & slot.bit[3]):
        bench.check(dut.bit == reread.bit_select(slot.bit[:3], 1), "a byte comes out as it went in")

    # How the component counts. Of numbers that go round, the bits below the time are new.
    seen = Signal(16)
    m.d.comb += seen.eq(((Const(1, 17) << time) - 1) >> 1)
    done = Mux(slot.gap, 0, slot.bit)
    missing = Signal(5)
    m.d.comb += missing.eq(16 - done)
    for name, old, new, count in (
        ("produced", produced, new_produced, step),
        ("fetched", reading, new_reading, on),
    ):
        turned = Signal(16, name=f"turned_{name}")
        m.d.comb += turned.eq((old >> done) | (new << missing))
        bench.invariant(bench.register(name) == turned, name)
        carry = bench.register(f"{name}_carry")
        bench.invariant(slot.gap | (carry == (count & ((old & seen) == seen))), f"carry {name}")
    bench.invariant(bench.register("full") == (stored == SIZE), "full")
    bench.invariant(~its_taking | (stored != SIZE), "room for it")
    bench.invariant(slot.gap | ~takes | (stored != SIZE), "room for what is counted")
    bench.check(slot.gap | ~(takes & its_taking), "a byte in every other slot at most")
    for name, bits in (
        ("roomy", (new_produced ^ new_acknowledged ^ SIZE) & (2 * SIZE - 1)),
        ("unread", new_reading ^ new_produced),
    ):
        bench.invariant(slot.gap | (bench.register(f"{name}_seen") == (bits & seen).any()), name)
    for name, left in (("ahead", number), ("stored", produced)):
        borrow = bench.register(f"{name}_borrow")
        bench.invariant(slot.gap | (borrow == ((left & seen) < (acknowledged & seen))), f"borrow {name}")
    beyond = bench.register("beyond_before")
    bench.invariant(slot.gap | (beyond == ((ahead & seen) > (stored & seen))), "beyond")
    its_byte = bench.register("byte")
    got = Mux(slot.gap, 8, Mux(slot.bit[3], slot.bit[:3], 0))
    top = Signal(8)
    m.d.comb += top.eq(its_byte >> (8 - got).as_unsigned()[:4])
    mask = Signal(8)
    m.d.comb += mask.eq((Const(1, 9) << got) - 1)
    bench.invariant(~its_taking | ((top & mask) == (byte & mask)), "byte")
    arrives = ~slot.gap & takes & (produced == position)
    bench.invariant(~arrives | known, "known on arrival")
    bench.invariant(~(held | arrives) | (bench.cell("memory", position[:6]) == value), "memory")
    bench.invariant(
        ~wanted | (time != 1) | ((bench.answer("memory") == reread) & bench.register("memory.read_fresh")), "answer"
    )
    bench.invariant(~wanted | (time < 2) | (bench.register("memory.read_data") == reread), "read")
    bench.invariant((time < 2) | ~bench.register("memory.read_fresh"), "not fresh")


def requests(bench: Bench) -> None:
    """The same for what comes from the host: frames are kept or not, bytes are taken in order."""
    m, dut = bench.m, bench.dut
    slot, time = _slots(bench)
    write, commit, settle = (_whole(bench, slot, 1, name) for name in ("write", "commit", "settle"))
    data = _whole(bench, slot, 8, "data")
    written, kept, taken = Signal(16), Signal(16), Signal(16)
    overflow, overlong = Signal(), Signal()
    length, used, stored = (written - kept)[:16], (kept - taken)[:16], (written - taken)[:16]
    # One thing in a slot; only what is complete and fits is kept; frames are shorter than that.
    bench.assume(~(write & (commit | settle)) & ~(commit & settle))
    bench.assume(~commit | (~overflow & (length >= CRC_BYTES)))
    bench.assume(~write | (length < 0x7FFF))
    takes, doubles, last_double = Signal(), Signal(), Signal()
    nonempty, several = taken != kept, taken[1:] != kept[1:]
    take_now = dut.want & nonempty & ~write
    double_now = take_now & dut.pair & several & ~taken[0]
    less = Signal()
    with m.If(slot.gap):
        m.d.sync += [takes.eq(take_now), doubles.eq(double_now), last_double.eq(doubles)]
        m.d.sync += less.eq(dut.held & ~nonempty)
    by = Signal(2)
    m.d.comb += by.eq(Mux(slot.gap, Mux(double_now, 2, take_now), Mux(doubles, 2, takes)))
    new_written, new_kept, new_taken, new_length = (
        Signal(16, name=f"new_{name}") for name in ("written", "kept", "taken", "length")
    )
    m.d.comb += [
        new_written.eq(Mux(settle, kept, written + write)),
        new_kept.eq(Mux(commit, written - CRC_BYTES, kept)),
        new_taken.eq(taken + by),
        new_length.eq(new_written - new_kept),
        dut.write.eq(write),
        dut.commit.eq(commit),
        dut.settle.eq(settle),
        dut.forget.eq(0),
        dut.data.eq(data),
        dut.kept.out.eq(kept.bit_select(slot.bit, 1)),
    ]
    full = stored[:7] == SIZE
    with m.If(slot.last):
        m.d.sync += [written.eq(new_written), kept.eq(new_kept), taken.eq(new_taken)]
        m.d.sync += overflow.eq((overflow | (write & full)) & ~settle)
        m.d.sync += overlong.eq((overlong | (new_length > MAX_REQUEST_BODY + CRC_BYTES)) & ~settle)
        bench.check(dut.complete == (new_length >= CRC_BYTES), "a frame has a CRC")
        bench.check(dut.bodyless == (new_length == CRC_BYTES), "a frame has a body")
        bench.check(dut.words == (new_length[:2] == 0), "a body is of words")
        bench.check(dut.remains == (new_taken != new_kept), "something remains")
    bench.check((dut.overflow == overflow) & (dut.overlong == overlong), "a frame fits")
    bench.check(dut.nonempty == nonempty, "it holds something")
    bench.check(used <= SIZE, "it never keeps more than it can")
    spare = Signal(16)
    m.d.comb += spare.eq(SIZE - CRC_SLACK - used - less)
    with m.If(~slot.gap):
        bench.check(dut.free == spare.bit_select(slot.bit, 1), "free bytes")
        bench.check(dut.kept.enter == new_kept.bit_select(slot.bit, 1), "what is kept")

    # One byte, wherever it stands, from its writing to its taking.
    position, value, known = bench.constant(16, "position"), Signal(8), Signal()
    stores = write & ~full & ~overflow & (written == position)
    with m.If(slot.gap & stores):
        m.d.sync += [value.eq(data), known.eq(1)]
    waits = (position - taken)[:16] < used
    bench.check(~waits | known, "nothing is kept that was not written")
    single, low, high, late = (Signal(name=f"comes_{name}") for name in ("single", "low", "high", "late"))
    comes, came = Signal(8), Signal(8)
    with m.If(slot.gap):
        m.d.sync += [
            single.eq(take_now & ~double_now & (taken == position)),
            low.eq(double_now & (taken == position)),
            high.eq(double_now & ((taken + 1)[:16] == position)),
            late.eq(high),
            comes.eq(value),
            came.eq(comes),
        ]
    bits = Mux(time == 0, doubles, Mux(time == 1, last_double, (doubles & (time >= 3)) | (takes & (time >= 9))))
    bench.check(dut.bits == bits, "bits come when they must")
    for flag, byte, first, cycles in (
        (single, comes, 9, range(8)),
        (low, comes, 3, range(8)),
        (high, comes, 11, range(6)),
        (high, comes, 0 - 6, (6,)),
        (late, came, 1 - 7, (7,)),
    ):
        for cycle in cycles:
            with m.If(flag & (time == first + cycle)):
                bench.check(dut.bit == byte[cycle], "a byte comes out as it was written")

    # How the component counts. Of numbers that go round, the bits below the time are new.
    seen, done, missing = Signal(16), Mux(slot.gap, 0, slot.bit), Signal(5)
    m.d.comb += [seen.eq(((Const(1, 17) << time) - 1) >> 1), missing.eq(16 - done)]
    for name, old, new, count in (("written", written, new_written, write), ("taken", taken, new_taken, by)):
        turned = Signal(16, name=f"turned_{name}")
        m.d.comb += turned.eq((old >> done) | (new << missing))
        bench.invariant(bench.register(name) == turned, name)
        bench.invariant(
            slot.gap | (bench.register(f"{name}_carry") == (((old & seen) + count) > seen)), f"carry {name}"
        )
    for name, left, right in (
        ("body_end", written, Const(CRC_BYTES, 16)),
        ("length", new_written, new_kept),
        ("used", kept, taken),
    ):
        bench.invariant(slot.gap | (bench.register(f"{name}_borrow") == ((left & seen) < (right & seen))), name)
    unused = ((SIZE - CRC_SLACK) & seen) < ((used & seen) + less)
    bench.invariant(slot.gap | (bench.register("unused_borrow") == unused), "unused")
    for name, number in (
        ("length_enough", new_length & 0xFFFC),
        ("length_more", new_length ^ CRC_BYTES),
        ("length_split", new_length & 3),
        ("unequal", new_taken ^ new_kept),
        ("apart", (new_taken ^ new_kept) & 0xFFFE),
        ("roomy", (new_written ^ new_taken ^ SIZE) & (2 * SIZE - 1)),
    ):
        bench.invariant(slot.gap | (bench.register(f"{name}_seen") == (number & seen).any()), name)
    longer = (new_length & seen) > ((MAX_REQUEST_BODY + CRC_BYTES) & seen)
    bench.invariant(slot.gap | (bench.register("too_long_before") == longer), "too long")
    bench.invariant(bench.register("$signal") == several, "several")
    bench.invariant(bench.register("full") == full, "full")
    bench.invariant(bench.register("both") == doubles, "both")
    bench.invariant(bench.register("taking") == takes, "taking")
    bench.invariant(~doubles | takes, "doubles")
    lane = Signal()
    with m.If(slot.gap):
        m.d.sync += lane.eq(taken[0])
    bench.invariant(~takes | (bench.register("lane") == lane), "lane")
    bench.invariant(~single | (takes & ~doubles & (lane == position[0])), "single")
    bench.invariant(~low | (doubles & ~position[0]), "low")
    bench.invariant(~high | (doubles & position[0]), "high")
    bench.invariant(~late | (last_double & position[0]), "late")
    bench.invariant(slot.gap | ~takes | ((used != 0) & ~write), "there was something")
    bench.invariant(slot.gap | ~doubles | ((used > 1) & ~taken[0]), "there was a pair")
    bench.invariant(overflow | (stored <= SIZE), "room")
    bench.invariant((length < 0x8000) & (used <= stored), "frames")
    lives = waits | (~overflow & ((position - taken)[:16] < stored)) | (~slot.gap & stores)
    cell = bench.cell("memory", position[1:6]).word_select(position[0], 8)
    bench.invariant(~lives | (known & (cell == value)), "memory")
    word, fresh = bench.register("memory.word"), bench.register("memory.read_fresh")
    answer = bench.answer("memory")
    for flag in (single, low, high):
        mine, told = word.word_select(position[0], 8), answer.word_select(position[0], 8)
        bench.invariant(~flag | (time != 1) | (fresh & (told == comes)), "answer")
        bench.invariant(~(flag & ((time >= 2) | slot.gap)) | (mine == comes), "word")
    bench.invariant((time < 2) | ~fresh, "fresh")


PROOFS = (
    Proof(
        "output buffer",
        "Every byte that is taken is counted once and comes out unchanged at its position, in any order and as often "
        "as it is asked for, until it is acknowledged; what is offered is taken when there is room, and only then.",
        "64 bytes, positions of 16 bits, no new session",
        lambda: OutputBuffer(SIZE),
        specify,
        faults=(
            Change("it takes two bytes in a row", "taking", only("&", lambda old: old.operands[0])),
            Change("bytes are written a place too far", "write_addr", lambda old, c, m: old + 1),
        ),
        depth=3,
        fault_depth=100,
    ),
    Proof(
        "input buffer",
        "What is kept of a frame is all of it but its CRC, and comes out once, unchanged and in order, a byte or two "
        "at a time; a frame that is not kept leaves no trace; what does not fit is noticed.",
        "64 bytes, positions of 16 bits, no new session",
        lambda: InputBuffer(SIZE),
        requests,
        faults=(
            Change("a pair begins anywhere", "both", only("&", lambda old: old.operands[0])),
            Change("the CRC is kept too", "kept__enter", lambda old, c, m: c.kept.out),
        ),
        depth=3,
        fault_depth=190,
        slow=True,
    ),
)
