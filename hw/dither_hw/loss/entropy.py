"""Softmax cross-entropy, one lane after the other, and its derivatives.

Exponentials of a lane's outputs are summed; the sum's logarithm gives the lane's loss.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.tables import SCALAR_INPUT_BITS, SCALAR_VALUE_BITS, ScalarTable
from dither.arch.timing import (
    INTERPOLATOR_LATENCY,
    LOSS_EXPONENTIAL_STAGE,
    LOSS_LANE_CHOICE,
    LOSS_LOGARITHM_STAGE,
    MEMORY_LATENCY,
)

from ..base.pipeline import delay_line
from ..tables.scalar_tables import ScalarPort

__all__ = ["ARRIVAL", "COUNT_BITS", "MAX_FRAC", "CrossEntropy", "Ending"]

ARRIVAL = MEMORY_LATENCY + LOSS_LANE_CHOICE
"""Cycles in LOSS from an element's address to the element itself.

They are the memory's latency and the choice of the lane in two levels.
"""
COUNT_BITS = 16
"""Width in bits of the number of outputs."""
MAX_FRAC = 16
"""Most fraction bits that outputs and losses can have."""

Ending = data.StructLayout({"counts": 1, "over": 1, "final": 1})
"""Says which lane a loss belongs to, in the cycle in which the loss is there.

