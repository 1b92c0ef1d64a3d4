"""The requantiser equals its formula."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Signal, signed

from dither.arch.timing import REQUANTISER_LATENCY
from dither_hw.contract.requantiser import Requantiser
from tests.benches.mutation import Change

from .harness import Bench, Proof

WIDTH, OUTPUT = 48, 18


def specify(bench: Bench) -> None:
    m, dut = bench.m, bench.dut
    shift, relu = bench.constant(6, "shift"), bench.constant(1, "relu")
    bench.assume(shift <= 47)
    m.d.comb += [dut.shift.eq(shift), dut.relu.eq(relu), dut.stages.eq(-1)]
    x = bench.past(dut.x, REQUANTISER_LATENCY, name="x")
    half, exact, result = Signal(WIDTH), Signal(signed(WIDTH + 1)), Signal(signed(OUTPUT))
    m.d.comb += [half.eq((Const(1) << shift) >> 1), exact.eq((x + half) >> shift)]
    high, low = (1 << (OUTPUT - 1)) - 1, -(1 << (OUTPUT - 1))
    clipped = (exact > high) | (exact < low)
    m.d.comb += result.eq(Mux(relu & (x < 0), 0, Mux(exact > high, high, Mux(exact < low, low, exact))))
    age = Signal(range(REQUANTISER_LATENCY + 1))
    with m.If(age != REQUANTISER_LATENCY):
        m.d.sync += age.eq(age + 1)
    with m.If(age == REQUANTISER_LATENCY):
        bench.check(dut.y == result, "output")
        bench.check(dut.clipped == clipped, "clipped")


PROOFS = (
    Proof(
        "requantiser",
        "Four cycles later, the output is the number shifted, rounded half-up and clipped.",
        "48 bits to 18, every shift",
        lambda: Requantiser(width=WIDTH, output=OUTPUT),
        specify,
        faults=(Change("rounds down", "total", lambda old, component, m: old - 1),),
        depth=REQUANTISER_LATENCY + 2,
    ),
)
