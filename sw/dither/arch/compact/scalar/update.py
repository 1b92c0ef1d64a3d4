"""UPDATE: one optimiser step for every parameter, as docs/architecture words it, bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import EngineConfig
from ...isa import Memory, Rule
from ...moments import ADAM_FRAC, COARSE_SHIFT, EPSILON, LARGEST_SQUARE, MOMENT_FRAC, ROOT_SHIFT, SQUARE_FRAC
from ...tables import ScalarTable
from .arithmetic import ZEROS, Arithmetic, copy, copy_sign, lookup
from .assembler import CONTROL, CP, NONE, SH, STATE, STATE_NEXT, A, Assembler, P, Q, Register
from .layout import Layout, layout
from .machine import Flag, Jump, When
from .operands import REGISTER_HIGH, REGISTER_LOW, place, slot

__all__ = ["update"]

_TOP = 0x8000
_SAT_17, _SAT_18, _SAT_32 = 0xFFFF, 0xFFFE, 0x8000
"""What ``saturate`` is told."""


@dataclass(frozen=True, slots=True)
class _Registers:
    """What UPDATE keeps: of the instruction, and of a parameter."""

    count: Register
    rule: Register
    gradient_shift: Register
    """Its lowest six bits."""
    decay1: Register
    decay2: Register
    rate: tuple[Register, ...]
    rate_shift: Register
    master: Register
    """Where the parameter stands in MASTER, and less a constant in the moments."""
    m: tuple[Register, ...]
    """The old first moment, sign-extended to three words."""
    t: tuple[Register, ...]
    """The shifted gradient with a first moment's fraction bits."""
    x: Register
    """The upper word of a long product's signed factor; before, a first moment's least step."""
    shift: Register
    """By which the long product is shifted; negative if another product follows. No shift sees the
    sign.
    """


def _registers(code: Assembler) -> _Registers:
    names = ("count", "rule", "gradient_shift", "decay1", "decay2", "rate_shift", "master", "x", "shift")
    return _Registers(
        rate=code.registers("rate0", "rate1"),
        m=code.registers("m0", "m1", "m2"),
        t=code.registers("t0", "t1"),
        **{name: code.register(name) for name in names},
    )


def update(code: Assembler, config: EngineConfig, shared: Arithmetic) -> None:
    """Appends UPDATE to the microprogram, as a routine of its opcode.

    :param shared: the registers of the subroutines.
    """
    areas = layout(config)
    assert areas.base(Memory.MASTER) == 0
    with code.scope():
        regs = _registers(code)
        _begin(code, regs)
        code.label("UPDATE parameter")
        _gradient(code, areas, regs, shared)
        _adam(code, areas, regs, shared)
        _moment(code, areas, regs, shared)
        _product(code, regs, shared)
        _apply(code, regs, shared)


def _begin(code: Assembler, regs: _Registers) -> None:
    """The fields. A funnel by 16 - b takes a field at bit b; what A shifts in above it is masked
    with all else that is no part of it."""
    assert [place("UPDATE", name)[0] for name in ("rule", "gradient_shift", "decay1", "decay2")] == [32, 35, 41, 45]
    assert [place("UPDATE", name)[0] for name in ("rate", "rate_shift")] == [49, 53]
    code.label("UPDATE")
    slot(code, regs.master.also_a, 0)
    code.add(regs.master, regs.master)
    slot(code, regs.count, 1)
    slot(code, A, 3)
    code.load(CP, 2)
    code.load(SH, 3)
    code.funnel(Q, CONTROL)
    code.load(A, 15)
    code.and_(regs.decay2, Q)
    code.load(SH, 7)
    code.funnel(Q, CONTROL)
    code.and_(regs.decay1, Q)
    code.load(SH, 13)
    code.funnel(regs.gradient_shift, CONTROL)
    code.load(A, 7)
    code.and_(regs.rule, CONTROL)
    code.load(CP, 3)
    code.load(SH, 11)
    code.funnel(Q, CONTROL)
    code.load(A, 31)
    code.and_(regs.rate_shift, Q)
    code.load(SH, 15)
    code.funnel(Q, CONTROL)
    code.load(A, 15)
    code.and_(A, Q)
    code.add(CP, REGISTER_LOW)
    code.load(regs.rate[0], CONTROL)
    code.add(CP, REGISTER_HIGH)
    code.load(A, 3)
    code.and_(regs.rate[1], CONTROL)


