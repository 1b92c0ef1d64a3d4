"""Arithmetic bit by bit gives what the same arithmetic with whole numbers gives."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.link.protocol import POSITION_BITS
from dither_hw.link.serial import SLOT, SLOT_CYCLES, Circulating, SlotCounter, any_bit, constant_bit, exceeds, subtract
from tests.benches.mutation import Change

from .harness import Bench, Proof

_CONSTANT = 0xA35C


class _Arithmetic(wiring.Component):
    """All that the link computes bit by bit, with numbers that are free."""

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": In(SLOT),
                "left": In(1),
                "right": In(1),
                "owed": In(1),
                "step": In(1),
                "two": In(1),
                "difference": Out(1),
                "greater": Out(1),
                "any": Out(1),
                "constant": Out(1),
                "up": Out(POSITION_BITS),
                "down": Out(POSITION_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        up, down = Circulating(m, slot, "up"), Circulating(m, slot, "down")
        up.step(self.step, two=self.two)
        down.step(self.step, down=True)
        m.d.comb += [
            self.difference.eq(subtract(m, slot, self.left, self.right, "difference", borrow=self.owed)),
            self.greater.eq(exceeds(m, slot, self.left, self.right, "greater")),
            self.any.eq(any_bit(m, slot, self.left, "any")),
            self.constant.eq(constant_bit(slot, _CONSTANT)),
            self.up.eq(up.value),
            self.down.eq(down.value),
        ]
        return m


def specify(bench: Bench) -> None:
    m, dut = bench.m, bench.dut
    m.submodules.counter = counter = SlotCounter()
    m.d.comb += dut.slot.eq(counter.slot)
    slot = counter.slot
    # The time within a slot, from 0 in the gap to 16.
    time = Signal(range(SLOT_CYCLES))
    m.d.sync += time.eq(Mux(time == SLOT_CYCLES - 1, 0, time + 1))
    bench.check(slot.gap == (time == 0), "a slot begins with its gap")
    bench.check(slot.last == (time == SLOT_CYCLES - 1), "a slot has 17 cycles")
    bench.check((time == 0) | (slot.bit == time - 1), "bits are numbered from the lowest")
    bench.check((time == SLOT_CYCLES - 1) | (slot.ahead == time), "the next bit is known")
    bench.check((time != SLOT_CYCLES - 1) | (slot.ahead == 0), "behind the last bit comes the gap")

    # Numbers as they were in the gap, and what they must be in the next one.
    with m.If(time == 0):
        bench.assume(~(dut.step & dut.two))
    left, right = bench.constant(POSITION_BITS, "number_left"), bench.constant(POSITION_BITS, "number_right")
    m.d.comb += [
        dut.left.eq(left.bit_select(slot.bit, 1)),
        dut.right.eq(right.bit_select(slot.bit, 1)),
    ]
    up, down, by, owed = Signal(16), Signal(16), Signal(2), Signal()
    with m.If(time == 0):
        m.d.sync += [up.eq(dut.up), down.eq(dut.down), by.eq(dut.step), owed.eq(dut.owed)]
    bench.assume((time == 1) | ~dut.two)
    with m.If((time == 1) & dut.two):
        bench.assume((by == 0) & ~up[0])
        m.d.sync += by.eq(2)
    valid = Signal()
    with m.If(time == 0):
        m.d.sync += valid.eq(1)
        bench.implies(valid, dut.up == (up + by)[:16], "a number counts up by none, one or two")
        bench.implies(valid, dut.down == (down - by[0])[:16], "a number counts down by none or one")
    with m.Elif(valid):
        # In the cycle of bit k, what came out so far are the bits below k.
        difference = (left - right - owed)[:16]
        bench.check(dut.difference == difference.bit_select(slot.bit, 1), "a difference")
        bench.check(dut.constant == Const(_CONSTANT, 16).bit_select(slot.bit, 1), "a constant")
        with m.If(time == SLOT_CYCLES - 1):
            bench.check(dut.greater == (left > right), "a comparison")
            bench.check(dut.any == (left != 0), "any bit")


PROOFS = (
    Proof(
        "bit-serial arithmetic",
        "Counting, subtraction, comparison, constants and the test for zero give, bit by bit, what whole numbers give.",
        "16 bits",
        _Arithmetic,
        specify,
        faults=(
            Change("the carry is not moved for two", "up_enter", lambda old, c, m: c.up[0]),
            Change("a borrow is lost", "difference_borrow", lambda old, c, m: Const(0)),
        ),
        depth=SLOT_CYCLES + 2,
        fault_depth=40,
    ),
)
