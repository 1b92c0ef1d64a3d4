"""UPDATE's arithmetic, stage by stage: each number is what the rules make of those before it.

A parameter's numbers stand in registers that are taken over at fixed times, so that each stage is
proved for itself, between the registers at its beginning and at its end. Products are proved apart
from what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.hdl._ast import SwitchValue

from dither.arch.config import EngineConfig
from dither.arch.isa import MASTER_BITS, Rule
from dither.arch.moments import (
    ADAM_FRAC,
    COARSE_SHIFT,
    EPSILON,
    LARGEST_SQUARE,
    MOMENT_FRAC,
    ROOT_SHIFT,
    SQUARE_FRAC,
    WIDE_BITS,
)
from dither.arch.timing import MULTIPLIER_LATENCY
from dither.golden.update import DIRECTION_BITS, RATE_BITS, RECIPROCAL_BITS, SHIFTED_BITS, SIGN_UNIT
from dither_hw.update.update import RoundingShifter, UpdateUnit, WideMultiplier
from tests.benches.mutation import Change
from tests.cocotb.faults import only, value

from .harness import Bench, Proof

_SHIFTED = DIRECTION_BITS + RATE_BITS
"""Bits of the widest number that is shifted, gradients aside."""
CONFIG = EngineConfig(rows=1, lanes=2, lanes_per_table=1)


def _rounded(number: Value, amount: Value) -> Value:
    """Half-up: a half of the last place is added, and what is below it is cut."""
    return (number + Mux(amount == 0, 0, (Const(1, 1) << amount) >> 1)) >> amount


def _saturated(number: Value, width: int) -> Value:
    low, high = -1 << width - 1, (1 << width - 1) - 1
    return Mux(number < low, low, Mux(number > high, high, number))


def specify_shifter(bench: Bench) -> None:
    dut = bench.dut
    rounded = _rounded(dut.value, dut.amount)
    fits = rounded[: RoundingShifter.RESULT_BITS].as_signed() == rounded
    floor = dut.value >> dut.amount
    allowed = bench.past(fits & (dut.amount < RoundingShifter.RESULT_BITS), RoundingShifter.LATENCY, name="allowed")
    expected = bench.past(rounded[: RoundingShifter.RESULT_BITS], RoundingShifter.LATENCY, name="expected")
    floors = bench.past(floor[: RoundingShifter.RESULT_BITS], RoundingShifter.LATENCY - 1, name="floors")
    soon = bench.past(dut.amount < RoundingShifter.RESULT_BITS, RoundingShifter.LATENCY - 1, name="soon")
    bench.implies(allowed, dut.result.as_unsigned() == expected, "rounded")
    bench.implies(soon, dut.floor.as_unsigned() == floors, "floor")


def specify_multiplier(bench: Bench) -> None:
    """The halves of ``a`` are multiplied by ``b`` as a signed number; what that lacks is added."""
    dut, half = bench.dut, MASTER_BITS // 2
    parts = []
    for name, factor in (("high", dut.a[half:].as_signed()), ("low", dut.a[:half])):
        a, b, product = (bench.register(f"{name}.{signal}") for signal in ("a", "b", "product"))
        bench.check(a == bench.past(factor, name=f"{name}_a"), f"first factor of the {name} half")
        bench.check(b == bench.past(dut.b.as_signed(), name=f"{name}_b"), f"second factor of the {name} half")
        bench.check(product == bench.past(a * b, name=f"{name}_product"), f"product of the {name} half")
        parts.append(bench.past(product, WideMultiplier.LATENCY - MULTIPLIER_LATENCY, name=f"{name}_late"))
    missing = bench.past(Mux(dut.b[-1], dut.a << RATE_BITS, 0), WideMultiplier.LATENCY, name="missing")
    total = (parts[0] << half) + parts[1] + missing
    bench.check(dut.product.as_unsigned() == total[: len(dut.product)], "sum")


class _Stages:
    """Registers of the unit, and when they are taken over."""

    def __init__(self, bench: Bench, quiet: int) -> None:
        """:param quiet: cycles behind a start in which nothing is checked; the stage is later."""
        self.bench = bench
        dut, m = bench.dut, bench.m
        for name in ("fields", "rate"):
            port = Value.cast(getattr(dut, name))
            m.d.comb += port.eq(bench.constant(len(port), name))
        self.rule = dut.fields.rule
        starts = Signal(quiet + 1)
        m.d.comb += starts[0].eq(dut.start)
        m.d.sync += starts[1:].eq(starts)
        self._quiet = ~starts.any()
        phases = bench.register("_phases")
        bench.invariant((phases & (phases - 1)) == 0, "one phase at a time")

    def __getitem__(self, name: str) -> Signal:
        return self.bench.register(name)

    def ago(self, name: str, cycles: int) -> Value:
        """A register's value some cycles ago."""
        return self.bench.past(self[name], cycles, name=f"{name}_{cycles}_ago")

    def check(self, name: str, expected: Value, condition: Value | int = 1) -> None:
        """Says what a register holds in the first cycle behind its time."""
        taken = self.bench.past(self[f"{name}_due_copy"], name=f"{name}_taken")
        right = Signal.like(self[name], name=f"{name}_right")
        self.bench.m.d.comb += right.eq(expected)
        self.bench.implies(taken & self._quiet & condition, self[name] == right, name.replace("_", " "))

    def shifts(
        self, name: str, number: Value, amount: Value, condition: Value | int = 1, *, width: int = _SHIFTED
    ) -> Value:
        """Says what a register takes from the shifter; returns that, a cycle later."""
        shifted = self["shifter.result"][:width].as_signed()
        right = shifted == _rounded(number, amount)[:width].as_signed()
        self.bench.implies(self[f"{name}_due_copy"] & self._quiet & condition, right, f"shift for {name}")
        return self.bench.past(shifted, name=f"{name}_shifted")

    def asks(self, time: int, a: Value, b: Value) -> None:
        """Says what is multiplied at a time."""
        right = (self["a"] == a) & (self["b"] == Value.cast(b)[:RATE_BITS])
        self.bench.implies(self[f"a_{time}_due_copy"] & self._quiet, right, f"factors at {time}")