``counts``: the lane counts towards the sum. ``over``: a lane is complete, whether it counts or not.
``final``: the lane is the last one. All are zero in cycles without a loss.
"""

_LN2 = 45426  # with 16 fraction bits
_ONE = 17  # log2 of exp(0) in units of the table: no sum of exponentials is below it
_SUM_BITS = SCALAR_VALUE_BITS + COUNT_BITS
_TO_EXPONENT = 4  # fraction bits that the exponentials' arguments have less than logarithms


class CrossEntropy(wiring.Component):
    """Computes every lane's cross-entropy and its derivatives from distances to the maximum.

    It is a part of :class:`~dither_hw.loss.loss.LossUnit`. Its ports see an element's properties
    :data:`ARRIVAL` cycles after the element's address, and the element's distance one cycle later.
    A lane's logarithm is looked up as soon as the tables are free of exponentials. The logarithm is
    also the part that the exponents of all of the lane's derivatives have in common; so for
    derivatives, the outputs' exponents take the same way a second time.

    Attributes
    ----------
    z_frac : In(5)
        Number of fraction bits of the outputs; steady while the instruction runs.
    distance : In(signed(W + 1))
        The lane's maximum minus the element; never negative.
    use, first, last : In(1)
        The element's exponential is to be summed; the element begins the lane's sum; it ends that
        sum.
    hit : In(1)
        The element is that of the lane's label, while summing or while deriving.
    ending : In(Ending)
        Properties of the lane, in the cycle of ``last``.
    derive : In(1)
        The element's derivative is wanted. It may come :data:`~dither.arch.timing.LOSS_PAUSE`
        cycles after ``last`` at the earliest.
    scalar : Out(ScalarPort)
        Lookups in the scalar tables.
    loss : Out(W + 18)
        The lane's loss with 16 fraction bits, not rounded.
    ended : Out(Ending)
        Properties of the lane that ``loss`` belongs to. The last lane's come
        :data:`~dither.arch.timing.LOSS_LOGARITHM_STAGE` cycles after the address of its last
        element.
    derivative : Out(signed(W + 1))
        The element's derivative with W - 2 fraction bits, rounded,
        :data:`~dither.arch.timing.LOSS_EXPONENTIAL_STAGE` +
        :data:`~dither.arch.timing.INTERPOLATOR_LATENCY` cycles after the element's address.

    :param config: gives W, and whether there are derivatives.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        width = config.width
        super().__init__(
            {
                "z_frac": In(5),
                "distance": In(signed(width + 1)),
                "use": In(1),
                "first": In(1),
                "last": In(1),
                "hit": In(1),
                "ending": In(Ending),
                "derive": In(1),
                "scalar": Out(ScalarPort()),
                "loss": Out(MAX_FRAC + width + 2),
                "ended": Out(Ending),
                "derivative": Out(signed(width + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        asked = LOSS_EXPONENTIAL_STAGE - ARRIVAL  # in the cycle before, the argument is written
        answered = asked + INTERPOLATOR_LATENCY
        # The stage in which the logarithm's argument is normalised.
        normalised = LOSS_LOGARITHM_STAGE - INTERPOLATOR_LATENCY - 1 - ARRIVAL
        uses = delay_line(m, self.use, answered, "use")
        firsts = delay_line(m, self.first, answered, "first")
        lasts = delay_line(m, self.last, normalised - 1, "last")
        derives = (
            delay_line(m, self.derive, asked, "derive") if self.config.local_learning else [Const(0)] * (asked + 1)
        )
        hits = delay_line(m, self.hit, answered if self.config.local_learning else 3, "hit")

        # The logarithm waits while exponentials are asked for; the sum's registers hold until the
        # next lane's sum.
        due, waiting, asks = Signal(), Signal(), Signal()
        m.d.comb += due.eq(lasts[-1] | waiting)
        m.d.sync += [asks.eq(due & ~uses[asked - 2]), waiting.eq(due & uses[asked - 2])]

        aligned = self._align(m)
        # The next lane's label may pass before this one's logarithm is asked for, but not before
        # the lane is over.
        label_distance = Signal.like(aligned, name="label_distance")
        lane_distance = Signal.like(aligned, name="lane_distance")
        ended, lane_ending = Signal(Ending), Signal(Ending)
        with m.If(hits[3]):
            m.d.sync += label_distance.eq(aligned)
        with m.If(self.last):
            m.d.sync += ended.eq(self.ending)
        with m.If(lasts[asked]):
            m.d.sync += [lane_distance.eq(label_distance), lane_ending.eq(ended)]
        rounded = Signal(SCALAR_INPUT_BITS + 1, reset_less=True)
        beyond = Signal()
        m.d.sync += [
            rounded.eq((aligned[3 : SCALAR_INPUT_BITS + 4] + 1) >> 1),
            beyond.eq(aligned[SCALAR_INPUT_BITS + 4 :].any()),
        ]

        total = Signal(_SUM_BITS, reset_less=True)
        with m.If(uses[-1]):
            m.d.sync += total.eq(Mux(firsts[-1], 0, total) + self.scalar.y)
        normal, units = self._normalise(m, total, lasts[answered + 1])

        offset = Signal(len(self.loss) - 1, reset_less=True)
        asking, late = Signal(), Signal(Ending)
        m.d.sync += [asking.eq(asks), late.eq(Mux(asks, lane_ending, 0))]
        m.d.comb += [
            self.scalar.enable.eq(uses[asked] | derives[asked] | asking),
            self.loss.eq(offset + self.scalar.y),
            self.ended.eq(delay_line(m, late, INTERPOLATOR_LATENCY, "late")[-1]),
        ]
        common = self._derive(m, uses[asked - 2], units, hits[-1]) if self.config.local_learning else Const(0)
        exponent = Signal(SCALAR_INPUT_BITS + 2)
        m.d.comb += exponent.eq(rounded + common)
        with m.If(asks):
            m.d.sync += [self.scalar.table.eq(ScalarTable.LOG), self.scalar.x.eq(normal)]
            m.d.sync += offset.eq(lane_distance + units)
        with m.Else():
            over = beyond | exponent[SCALAR_INPUT_BITS:].any()
            argument = exponent[:SCALAR_INPUT_BITS] | over.replicate(SCALAR_INPUT_BITS)
            m.d.sync += [self.scalar.table.eq(ScalarTable.EXP), self.scalar.x.eq(argument)]
        return m

    def _align(self, m: Module) -> Signal:
        """Returns the distance with 16 fraction bits, exactly, two cycles later.

        Both the label's distance and the exponential's argument are made from it.
        """
        shift = Signal(range(MAX_FRAC + 1))
        coarse = Signal(len(self.distance) + MAX_FRAC, reset_less=True)
        aligned = Signal(len(self.distance) + MAX_FRAC, reset_less=True)
        m.d.sync += [
            shift.eq(MAX_FRAC - self.z_frac),
            coarse.eq(self.distance.as_unsigned() << (shift[3:] << 3)),
            aligned.eq(coarse << shift[:3]),
        ]
        return aligned

    def _normalise(self, m: Module, total: Signal, taken: Signal) -> tuple[Signal, Signal]:
        """Returns the bits below the sum's leading one, and the logarithm of that leading one.

        They are there two cycles after ``taken``, until the next sum is taken.
        """
        exponent = Signal(range(_SUM_BITS - _ONE))
        mantissa = Signal(_SUM_BITS - 1, reset_less=True)
        with m.If(taken):
            m.d.sync += mantissa.eq(total[1:])
            for i in range(_SUM_BITS - _ONE):
                with m.If(total[_ONE + i]):
                    m.d.sync += exponent.eq(i)
        fine = Signal(3)
        shifted = Signal(SCALAR_INPUT_BITS + 7, reset_less=True)
        units = Signal(range((_SUM_BITS - _ONE) * _LN2), reset_less=True)
        m.d.sync += [
            shifted.eq(mantissa >> (exponent[3:] << 3)),
            fine.eq(exponent[:3]),
            units.eq(Array(i * _LN2 for i in range(_SUM_BITS - _ONE))[exponent]),
        ]
        normal = Signal(SCALAR_INPUT_BITS)
        m.d.comb += normal.eq(shifted >> fine)
        return normal, units

    def _derive(self, m: Module, sums: Signal, units: Signal, hit: Signal) -> Signal:
        """Drives the derivative; returns what is added to the distance to make its exponent.

        That is zero for elements that are summed: each of them clears the register before it uses
        it.
        """
        y = self.scalar.y
        common = Signal(SCALAR_INPUT_BITS)
        with m.If(sums):
            m.d.sync += common.eq(0)
        with m.Elif(self.ended.over):
            m.d.sync += common.eq((units + y + (1 << (_TO_EXPONENT - 1))) >> _TO_EXPONENT)
        # The label's class has one less. That changes only the bit of one and the sign above it, so
        # no carry is needed.
        less = Signal(signed(SCALAR_VALUE_BITS + 1))
        m.d.comb += less.eq(Cat(y[:_ONE], y[_ONE] ^ hit, hit & ~y[_ONE]))
        # It is rounded; halves go up where the exponent was odd.
        cut = _ONE + 1 - self.config.width
        odd = delay_line(m, self.scalar.x[0], INTERPOLATOR_LATENCY, "odd")[-1]
        up = Signal()
        m.d.comb += up.eq(odd | ~less[cut] | less[:cut].any())
        m.d.comb += self.derivative.eq(((less >> cut) + up) >> 1)
        return common
