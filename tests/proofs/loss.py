"""LOSS's arithmetic: what becomes of the lanes' losses, and the cross-entropy around its tables."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Mux, Value

from dither.arch.config import EngineConfig
from dither.arch.isa import LossKind, LossMode
from dither.arch.tables import SCALAR_INPUT_BITS, SCALAR_VALUE_BITS
from dither.arch.timing import (
    INTERPOLATOR_LATENCY,
    LOSS_EXPONENTIAL_STAGE,
    LOSS_FINISH_CYCLES,
    LOSS_RESULT_CYCLES,
)
from dither_hw.loss.entropy import ARRIVAL, COUNT_BITS, MAX_FRAC, CrossEntropy
from dither_hw.loss.results import LOSS_BITS, LossResults
from tests.benches.mutation import Change
from tests.cocotb.faults import only, value

from .harness import Bench, Proof

CONFIG = EngineConfig(rows=1, lanes=2, lanes_per_table=1, width=16)
_LN2 = 45426
"""The natural logarithm of 2, with 16 fraction bits."""
_ONE = 17
"""A sum of exponentials counts in units of 2**-17, and is one at least."""


def specify_results(bench: Bench) -> None:
    """A lane's loss has 16 fraction bits, or twice those of the outputs, and gets ``loss_frac``."""
    m, dut = bench.m, bench.dut
    port = Value.cast(dut.fields)
    m.d.comb += port.eq(bench.constant(len(port), "fields"))
    fields = dut.fields
    bench.assume((fields.loss_frac <= MAX_FRAC) & (fields.z_frac <= MAX_FRAC))
    fraction = Mux(fields.kind == LossKind.SQUARED_ERROR, fields.z_frac << 1, MAX_FRAC)
    shift = (fraction + MAX_FRAC - fields.loss_frac).as_unsigned()[:6]
    scaled = dut.raw << MAX_FRAC
    rounded = (scaled + Mux(shift == 0, 0, (Const(1, 1) << shift) >> 1)) >> shift
    most = (1 << LOSS_BITS) - 1
    lane = Mux(rounded > most, most, rounded)[:LOSS_BITS]
    settled = bench.past(bench.started, 1, name="settled")
    counted = bench.past(Mux(dut.ending.counts, lane, 0), LOSS_FINISH_CYCLES - 1, name="lane")
    clipped = bench.past(dut.ending.counts & (rounded > most), LOSS_FINISH_CYCLES - 1, name="over_most")
    known = bench.past(settled, LOSS_FINISH_CYCLES - 1, name="known")
    bench.implies(known, bench.register("clipped") == counted, "loss of a lane")
    total = bench.past(Mux(dut.start, 0, dut.loss + bench.register("clipped"))[:32], name="total")
    bench.check(dut.loss == total, "sum")

    half = 1 << CONFIG.width - 1
    number = dut.derivative
    limited = Mux(number >= half, half - 1, Mux(number < -half, -half, number))[: CONFIG.width]
    error = fields.mode == LossMode.ERROR
    given = bench.past(Mux(dut.live, limited, 0), LOSS_RESULT_CYCLES, name="given")
    written = bench.past(dut.valid, LOSS_RESULT_CYCLES, name="written")
    bench.implies(written & error, dut.result.data == given, "derivative")
    beyond = dut.valid & dut.live & ((number >= half) | (number < -half))
    bench.implies(
        known & error,
        dut.saturations == clipped + bench.past(beyond, LOSS_RESULT_CYCLES, name="beyond"),
        "clips",
    )


def specify_entropy(bench: Bench) -> None:
    """Distances, exponents, logarithms of the sums' leading ones, and derivatives."""
    m, dut = bench.m, bench.dut
    m.d.comb += dut.z_frac.eq(bench.constant(5, "z_frac"))
    bench.assume(dut.z_frac <= MAX_FRAC)
    known = bench.past(bench.started, 3, name="known")
    exact = dut.distance.as_unsigned() << (MAX_FRAC - dut.z_frac)[:5]
    bench.implies(known, bench.register("aligned") == bench.past(exact, 2, name="exact"), "distance")

    # The argument of an exponential has 12 fraction bits; what lies beyond it is its largest.
    most = (1 << SCALAR_INPUT_BITS) - 1
    distance = bench.past((bench.register("aligned") + 8) >> 4, name="distance")
    exponent = distance + bench.register("common")
    x, y = bench.register("scalar__x"), dut.scalar.y
    asks = bench.past(bench.register("asks"), name="asked")
    argument = bench.past(Mux(exponent > most, most, exponent)[:SCALAR_INPUT_BITS], name="argument")
    bench.implies(known & ~asks, x == argument, "argument of an exponential")

    # Behind a sum: its leading one, that one's logarithm, and the bits below it.
    answered = LOSS_EXPONENTIAL_STAGE - ARRIVAL + INTERPOLATOR_LATENCY
    total = bench.past(bench.register("total"), name="total")
    place, mantissa = bench.register("exponent"), bench.register("mantissa")
    taken = bench.past(bench.register(f"last_{answered + 1}"), name="taken")
    bench.implies(taken & (total >= 1 << _ONE), (total >> _ONE >> place) == 1, "leading one")
    bench.implies(taken, mantissa == total[1:], "bits of the sum")
    logarithms = Array(i * _LN2 for i in range(SCALAR_VALUE_BITS + COUNT_BITS - _ONE))
    place = bench.past(place, name="place")
    normal = bench.past(mantissa, name="bits") >> place
    bench.implies(known, bench.register("units") == logarithms[place], "logarithm of the leading one")
    bench.implies(known, bench.register("normal") == normal[:SCALAR_INPUT_BITS], "bits below the leading one")

    # Softmax minus one for the label's class, rounded; a half goes up where the argument was odd.
    less = y - (bench.past(dut.hit, answered, name="hit") << _ONE)
    odd = bench.past(x[0], INTERPOLATOR_LATENCY, name="odd")
    cut = _ONE + 2 - CONFIG.width
    half = 1 << cut - 1
    tie = (less & ((1 << cut) - 1)) == half
    rounded = (less + Mux(tie & ~odd, 0, half)) >> cut
    late = bench.past(bench.started, answered + 1, name="late")
    bench.implies(late & (y <= 1 << _ONE), dut.derivative == rounded, "derivative")


PROOFS = (
    Proof(
        "results of LOSS",
        "A lane's loss is shifted, rounded half-up and clipped to 24 bits, and added where the lane counts; a "
        "derivative is clipped and written, zero where its lane does not count; each clip counts.",
        "two lanes of 16 bits; fields that stay",
        lambda: LossResults(CONFIG),
        specify_results,
        faults=(
            Change("no rounding", "rounded", only(">>", lambda old: (old << 1) - 1 >> 1)),
            Change("results' clips are not counted", "result_clip", value(lambda old: Const(0))),
        ),
        depth=8,
        fault_depth=12,
        slow=True,
    ),
    Proof(
        "cross-entropy of LOSS",
        "Distances are aligned and exponents rounded and clipped; behind a sum come the bits below its leading one and "
        "that one's logarithm; derivatives are softmax minus one for the label's class, rounded.",
        "16 bits; the tables' answers free, up to one",
        lambda: CrossEntropy(CONFIG),
        specify_entropy,
        faults=(
            Change("halves go up", "up", value(lambda old: Const(1))),
            Change("no rounding of exponents", "rounded", only(">>", lambda old: (old << 1) - 1 >> 1)),
        ),
        depth=12,
        fault_depth=20,
        slow=True,
    ),
)
