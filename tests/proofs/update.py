"""UPDATE's shifter, through which all six shifts of a parameter go, rounds half-up."""

from __future__ import annotations

from amaranth.hdl import Const, Mux

from dither_hw.update.update import RoundingShifter
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof


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
        slow=True,
    ),
)