def specify_gradient(bench: Bench) -> None:
    at = _Stages(bench, 6)
    at.check("h", _saturated(_rounded(at["gradient"].as_signed(), bench.dut.fields.gradient_shift), SHIFTED_BITS))
    h = at["h"]
    by_sign = (at.rule == Rule.SIGN) | (at.rule == Rule.SIGN_MOMENTUM)
    sign = Mux(h > 0, SIGN_UNIT, Mux(h < 0, -SIGN_UNIT, 0))
    at.check("drive", Mux(by_sign, sign, h))
    at.check("magnitude", Mux(h < 0, -h, h))
    at.asks(12, at["magnitude"], at["magnitude"])


def specify_moment1(bench: Bench) -> None:
    """MOMENTUM: ``m - step(m) + s``; the others: ``m + step(s - m)``."""
    at = _Stages(bench, 9)
    momentum = at.rule == Rule.MOMENTUM
    m, drive = at["moment1"].as_signed(), at["drive"]
    s = Mux(at.rule == Rule.ADAM, drive << ADAM_FRAC, drive << MOMENT_FRAC)
    at.check("change1", Mux(momentum, m, s - m))
    at.check("base1", Mux(momentum, m + s, m))
    way = at["change1"]
    rounded = at.shifts("step", way, bench.dut.fields.decay1)
    at.check("step", Mux(rounded == 0, Mux(way > 0, 1, Mux(way < 0, -1, 0)), rounded))
    base, step = at.ago("base1", 1), at.ago("step", 1).as_signed()
    at.check("moved1", Mux(momentum, base - step, base + step))
    at.check("moment1_new", _saturated(at["moved1"], MASTER_BITS))


def specify_moment2(bench: Bench) -> None:
    at = _Stages(bench, 10)
    product = bench.past(at["multiplier.product"], name="squared")
    largest = Const(LARGEST_SQUARE, MASTER_BITS + 1)
    at.check(
        "square", Mux(product > largest, largest, product), (product >= 0) & (product <= 1 << 2 * (SHIFTED_BITS - 1))
    )
    word = at.ago("moment2", 1)
    fine = word[:-1]
    at.check("wide", Mux(word[-1], fine << COARSE_SHIFT, fine))
    at.check("wide_1", at.ago("wide", 1))
    at.check("change2", (at["square"] << SQUARE_FRAC) - at["wide"])
    way = at.shifts("wide_new", at.ago("change2", 1), bench.dut.fields.decay2, width=RoundingShifter.RESULT_BITS)
    at.check("wide_new", at["wide_1"] + way)
    new, top = at["wide_new"], MASTER_BITS - 1
    coarse = _rounded(new, Const(COARSE_SHIFT))
    at.check("moment2_new", Mux(new >= 1 << top, Cat(coarse[:top], 1), new))


