"""The intake calls a frame sound if its CRC is right, and hands on every byte of it once."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Signal, Value

from dither.link.protocol import REQUEST
from dither_hw.link.intake import Intake
from dither_hw.link.serial import SLOT_CYCLES, SlotCounter
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

_POLYNOMIAL = 0xEDB88320
_START = 0xFFFFFFFF
_RIGHT = 0xDEBB20E3
"""What the register of the usual CRC-32 holds behind any message and its CRC."""
_APART, _AFTER = 4 * SLOT_CYCLES, 3 * SLOT_CYCLES


def shifted(crc: Value, byte: Value, bits: int = 8) -> list[Value]:
    """Returns the CRC's register before the first of a byte's bits, and behind each."""
    states = [crc]
    for i in range(bits):
        crc = (crc >> 1) ^ Mux(crc[0] ^ byte[i], _POLYNOMIAL, 0)
        states.append(crc)
    return states


def specify(bench: Bench) -> None:
    """The specification takes each byte at once, as a whole, into a count and a CRC."""
    m, dut = bench.m, bench.dut
    m.submodules.counter = counter = SlotCounter()
    slot = counter.slot
    m.d.comb += dut.slot.eq(slot)
    time = Signal(range(SLOT_CYCLES))
    m.d.sync += time.eq(Mux(time == SLOT_CYCLES - 1, 0, time + 1))
    bench.invariant(slot.gap == (time == 0), "gap")
    bench.invariant(slot.last == (time == SLOT_CYCLES - 1), "last")
    bench.invariant((time == 0) | (slot.bit == time - 1), "bit")
    bench.invariant(slot.ahead == Mux(time == SLOT_CYCLES - 1, 0, time), "ahead")

    # Bytes and ends come four slots apart; a frame is forgotten at a slot's end, three slots before
    # the next of them.
    comes = dut.emit | dut.end
    age, since = Signal(range(_APART + 1), init=_APART), Signal(range(_AFTER + 1), init=_AFTER)
    m.d.sync += [
        age.eq(Mux(comes, 1, Mux(age == _APART, age, age + 1))),
        since.eq(Mux(dut.done, 1, Mux(since == _AFTER, since, since + 1))),
    ]
    ended, kept, crc, byte = Signal(), Signal(), Signal(32, init=_START), Signal(8)
    count, good = Signal(range(REQUEST.size + 2)), Signal()
    bench.assume(~comes | ((age == _APART) & (since == _AFTER) & ~dut.done))
    bench.assume(~(dut.emit & dut.end))
    bench.assume(~(comes & ended) | (dut.emit & ~kept))
    bench.assume(~dut.done | (ended & slot.last))
    most = REQUEST.size + 1  # more than a header
    with m.If(dut.emit):
        m.d.sync += byte.eq(dut.payload)
        with m.If(ended):
            m.d.sync += kept.eq(1)
        with m.Else():
            m.d.sync += [count.eq(Mux(count == most, most, count + 1)), crc.eq(shifted(crc, dut.payload)[-1])]
    with m.If(dut.end):
        m.d.sync += [ended.eq(1), good.eq(dut.good)]
    with m.If(dut.done):
        # A byte that waited is the next frame's first.
        m.d.sync += [ended.eq(0), kept.eq(0), count.eq(kept)]
        m.d.sync += crc.eq(Mux(kept, shifted(Const(_START, 32), byte)[-1], _START))

    bench.check(dut.ended == ended, "a frame has ended")
    bench.check(~ended | (dut.begun == (count != 0)), "a frame is empty or not")
    sound = good & (count >= REQUEST.size) & (crc == _RIGHT)
    bench.check(~ended | (dut.sound == sound), "a frame is sound if encoding, length and CRC are right")
    waiting, working = bench.register("waiting"), bench.register("working")
    number = count - 1
    here = ~slot.gap & (slot.bit[3] == number[0])
    header = working & (count <= REQUEST.size)
    bench.check(dut.header == (header & here), "bits of the header come in their place")
    with m.If(dut.header):
        bench.check((dut.field == number[1:]) & (dut.bit == byte.bit_select(slot.bit[:3], 1)), "they are the bytes'")
    bench.check(dut.body == (working & (count == most)), "all other bytes are the body's")
    bench.check(~(dut.body & slot.gap) | (dut.data == byte), "they come unchanged")
    turns = Signal(2)
    with m.If(dut.emit):
        m.d.sync += turns.eq(0)
    with m.Elif(working & slot.last):
        m.d.sync += turns.eq(turns + 1)
    taken = working & slot.last
    bench.check(~taken | (turns == 0), "a byte is handed on once")
    bench.check(~comes | ended | (turns == 1) | (count == 0), "and not forgotten")

    # How the component counts.
    index, its_byte, register = bench.register("index"), bench.register("byte"), bench.register("crc.crc")
    pending = (waiting & ~ended) | working
    full = Mux(count >= REQUEST.size, REQUEST.size, count)
    before = Mux(number >= REQUEST.size, REQUEST.size, number)
    bench.invariant(index == Mux(pending, before, full), "index")
    bench.invariant((count <= most) & (~pending | (count != 0)), "pending")
    bench.invariant(~(waiting & working), "one byte")
    bench.invariant(~(working & ended), "no byte at the end")
    bench.invariant(~ended | (waiting == kept), "kept")
    bench.invariant(ended | ~kept, "kept at the end")
    bench.invariant(~(waiting & ~ended) | (age <= time + 1) | (since <= time + 1), "waits")
    bench.invariant(~working | (age <= time + 1 + SLOT_CYCLES) | (since <= time + 1 + SLOT_CYCLES), "works")
    bench.invariant((age != 0) & (since != 0) & (age <= _APART) & (since <= _AFTER), "ages")
    bench.invariant(~(pending | waiting) | (turns == 0), "turns")
    bench.invariant(pending | waiting | (turns == 1) | (count == 0), "turned")
    bench.invariant(~ended | (bench.register("passable") == good), "good")
    passed = Signal(range(9))
    first = Mux(index[0], 9, 1)
    m.d.comb += passed.eq(Mux(~working | (time < first), 0, Mux(time >= first + 8, 8, time - first)))
    left = shifted((register ^ _START)[:32], its_byte)
    feed = Signal(32)
    with m.Switch(Mux(pending, 8 - passed, 0)):
        for bits in range(9):
            with m.Case(bits):
                m.d.comb += feed.eq(left[bits])
    bench.invariant(feed == crc, "CRC")
    turned = Signal(8)
    m.d.comb += turned.eq((byte.replicate(2) >> passed)[:8])
    bench.invariant(~(pending | waiting) | (its_byte == turned), "byte")


PROOFS = (
    Proof(
        "intake and CRC",
        "When a frame ends, it is called sound if and only if its encoding was not broken, it has a whole header, and "
        "its CRC-32 by the definition is right; every byte is handed on once, unchanged, to its place.",
        "",
        Intake,
        specify,
        faults=(
            Change("bits come from the wrong end", "bit", lambda old, c, m: old.value[-1]),
            Change("every second byte is left out", "index", only("+", lambda old: old + 1)),
        ),
        depth=3,
        fault_depth=100,
    ),
)
