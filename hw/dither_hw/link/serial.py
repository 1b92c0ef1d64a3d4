"""Arithmetic bit by bit, in slots of time that all of the link shares.

A *slot* has 17 cycles: a gap, then the 16 bits of a number, lowest first. In the gap, every number
is whole and in its place; so this is when memories get their addresses. What a slot is for is
decided in the last cycle of the slot before.
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
"""Number of cycles of a slot: a gap and one for each bit of a number."""

SLOT = data.StructLayout({"gap": 1, "last": 1, "bit": 4, "ahead": 4})
"""Says where in its slot a cycle is.

``gap``: it is the gap. ``last``: it is the cycle of the last bit. ``bit``: number of the cycle's
bit. ``ahead``: number of the next cycle's bit.
"""


class SlotCounter(wiring.Component):
    """Counts cycles and so divides time into slots, one after the other.

    Resources: 11 LUTs and registers.

    Attributes
    ----------
    slot : Out(SLOT)
        The current cycle's place in its slot.
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
    """A 16-bit number whose bits go round once a slot: in the cycle of bit k, ``out`` is bit k.

    ``enter`` is the bit that takes its place. It is ``out`` unless the user assigns something else,
    so a number keeps its value by default.

    :param m: module that gets the logic.
    :param slot: the current cycle's place in its slot.
    :param name: prefix of the signals' names.
    :param out: the number's bit of this cycle.
    """

    def __init__(self, m: Module, slot: data.View, name: str, out: Value) -> None:
        self._m, self._slot, self._name = m, slot, name
        self.out = out
        self.enter = Signal(name=f"{name}_enter")
        m.d.comb += self.enter.eq(out)

    def step(self, step: ValueLike, *, down: bool = False, two: ValueLike = 0) -> None:
        """Counts by one in every slot in whose gap ``step`` is 1.

        Resources: 2 LUTs and a register, two more LUTs for ``two``.

        :param down: whether to count down.
        :param two: with 1 in the cycle behind the gap, counts by two; the number must be even.
        """
        carry = Signal(name=f"{self._name}_carry")
        passing = ~self.out if down else self.out
        # In an even number, the carry of one stops at the lowest bit; for two, it is moved up
        # there.
        moved = Value.cast(two) & (self._slot.ahead == 1)
        self._m.d.sync += carry.eq(Mux(self._slot.gap, step, (carry & passing) | moved))
        self._m.d.comb += self.enter.eq(self.out ^ (carry & ~moved))


class Circulating(Number):
    """A number in a register of its own, which turns by a bit in every cycle but the gap.

    Resources: 16 registers without logic.
    """

    def __init__(self, m: Module, slot: data.View, name: str) -> None:
        self.value = Signal(POSITION_BITS, name=name)
        """The whole number, valid in the gap."""
        super().__init__(m, slot, name, self.value[0])
        with m.If(~slot.gap):
            m.d.sync += self.value.eq(Cat(self.value[1:], self.enter))


def constant_bit(slot: data.View, value: int) -> Value:
    """Returns the bits of a constant, each in its cycle of the slot.

    Resources: 1 LUT.
    """
    cycles = [bit for bit in range(POSITION_BITS) if value >> bit & 1]
    return slot.bit.matches(*cycles)


def any_bit(m: Module, slot: data.View, bit: ValueLike, name: str) -> Signal:
    """Returns whether any bit of the slot was 1 up to this cycle; complete in the last one.

    Resources: 2 LUTs and a register.
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
    """Returns the bits of ``left - right``, or of one less if ``borrow`` is 1 in the gap.

    Resources: 2 LUTs and a register.
    """
    owed = Signal(name=f"{name}_borrow")
    left, right = Value.cast(left), Value.cast(right)
    m.d.sync += owed.eq(Mux(slot.gap, borrow, (~left & right) | (owed & ~(left ^ right))))
    result: Value = left ^ right ^ owed
    return result


def exceeds(m: Module, slot: data.View, left: ValueLike, right: ValueLike, name: str) -> Signal:
    """Returns whether ``left > right`` by the bits up to this cycle; complete in the last one.

    Resources: 2 LUTs and a register.
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