def _gradient(code: Assembler, areas: Layout, regs: _Registers, shared: Arithmetic) -> None:
    """h = sat17(rnd(g, gradient_shift)); g = 0; for the rules of signs, h = 4096 * sign(h). On to
    the direction for the rules without moments; for the others, t = h << 10, or for ADAM h << 15.
    """
    w, (t0, t1) = shared.w, regs.t
    # Three words a parameter where MASTER has two; P does not see the highest bit, which may be
    # anything.
    code.load(A, regs.master)
    code.ror(Q, regs.master)
    code.add(A, Q)
    code.add(P, areas.base(Memory.GRADIENT))
    for word in w[1:4]:
        code.load(word, STATE)
        code.load(STATE_NEXT, 0)
    copy_sign(code, w[4], w[3])
    code.load(Q, regs.gradient_shift)
    code.call("shift")
    code.load(Q, _SAT_17)
    code.call("saturate")

    code.load(SH, regs.rule)
    _choose(code, Rule.SIGN, Rule.SIGN_MOMENTUM)
    code.jump("UPDATE h", Jump.NOT_F)
    # (4096 ^ s) - s is 4096 or, with a sign s of all ones, -4096. Zero stays.
    code.load(A, w[1])
    code.or_(NONE, w[0], flag=Flag.ZERO)
    code.xor(A, 4096)
    code.sub(Q, w[1])
    code.load(w[0], Q, When.NOT_F)

    code.label("UPDATE h")
    _choose(code, Rule.SGD, Rule.SIGN)
    code.jump("UPDATE direction", Jump.F)
    _choose(code, Rule.ADAM)
    code.load(SH, MOMENT_FRAC)
    code.load(SH, ADAM_FRAC, When.F)
    code.load(A, w[1])
    code.funnel(Q, w[0])
    code.load(t1, Q)
    code.load(A, w[0])
    code.funnel(Q, 0)
    code.load(t0, Q)
    code.jump("UPDATE first moment", Jump.NOT_F)


def _adam(code: Assembler, areas: Layout, regs: _Registers, shared: Arithmetic) -> None:
    """v + rnd((min(h**2, 2**32 - 2) << 13) - v, c), v being unpacked; then the reciprocal root of n
    = max(v + epsilon, 1), and by what the product is shifted."""
    w, n = shared.w, shared.n
    # |h| has 16 bits, but for -2**16, which seems to be 0: its square is taken for 2**32 - 2 then.
    code.xor(A, w[1])
    code.sub(Q, w[1])
    code.load(shared.factor, Q)
    code.load(A, 0)
    code.call("multiply")
    code.load(w[1], Q)
    code.load(Q, 0)
    code.or_(w[2], Q)
    code.load(NONE, w[0], flag=Flag.ZERO)
    code.sex(A, regs.t[1])
    code.or_(w[2], w[2], When.F)
    code.and_(A, LARGEST_SQUARE & 0xFFFF)
    code.or_(w[1], w[1], When.F)
    code.load(SH, SQUARE_FRAC)
    code.load(A, 0)
    code.funnel(Q, w[2])
    code.load(w[3], Q)
    code.load(A, w[2])
    code.funnel(Q, w[1])
    code.load(w[2], Q)
    code.load(A, w[1])
    code.funnel(Q, 0)
    code.load(w[1], Q)

    # v to n, either scale.
    _point(code, areas, regs, Memory.MOMENT2)
    code.load(n[0], STATE_NEXT)
    code.load(n[1], STATE, flag=Flag.SIGN)
    copy(code, n[2], 0)
    code.load(SH, COARSE_SHIFT)
    code.load(A, n[1])
    code.and_(Q, _TOP - 1)
    code.load(A, 0)
    code.funnel(n[2], Q, When.F)
    code.load(A, n[1])
    code.funnel(Q, n[0])
    code.load(n[1], Q, When.F)
    code.load(A, n[0])
    code.funnel(Q, 0)
    code.load(n[0], Q, When.F)

    code.load(A, w[1])
    code.sub(Q, n[0])
    code.load(w[1], Q)
    code.load(A, w[2])
    code.sbc(Q, n[1])
    code.load(w[2], Q)
    code.load(A, w[3])
    code.sbc(Q, n[2])
    code.load(w[3], Q)
    copy_sign(code, w[4], w[3])
    code.load(Q, regs.decay2)
    code.call("shift")
    for index in range(3):
        code.load(A, w[index])
        (code.adc if index else code.add)(n[index], n[index])
    for index in range(3):
        copy(code, w[index], n[index])

    # Rounded to the coarse scale, in case it needs that, and packed.
    code.load(A, 1 << COARSE_SHIFT - 1)
    code.add(w[0], w[0])
    code.load(A, 0)
    code.adc(w[1], w[1])
    code.adc(w[2], w[2])
    code.load(SH, 16 - COARSE_SHIFT)
    code.load(A, w[1])
    code.funnel(w[0], w[0])
    code.load(A, w[2])
    code.funnel(w[1], w[1])
    code.load(A, _TOP)
    code.or_(w[1], w[1])
    code.sex(A, n[1])
    code.or_(NONE, n[2], flag=Flag.ZERO)
    copy(code, w[0], n[0], When.F)
    copy(code, w[1], n[1], When.F)
    _point(code, areas, regs, Memory.MOMENT2)
    code.load(STATE_NEXT, w[0])
    code.load(STATE, w[1])

    # Epsilon: EPSILON >> decay2, which the funnel makes of twice as much by a shift to the left.
    code.load(A, 15)
    code.sub(SH, regs.decay2)
    code.load(A, 0)
    code.funnel(Q, 2 * EPSILON)
    code.load(A, Q)
    code.add(n[0], n[0])
    code.load(A, 0)
    code.adc(n[1], n[1])
    code.adc(n[2], n[2])
    # 45 bits are too many to be normalised: where there are more than 32, twelve are cut. The
    # shift is 13 + ((e + 1) >> 1), e = 32 less the leading zeros, and 12 more where bits were cut.
    # Nothing but zeros is normalised to e = 0 and no fraction, as 1 is.
    code.load(NONE, n[2], flag=Flag.ZERO)
    code.load(Q, ZEROS + 32 + 1 + 2 * ROOT_SHIFT)
    code.load(regs.shift, Q)
    code.load(Q, ZEROS + 32 + 1 + 2 * ROOT_SHIFT + 12)
    code.load(regs.shift, Q, When.NOT_F)
    code.load(SH, 4)
    code.load(A, n[1])
    code.funnel(n[0], n[0], When.NOT_F)
    code.load(A, n[2])
    code.funnel(n[1], n[1], When.NOT_F)
    code.load(A, 0)
    code.funnel(n[2], n[2], When.NOT_F)
    code.call("normalise")
    # Subtraction's carry marks the shift negative; the lowest bit of e + 1, which is carry now,
    # goes on top of the fraction.
    code.load(A, regs.shift)
    code.sub(Q, shared.zeros)
    code.ror(Q, Q)
    code.load(regs.shift, Q)
    code.ror(Q, n[1])
    code.load(shared.point, Q)
    lookup(code, areas.table(ScalarTable.RSQRT))


