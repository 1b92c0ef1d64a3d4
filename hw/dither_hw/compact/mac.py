"""The lanes of a compact engine: one multiplier and accumulator each, which are also the chain that
drains them.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig

from .. import vendor
from ..vendor import ice40

__all__ = ["LOW_BITS", "SETTLED", "MacChain"]

LOW_BITS = 32
"""Bits of an accumulator that the multiplier block has itself."""
SETTLED = 5
"""Cycles from the address of a term's words to the cycle in which the sum with it is there, upper
bits included.
"""


class MacChain(wiring.Component):
    """``accumulator += weight * activation`` in every lane, and then all accumulators out, lane 0
    first.

    The lower 32 bits are accumulated within the multiplier blocks. A product is at most a quarter
    of their range, so the upper bits need to know nothing of it: they count up when the sum passes
    from its range's last quarter to the first, and down when it passes from the first to the last.

    Draining, every accumulator takes its upper neighbour's lower bits, and the last one zero. After
    as many cycles as there are lanes they are all zero, and so are the upper bits, which stay where
    they are and are chosen by lane: the next sums begin without anything more.

    Latency: operands and ``accumulate`` in cycle t; products in t+2; sums in t+3, their upper bits
    in t+4. Resources on iCE40UP: a lane is one SB_MAC16 and 13 logic cells; 40 more choose among
    the upper bits of 8 lanes.

    Attributes
    ----------
    weight : In(signed(16))
        For all lanes.
    activation : In(16 * L)
        A number for each lane.
    accumulate : In(1)
        The operands of this cycle are a term.
    shift : In(1)
        Take the next lane's accumulator; not while there are terms on their way.
    lane : In(range(L))
        How many shifts there were: whose sum ``total`` is.
    clear : In(1)
        With the last shift.
    total : Out(signed(accumulator width))
        The sum at the chain's end.

    :param config: the engine: one row, 16 bits.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "weight": In(signed(config.width)),
                "activation": In(config.lanes * config.width),
                "accumulate": In(1),
                "shift": In(1),
                "lane": In(range(config.lanes)),
                "clear": In(1),
                "total": Out(signed(config.accumulator_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, width = self.config.lanes, self.config.width
        due = [self.accumulate]
        for stage in range(3):
            tap = Signal(name=f"due{stage}")
            m.d.sync += tap.eq(due[-1])
            due.append(tap)
        adding, added = due[2], due[3]
        totals = [Signal(LOW_BITS, name=f"total{lane}") for lane in range(lanes)]
        hold = Signal()
        m.d.comb += hold.eq(~(adding | self.shift))
        upper = []
        for lane, total in enumerate(totals):
            chain: Value = totals[lane + 1] if lane + 1 < lanes else Const(0, LOW_BITS)
            operand = self.activation[lane * width : (lane + 1) * width]
            if vendor.family(platform) == vendor.ICE40UP:
                ice40.multiply_accumulate(
                    m, name=f"mac{lane}", a=self.weight, b=operand, load=self.shift, hold=hold, chain=chain, total=total
                )
            else:
                self._twin(m, lane, operand, hold, chain, total)
            upper.append(self._upper(m, lane, total, added))
        m.d.comb += self.total.eq(Cat(totals[0], Array(upper)[self.lane]))
        return m

    def _twin(self, m: Module, lane: int, operand: Value, hold: Value, chain: Value, total: Signal) -> None:
        """What SB_MAC16 does."""
        a, b = (Signal(signed(self.config.width), name=f"{name}{lane}") for name in ("a", "b"))
        product = Signal(LOW_BITS, name=f"product{lane}")
        m.d.sync += [a.eq(self.weight), b.eq(operand), product.eq(a * b)]
        with m.If(~hold):
            m.d.sync += total.eq(Mux(self.shift, chain, total + product))

    def _upper(self, m: Module, lane: int, total: Signal, added: Signal) -> Signal:
        """A lane's upper bits."""
        first, last = (Signal(name=f"{name}{lane}") for name in ("first", "last"))
        up, down = (Signal(name=f"{name}{lane}") for name in ("up", "down"))
        upper = Signal(self.config.accumulator_width - LOW_BITS, name=f"upper{lane}")
        quarter = total[-2:]
        m.d.sync += [first.eq(quarter == 0b00), last.eq(quarter == 0b11)]
        m.d.comb += [up.eq(added & last & (quarter == 0b00)), down.eq(added & first & (quarter == 0b11))]
        with m.If(self.clear):
            m.d.sync += upper.eq(0)
        with m.Else():
            # Minus one and a carry: one adder, not two.
            m.d.sync += upper.eq((Cat(Const(1, 1), upper) + Cat(up, down.replicate(len(upper))))[1:])
        return upper
