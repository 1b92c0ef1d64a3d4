"""What UPDATE computes with: its shifter and its multiplier give what whole numbers give."""

from __future__ import annotations

from amaranth.hdl import Const, Mux

from dither_hw.update.update import RoundingShifter, WideMultiplier
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

_HALF = 16


def specify_shifter(bench: Bench) -> None:
    """Half-up: a half of the last place is added, and what is below it is cut."""
    dut = bench.dut
    half = Mux(dut.amount == 0, 0, (Const(1, 1) << dut.amount) >> 1)
    rounded = (dut.value + half) >> dut.amount
    fits = rounded[: RoundingShifter.RESULT_BITS].as_signed() == rounded
    floor = dut.value >> dut.amount
    allowed = bench.past(fits & (dut.amount < RoundingShifter.RESULT_BITS), RoundingShifter.LATENCY, name="allowed")
    expected = bench.past(rounded[: RoundingShifter.RESULT_BITS], RoundingShifter.LATENCY, name="expected")
    floors = bench.past(floor[: RoundingShifter.RESULT_BITS], RoundingShifter.LATENCY - 1, name="floors")
    soon = bench.past(dut.amount < RoundingShifter.RESULT_BITS, RoundingShifter.LATENCY - 1, name="soon")
    bench.implies(allowed, dut.result.as_unsigned() == expected, "rounded")
    bench.implies(soon, dut.floor.as_unsigned() == floors, "floor")


def specify_multiplier(bench: Bench) -> None:
    """A product is the sum of its halves' products, as two's complement defines numbers.

    The solver takes the products of 16 and 17 bits by 18 as they are; what it proves is that they
    are put together right, a factor's highest bit included, and come when they must.
    """
    dut = bench.dut
    factor = dut.b.as_signed()
    high, low = dut.a[_HALF:].as_signed() * factor, dut.a[:_HALF].as_unsigned() * factor
    # What an unsigned factor is more than the same bits with a sign.
    more = Mux(dut.b[-1], dut.a << len(dut.b), 0)
    product = ((high << _HALF) + low + more)[: len(dut.product)]
    expected = bench.past(product, WideMultiplier.LATENCY, name="expected")
    begun = bench.past(bench.started, WideMultiplier.LATENCY, name="begun")
    bench.implies(begun, dut.product.as_unsigned() == expected, "product")


PROOFS = (
    Proof(
        "shifter of UPDATE",
        "Four cycles later, the output is the number shifted and rounded half-up; a cycle earlier, what is cut.",
        "50 bits to 48, every shift",
        RoundingShifter,
        specify_shifter,
        faults=(
            Change("rounds down", "result", only(">>", lambda old: (old.operands[0] - 1) >> 1)),
            Change("the coarse shift is too short", "coarse", only(">>", lambda old: old.operands[0])),
        ),
        depth=6,
    ),
    Proof(
        "multiplier of UPDATE",
        "Products of 32 signed bits and 18 unsigned ones are put together of two halves' products, each in its cycle.",
        "",
        WideMultiplier,
        specify_multiplier,
        faults=(
            Change("the highest bit is a sign", "missing0", lambda old, c, m: Const(0)),
            Change("halves overlap", "total", only("<<", lambda old: old.operands[0])),
        ),
        depth=8,
    ),
)