def _moment(code: Assembler, areas: Layout, regs: _Registers, shared: Arithmetic) -> None:
    """The first moment; on to the product for ADAM, else u = sat18(rnd(m, 10)).

    MOMENTUM: m - step(m, b) + t; the others: m + step(t - m, b). MOMENTUM is done like the others,
    with m + t for m, so that -m is left to round: -rnd(m, b) = rnd(-m - 1, b) for b > 0, because
    half-up turned round is half-down, which the unit less undoes. It comes from leaving out the
    carry of the subtraction. A step that rounds to zero is one unit, unless there is no way to go:
    m is zero for MOMENTUM, t - m for the others. What is shifted has its sign in any case.
    """
    w, m, (t0, t1), unit = shared.w, regs.m, regs.t, regs.x
    code.label("UPDATE first moment")
    _point(code, areas, regs, Memory.MOMENT1)
    code.load(m[0], STATE_NEXT)
    code.load(m[1], STATE)
    copy_sign(code, m[2], m[1])
    code.load(A, m[0])
    code.or_(Q, m[1])
    code.load(unit, Q)
    code.load(SH, regs.rule)
    _choose(code, Rule.MOMENTUM)
    code.load(A, t0)
    code.add(m[0], m[0], When.F)
    code.load(A, t1)
    code.adc(m[1], m[1], When.F)
    code.sex(A, t1)
    code.adc(m[2], m[2], When.F)
    code.neg(NONE, regs.decay1)  # C: whether it is zero
    code.neg(NONE, 0, When.NOT_F)  # C: one
    code.load(A, t0)
    code.sbc(Q, m[0])
    code.load(w[1], Q)
    code.load(A, t1)
    code.sbc(Q, m[1])
    code.load(w[2], Q)
    code.sex(A, t1)
    code.sbc(Q, m[2])
    code.load(w[3], Q)
    code.load(w[4], Q)
    code.load(A, w[1])
    code.or_(A, w[2])
    code.or_(Q, w[3])
    code.load(unit, Q, When.NOT_F)
    code.sex(A, w[4])
    code.or_(Q, 1)
    code.load(NONE, unit, flag=Flag.ZERO)
    code.load(Q, 0, When.F)
    code.load(unit, Q)
    code.load(Q, regs.decay1)
    code.call("shift")
    code.load(A, w[0])
    code.or_(A, w[1])
    code.or_(NONE, w[2], flag=Flag.ZERO)
    copy(code, w[0], unit, When.F)
    code.sex(Q, unit)
    code.load(w[1], Q, When.F)
    code.load(w[2], Q, When.F)
    for index in range(3):
        code.load(A, m[index])
        (code.adc if index else code.add)(w[index], w[index])
    code.load(Q, _SAT_32)
    code.call("saturate")
    _point(code, areas, regs, Memory.MOMENT1)
    code.load(STATE_NEXT, w[0])
    code.load(STATE, w[1])
    code.load(SH, regs.rule)
    _choose(code, Rule.ADAM)
    code.jump("UPDATE product", Jump.F)
    copy(code, w[4], w[2])
    code.load(Q, MOMENT_FRAC)
    code.call("shift again")


