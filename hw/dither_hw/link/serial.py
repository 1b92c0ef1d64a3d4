"""Numbers worked on bit by bit, in slots of time that all of the link shares.

A *slot* has 17 cycles: a gap, then the 16 bits of a number, lowest first. In the gap every number
stands in its place, whole: that is when memories are addressed. What a slot is for is decided in
the last cycle of the slot before.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from dither.link.protocol import POSITION_BITS

__all__ = [
    "SLOT",
    "SLOT_CYCLES",
    "Circulating",
    "Number",
    "SlotCounter",
    "any_bit",
    "constant_bit",
    "exceeds",
    "subtract",
]

SLOT_CYCLES = POSITION_BITS + 1

SLOT = data.StructLayout({"gap": 1, "last": 1, "bit": 4, "ahead": 4})
"""Where in a slot a cycle is: in the gap; at the last bit; at which bit; which bit comes next."""


class SlotCounter(wiring.Component):
    """Makes slots, one behind the other.

    Resources: 11 LUTs and registers.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": Out(SLOT, init={"gap": 1}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        m.d.sync += [slot.gap.eq(slot.last), slot.last.eq(slot.ahead == POSITION_BITS - 1), slot.bit.eq(slot.ahead)]
        with m.If(~slot.last):
            m.d.sync += slot.ahead.eq(slot.ahead + 1)
        return m


class Number:
    """A 16-bit number that goes round once a slot: in the cycle of bit k, ``out`` is bit k.

    ``enter`` is the bit that takes its place; by default the same, so users assign what else it
    shall be.
    """

    def __init__(self, m: Module, slot: data.View, name: str, out: Value) -> None:
        self._m, self._slot, self._name = m, slot, name
        self.out = out
        self.enter = Signal(name=f"{name}_enter")
        m.d.comb += self.enter.eq(out)

    def step(self, step: ValueLike, *, down: bool = False, two: ValueLike = 0) -> None:
        """Counts in every slot in whose gap ``step`` is 1; by two, an even number, if ``two`` is 1
        in the cycle behind.

        Resources: 2 LUTs and a register, two more LUTs for ``two``.
        """
        carry = Signal(name=f"{self._name}_carry")
        passing = ~self.out if down else self.out
        # The carry of a one into an even number stops at its lowest bit: there it is moved up.
        moved = Value.cast(two) & (self._slot.ahead == 1)
        self._m.d.sync += carry.eq(Mux(self._slot.gap, step, (carry & passing) | moved))
        self._m.d.comb += self.enter.eq(self.out ^ (carry & ~moved))


class Circulating(Number):
    """A number in a register of its own. Resources: 16 registers without logic."""

    def __init__(self, m: Module, slot: data.View, name: str) -> None:
        self.value = Signal(POSITION_BITS, name=name)
        """The number, in the gap."""
        super().__init__(m, slot, name, self.value[0])
        with m.If(~slot.gap):
            m.d.sync += self.value.eq(Cat(self.value[1:], self.enter))


def constant_bit(slot: data.View, value: int) -> Value:
    """The bits of a constant in their cycles. Resources: 1 LUT."""
    cycles = [bit for bit in range(POSITION_BITS) if value >> bit & 1]
    return slot.bit.matches(*cycles)


def any_bit(m: Module, slot: data.View, bit: ValueLike, name: str) -> Signal:
    """Whether any bit of a slot so far is 1, this one included; complete in the last. Resources: 2
    LUTs, a register.
    """
    seen = Signal(name=f"{name}_seen")
    now = Signal(name=name)
    m.d.comb += now.eq(seen | bit)
    with m.If(slot.gap):
        m.d.sync += seen.eq(0)
    with m.Else():
        m.d.sync += seen.eq(now)
    return now


def subtract(
    m: Module, slot: data.View, left: ValueLike, right: ValueLike, name: str, *, borrow: ValueLike = 0
) -> Value:
    """The bits of ``left - right``, less one if there is a ``borrow`` in the gap. Resources: 2 LUTs
    and a register.
    """
    owed = Signal(name=f"{name}_borrow")
    left, right = Value.cast(left), Value.cast(right)
    m.d.sync += owed.eq(Mux(slot.gap, borrow, (~left & right) | (owed & ~(left ^ right))))
    result: Value = left ^ right ^ owed
    return result


def exceeds(m: Module, slot: data.View, left: ValueLike, right: ValueLike, name: str) -> Signal:
    """Whether ``left > right``, of the bits so far; complete in the last cycle. Resources: 2 LUTs
    and a register.
    """
    before = Signal(name=f"{name}_before")
    now = Signal(name=name)
    left, right = Value.cast(left), Value.cast(right)
    m.d.comb += now.eq((left & ~right) | (before & ~(left ^ right)))
    with m.If(slot.gap):
        m.d.sync += before.eq(0)
    with m.Else():
        m.d.sync += before.eq(now)
    return now