def specify_root(bench: Bench) -> None:
    """The exponent is that of the leading one, the argument what stands behind it, and whether the
    moment's own exponent is odd.
    """
    at = _Stages(bench, 8)
    at.check("n", at["wide_new"] + (EPSILON >> bench.dut.fields.decay2))
    n, e = at["n"], at["exponent"]
    taken = bench.past(at["exponent_due_copy"], name="exponent_taken")
    bench.implies(taken & (n != 0), (n >> e) == 1, "exponent")
    n, e = at.ago("n", 1), at.ago("exponent", 1)
    mantissa = ((n << RECIPROCAL_BITS) >> e)[:RECIPROCAL_BITS]
    at.check("argument", Cat(mantissa, ~e[0]), (n >> e) == 1)


def specify_direction(bench: Bench) -> None:
    at = _Stages(bench, 10)
    adam, moment = at.rule == Rule.ADAM, at.rule >= Rule.MOMENTUM
    at.asks(38, at["moment1_new_3"], bench.dut.scalar.y)
    at.check("ratio", bench.past(at["multiplier.product"], name="multiplied"))
    exponent = at.ago("exponent_2", 4)
    number = Mux(adam, at.ago("ratio", 1), at["moment1_new_4"])
    shift = Mux(adam, ROOT_SHIFT + ((exponent + 1) >> 1), MOMENT_FRAC)
    direction = at.shifts("clipped", number, shift, exponent < WIDE_BITS)
    at.check("clipped", _saturated(direction, DIRECTION_BITS))
    at.check("direction", Mux(moment, at["clipped"], at["drive_6"]))
    for name, copies in (("moment1_new", 4), ("drive", 6), ("exponent", 2)):
        for copy in range(1, copies + 1):
            earlier = name if copy == 1 else f"{name}_{copy - 1}"
            at.check(f"{name}_{copy}", at.ago(earlier, 1))


def specify_master(bench: Bench) -> None:
    at = _Stages(bench, 10)
    at.asks(51, at["direction"], bench.dut.rate)
    at.check("change", bench.past(at["multiplier.product"], name="multiplied"))
    change = at.ago("change", 2)
    fits = (change < 1 << DIRECTION_BITS + RATE_BITS - 1) & (change >= -1 << DIRECTION_BITS + RATE_BITS - 1)
    step = at.shifts("moved", change, bench.dut.fields.rate_shift, fits)
    at.check("moved", at.ago("master", 1).as_signed() - step)
    at.check("master_new", _saturated(at["moved"], MASTER_BITS))


def _stage(name: str, claim: str, specify: Callable[[Bench], None], depth: int, fault: Change) -> Proof:
    return Proof(
        f"{name} of UPDATE",
        claim,
        "a row; every rule, shift and decay; fields that stay",
        lambda: UpdateUnit(CONFIG),
        specify,
        faults=(fault,),
        depth=depth,
        fault_depth=30,
        slow=True,
    )


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
    Proof(
        "multiplier of UPDATE",
        "The product is the sum of its halves' products, and of what these lack where the second factor is large.",
        "32 signed bits by 18",
        WideMultiplier,
        specify_multiplier,
        faults=(Change("all factors are signed", "missing0", value(lambda old: Const(0))),),
        depth=6,
    ),
    _stage(
        "gradient",
        "The gradient is shifted, rounded half-up and clipped to 17 bits; what a rule steps by is that or its sign.",
        specify_gradient,
        8,
        Change("zeros have a sign", "drive", value(lambda old: old | 1)),
    ),
    _stage(
        "first moment",
        "The first moment moves as each rule says: by a share of its way, rounded, but by one unit where that is none; "
        "and is clipped to 32 bits.",
        specify_moment1,
        12,
        Change("first moments stand still", "unit", value(lambda old: Const(0))),
    ),
    _stage(
        "second moment",
        "The second moment is unpacked, moves by a share of its way to the square, and is packed as it fits.",
        specify_moment2,
        13,
        Change("second moments have one scale", "wide", only(SwitchValue, lambda old: old.cases[0][1])),
    ),
    _stage(
        "root",
        "The table is asked for the 15 bits behind the leading one of moment and epsilon, and for an odd exponent.",
        specify_root,
        11,
        Change("exponents are one more", "exponent", value(lambda old: old + 1)),
    ),
    _stage(
        "direction",
        "The direction is the first moment, times the root with ADAM, rounded and clipped to 18 bits, or what the rule "
        "steps by.",
        specify_direction,
        13,
        Change("factors lose their lowest bit", "b", value(lambda old: old & ~1)),
    ),
    _stage(
        "step",
        "The parameter goes back by direction times rate, shifted and rounded half-up, and is clipped to 32 bits.",
        specify_master,
        13,
        Change("a unit too far", "moved", value(lambda old: old - 1)),
    ),
)