def _product(code: Assembler, regs: _Registers, shared: Arithmetic) -> None:
    """rnd(u * y, shift), u = w[0 ... 1] of 32 bits signed, y of 18 bits unsigned. ADAM begins with
    it, its direction being a product; then, and for all other rules, u is a direction to clip, and
    y the rate."""
    w, x, (y0, y1) = shared.w, regs.x, shared.y
    code.label("UPDATE clipped direction")
    code.load(Q, _SAT_18)
    code.call("saturate")
    code.label("UPDATE direction")
    copy(code, y0, regs.rate[0])
    copy(code, y1, regs.rate[1])
    copy(code, regs.shift, regs.rate_shift)
    code.label("UPDATE product")
    copy(code, shared.factor, w[0])
    copy(code, x, w[1])
    code.load(Q, y0)
    code.load(A, 0)
    code.call("multiply")
    code.load(w[1], Q)
    code.load(Q, y1)
    code.call("multiply")
    code.load(w[2], Q)
    code.load(Q, 0)
    code.or_(w[3], Q)
    copy(code, shared.factor, x)
    code.load(Q, y0)
    code.load(A, w[2])
    code.call("multiply")
    code.load(w[2], Q)
    code.load(Q, y1)
    code.add(A, w[3])  # products leave C as it is until the word above is made
    code.call("multiply")
    code.load(w[3], Q)
    code.load(Q, 0)
    code.adc(w[4], Q)
    # A negative u was taken for one 2**32 larger.
    code.load(NONE, x, flag=Flag.SIGN)
    code.load(A, w[3])
    code.sub(Q, y0)
    code.load(w[3], Q, When.F)
    code.load(A, w[4])
    code.sbc(Q, y1)
    code.load(w[4], Q, When.F)
    code.load(Q, regs.shift)
    code.call("shift")
    code.load(NONE, regs.shift, flag=Flag.SIGN)
    code.jump("UPDATE clipped direction", Jump.F)


def _apply(code: Assembler, regs: _Registers, shared: Arithmetic) -> None:
    """p = sat32(p - change), and the next parameter. Masters stand with their highest bit
    inverted.
    """
    w = shared.w
    code.load(P, regs.master)
    code.load(A, STATE_NEXT)
    code.sub(w[0], w[0])
    code.load(A, _TOP)
    code.xor(Q, STATE)
    code.load(A, Q)
    code.sbc(w[1], w[1])
    code.sex(A, Q)
    code.sbc(w[2], w[2])
    code.load(Q, _SAT_32)
    code.call("saturate")
    code.load(P, regs.master)
    code.load(STATE_NEXT, w[0])
    code.load(A, _TOP)
    code.xor(STATE, w[1])
    code.load(A, 2)
    code.add(regs.master, regs.master)
    code.dec(regs.count, regs.count, flag=Flag.ZERO)
    code.jump("UPDATE parameter", Jump.NOT_F)
    code.done()


def _choose(code: Assembler, *rules: Rule) -> None:
    """F: whether the rule, which SH is, is one of these; changes A."""
    code.load(A, sum(_TOP >> rule for rule in rules))
    code.funnel(NONE, 0, flag=Flag.SIGN)


def _point(code: Assembler, areas: Layout, regs: _Registers, memory: Memory) -> None:
    """P to the parameter's word in a moment's area."""
    code.load(A, regs.master)
    code.add(P, areas.base(memory))
