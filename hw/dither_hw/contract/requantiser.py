"""The requantiser: it shifts, rounds and clips an accumulator to an output word."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.timing import REQUANTISER_LATENCY

__all__ = ["Requantiser"]

assert REQUANTISER_LATENCY == 4, "coarse shift, fine shift, round, clip"

_FINE_BITS = 3
_MAX_SHIFT = 47


class Requantiser(wiring.Component):
    """Shifts an accumulator right, rounds it half up and clips it to the width of an output.

    ``y = clip((x + 2**(shift-1)) >> shift)``; with ``relu``, negative outputs become zero. Rounding
    costs no adder in front of the shifter: the last bit that is shifted out travels below the
    number and is added at the end. The coarse shift, by a multiple of eight, passes on only those
    bits that can belong to an output in range. A flag says whether the number has other bits too;
    then the fine shift, by up to seven, cannot bring it back into range.

    Latency: :data:`~dither.arch.timing.REQUANTISER_LATENCY` cycles. Throughput: one number a cycle.
    Resources on ECP5, for 18 of 48 bits: 241 LUT4, 106 flip-flops.

    Attributes
    ----------
    x : In(signed(width))
        The accumulator.
    stages : In(4)
        Enables of the pipeline's stages: with bit i high, stage i takes what the stage before it
        has. Stage 0 takes ``x``.
    shift, relu : In
        Steady while a number is under way; ``shift`` goes from 0 to 47, and 0 leaves the number as
        it is.
    y, clipped : Out
        Registers: the output, and whether the shifted number was out of its range.

    :param width: bits of ``x``.
    :param output: bits of ``y``.
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
        # The number, the rounding bit below it, seven bits for the fine shift, and one bit above
        # the output's sign, so that rounding cannot bring a number back that the flag calls out of
        # range.
        kept = W + 1 + 1 + (1 << _FINE_BITS) - 1
        source = Cat(Const(0, 1), self.x).as_signed()

        coarse, fine = Signal(signed(kept), reset_less=True), Signal(signed(kept), reset_less=True)
        total = Signal(signed(kept), reset_less=True)
        flags = [Signal(2, name=f"flags{i}", reset_less=True) for i in range(REQUANTISER_LATENCY - 1)]
        y, clipped = Signal(signed(W), reset_less=True), Signal(reset_less=True)
        m.d.comb += [self.y.eq(y), self.clipped.eq(clipped)]

        with m.If(self.stages[0]), m.Switch(self.shift[_FINE_BITS:]):
            last = _MAX_SHIFT >> _FINE_BITS
            for step in range(last + 1):
                with m.Case(step) if step < last else m.Default():
                    shifted = source >> (step << _FINE_BITS)
                    m.d.sync += [coarse.eq(shifted), flags[0].eq(Cat(_mixed(shifted[kept - 1 :]), source[-1]))]
        with m.If(self.stages[1]):
            m.d.sync += [fine.eq(coarse >> self.shift[:_FINE_BITS]), flags[1].eq(flags[0])]
        with m.If(self.stages[2]):
            m.d.sync += [total.eq(fine[1:].as_signed() + fine[0]), flags[2].eq(flags[1])]

        cut, negative = flags[2]
        beyond = cut | _mixed(total[W - 1 :])
        with m.If(self.stages[3]):
            m.d.sync += clipped.eq(beyond)
            with m.If(negative & self.relu):
                m.d.sync += y.eq(0)
            with m.Elif(beyond):
                m.d.sync += y.eq(Cat(~negative.replicate(W - 1), negative))
            with m.Else():
                m.d.sync += y.eq(total)
        return m


def _mixed(bits: Value) -> Value:
    """Whether there are both ones and zeros among bits."""
    return bits.any() & ~bits.all()
