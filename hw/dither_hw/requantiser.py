"""From an accumulator to an output word: shift, round, clip."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.timing import REQUANTISER_LATENCY

__all__ = ["Requantiser"]

assert REQUANTISER_LATENCY == 5, "coarse shift, fine shift, range, round, clip"


class Requantiser(wiring.Component):
    """``y = clip((x + 2**(shift-1)) >> shift)``, and negative outputs to zero if ``relu``.

    The round bit is the last bit shifted out, so it travels below the number instead of being added in front of the
    shifter, and all that is wide is one barrel shifter.

    Latency 5 cycles, throughput one number a cycle. Resources: two registers of ``x``'s width behind shifters by
    multiples of eight and by up to seven, four of ``y``'s.

    Attributes
    ----------
    x : In(signed(width))
        The accumulator.
    stages : In(5)
        Bit i high: stage i takes what the stage before it has; bit 0 belongs to x.
    shift, relu : In
        Steady while a number is under way.
    y, clipped : Out
        Registers: the output, and whether the shifted number was beyond its range.

    :param width: bits of x.
    :param output: bits of y.
    """

    def __init__(self, *, width: int, output: int) -> None:
        self.width = width
        self.output = output
        super().__init__(
            {
                "x": In(signed(width)),
                "stages": In(REQUANTISER_LATENCY),
                "shift": In(6),
                "relu": In(1),
                "y": Out(signed(output)),
                "clipped": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        W = self.output
        coarse, fine = Signal(signed(self.width + 1)), Signal(signed(self.width + 1))
        near, total = Signal(signed(W + 1)), Signal(signed(W + 2))
        half = Signal()

        with m.If(self.stages[0]):
            m.d.sync += coarse.eq(Cat(Const(0, 1), self.x).as_signed() >> Cat(Const(0, 3), self.shift[3:]))
        with m.If(self.stages[1]):
            m.d.sync += fine.eq(coarse >> self.shift[:3])

        # One bit more than the output's: beyond that, rounding up cannot bring a number back into range.
        number = fine[1:].as_signed()
        sign, above = number[-1], number[W:-1]
        with m.If(self.stages[2]):
            m.d.sync += half.eq(fine[0])
            with m.If(~sign & above.any()):
                m.d.sync += near.eq((1 << W) - 1)
            with m.Elif(sign & ~above.all()):
                m.d.sync += near.eq(-1 << W)
            with m.Else():
                m.d.sync += near.eq(number)
        with m.If(self.stages[3]):
            m.d.sync += total.eq(near + half)

        negative = total[-1]
        beyond = total[W - 1 :].any() & ~total[W - 1 :].all()
        with m.If(self.stages[4]):
            m.d.sync += self.clipped.eq(beyond)
            with m.If(negative & self.relu):
                m.d.sync += self.y.eq(0)
            with m.Elif(beyond):
                m.d.sync += self.y.eq(Cat(~negative.replicate(W - 1), negative))
            with m.Else():
                m.d.sync += self.y.eq(total)
        return m
