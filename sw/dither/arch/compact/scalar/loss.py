"""LOSS, mode SUM: lane by lane, as docs/architecture words it, bit by bit.

There are up to 32,767 outputs: the sum of their exponentials has 32 bits then. Addresses of the
activation memory have no more than 15 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...config import EngineConfig
from ...isa import LossKind
from ...tables import ScalarTable
from .arithmetic import WORD, ZEROS, Arithmetic, copy, lookup
from .assembler import ACTIVATION, AP, CONTROL, CP, LANE, NONE, SH, A, Assembler, Q, Register
from .layout import layout
from .machine import Flag, Jump, When
from .operands import REGISTER_HIGH, REGISTER_LOW, field, place

__all__ = ["LN2", "loss"]

LN2 = 45426
"""The natural logarithm of 2 with 16 fraction bits."""
_POINT_FRAC = 12
"""Fraction bits of an exponential's argument."""
_TOP = 0x8000
_ONES = 0xFFFF
_SAT_24 = 0xFF00
"""What ``saturate`` is told: 25 bits signed, 24 of which unsigned numbers fill."""
_FIELDS = ("z_base", "z_step", "count", "label", "t_base", "t_step")
"""Fields of 16 bits, each one bit behind the beginning of a slot, because ``kind`` stands before
them. Only their lower 15 bits are taken, all that addresses of activations and counts of outputs
have."""


@dataclass(frozen=True, slots=True)
class _Registers:
    """What LOSS keeps: of the instruction, and of a lane."""

    z_base: Register
    z_step: Register
    count: Register
    label: Register
    t_base: Register
    t_step: Register
    squares: Register
    """The bit ``kind``."""
    z_frac: Register
    scale: Register
    """By how many bits an output's distance is shifted to the left for its exponential; negative:
    to the right, by 16 at the most."""
    half: Register
    """What rounds it then; zero if nothing is left of it."""
    shift: Register
    """From a lane's loss in full to ``loss_frac`` bits: to the right, or negative."""
    limit: Register
    """Labels from here on mask their lanes, negative ones being the highest."""
    lane: Register
    """Lanes left, the one at work included."""
    total: tuple[Register, ...]
    """Of all lanes."""
    z: Register
    """Where the next output stands."""
    t: Register
    """Where the next target stands."""
    left: Register
    """Outputs left, the one at work included."""
    highest: Register
    """The greatest output, while it is looked for with its highest bit inverted; a target
    likewise."""
    index: Register
    """How far the label's output is away."""
    distance: Register
    """By how much the greatest output is above the label's."""


def _registers(code: Assembler) -> _Registers:
    names = (
        *_FIELDS,
        "squares",
        "z_frac",
        "scale",
        "half",
        "shift",
        "limit",
        "lane",
        "z",
        "t",
        "left",
        "highest",
        "index",
        "distance",
    )
    return _Registers(total=code.registers("total0", "total1"), **{name: code.register(name) for name in names})


def loss(code: Assembler, config: EngineConfig, shared: Arithmetic) -> None:
    """Appends LOSS to the microprogram, as a routine of its opcode.

    :param shared: the registers of the subroutines.
    """
    with code.scope():
        regs = _registers(code)
        _begin(code, config, regs, shared)
        code.label("LOSS lane")
        code.dec(LANE, regs.lane)
        code.load(A, 0)
        for word in (*shared.w[:3], *shared.n, regs.highest):
            code.and_(word, word)
        code.call("LOSS outputs")
        code.load(NONE, regs.squares, flag=Flag.ZERO)
        code.jump("LOSS entropy", Jump.F)
        _squares(code, regs, shared)
        _entropy(code, config, regs, shared)
        _add(code, regs, shared)
        _outputs(code, regs)


def _begin(code: Assembler, config: EngineConfig, regs: _Registers, shared: Arithmetic) -> None:
    """The fields. w[4] stays zero: all numbers here are unsigned."""
    assert [place("LOSS", name)[0] for name in ("z_frac", "loss_frac")] == [97, 102]
    assert config.activation_depth <= 1 << 15
    assert [place("LOSS", name) for name in _FIELDS] == [(16 * slot + 1, 16) for slot in range(6)]
    code.label("LOSS")
    code.load(CP, len(_FIELDS))
    code.load(A, 31)
    code.load(SH, 10)
    code.funnel(Q, CONTROL)
    code.and_(regs.shift, Q)
    code.load(SH, 15)
    code.funnel(Q, CONTROL)
    code.and_(regs.z_frac, Q)
    code.load(A, 0)
    for word in (shared.w[4], *regs.total):
        code.and_(word, word)
    for number in reversed(range(len(_FIELDS))):
        code.load(CP, number)
        code.funnel(getattr(regs, _FIELDS[number]), CONTROL)
    code.load(A, LossKind.SQUARED_ERROR)
    code.and_(regs.squares, CONTROL, flag=Flag.ZERO)
    code.load(Q, regs.count)
    code.load(Q, _TOP, When.NOT_F)
    code.load(regs.limit, Q)
    code.load(A, regs.z_frac)
    code.add(A, regs.z_frac)
    code.load(A, 16, When.F)
    code.sub(regs.shift, regs.shift)
    code.load(Q, regs.z_frac)
    code.load(A, _POINT_FRAC)
    code.sub(Q, Q)
    code.load(regs.scale, Q)
    code.load(A, regs.z_frac)
    code.sub(NONE, _POINT_FRAC + WORD + 1, flag=Flag.CARRY)
    code.load(Q, -WORD)
    code.load(regs.scale, Q, When.F)
    code.sub(SH, _POINT_FRAC + 1)
    code.load(A, 1)
    code.funnel(Q, 0)
    code.load(Q, 0, When.F)
    code.load(regs.half, Q)
    copy(code, regs.lane, config.lanes)


def _squares(code: Assembler, regs: _Registers, shared: Arithmetic) -> None:
    """The sum of squares: 32 bits each, 48 in all, to w[0 ... 2]."""
    w, target = shared.w, regs.highest
    copy(code, regs.t, regs.t_base)
    with code.repeat(regs.left):
        # The difference of two signed numbers has 17 bits, its magnitude 16.
        _output(code, regs)
        code.load(A, _TOP)
        code.xor(Q, ACTIVATION)
        code.load(AP, regs.t)
        code.xor(target, ACTIVATION)
        code.load(A, Q)
        code.sub(Q, target, flag=Flag.CARRY)
        code.neg(Q, Q, When.NOT_F)
        code.load(shared.factor, Q)
        code.load(A, w[0])
        code.call("multiply")
        code.load(w[0], Q)
        code.add(w[1], w[1])
        code.load(A, 0)
        code.adc(w[2], w[2])
        code.load(A, regs.t_step)
        code.add(regs.t, regs.t)
    code.jump("LOSS add")


def _entropy(code: Assembler, config: EngineConfig, regs: _Registers, shared: Arithmetic) -> None:
    """ln(sum exp(max z - z)) + max z - z_label with 16 fraction bits, to w[0 ... 2]."""
    areas = layout(config)
    w, n, y = shared.w, shared.n, shared.y
    code.label("LOSS entropy")
    with code.repeat(regs.left):
        _output(code, regs)
        code.load(A, _TOP)
        code.xor(Q, ACTIVATION)
        code.load(A, Q)
        code.sub(NONE, regs.highest, flag=Flag.CARRY)
        code.load(regs.highest, Q, When.F)

    code.load(A, _TOP)
    code.xor(regs.highest, regs.highest)
    code.load(AP, regs.label)
    code.load(regs.index, ACTIVATION)
    code.call("LOSS outputs")
    with code.repeat(regs.left):
        _output(code, regs)
        code.load(A, regs.highest)
        code.sub(Q, ACTIVATION)
        code.dec(regs.index, regs.index, flag=Flag.CARRY)  # none where it is zero
        code.load(regs.distance, Q, When.NOT_F)
        # To the table's fraction bits; what is more than a word is clipped.
        code.load(SH, regs.scale)
        code.load(NONE, regs.scale, flag=Flag.SIGN)
        code.jump("LOSS left", Jump.NOT_F)
        code.load(A, regs.half)
        code.add(Q, Q)
        code.load(A, 0)
        code.adc(A, 0)
        code.funnel(Q, Q)
        code.jump("LOSS point")
        code.label("LOSS left")
        code.load(A, 0)
        code.funnel(NONE, Q, flag=Flag.ZERO)
        code.load(A, Q)
        code.funnel(Q, 0)
        code.load(Q, _ONES, When.NOT_F)
        code.load(NONE, 0)  # as many words as the other way
        code.label("LOSS point")
        code.load(shared.point, Q)
        lookup(code, areas.table(ScalarTable.EXP))
        code.load(A, y[0])
        code.add(n[0], n[0])
        code.load(A, y[1])
        code.adc(n[1], n[1])

    copy(code, w[2], regs.distance)
    code.load(A, 0)
    code.and_(w[1], w[1])
    code.and_(w[3], w[3])
    code.load(Q, regs.z_frac)
    code.call("shift")
    code.call("normalise")
    copy(code, shared.point, n[1])
    lookup(code, areas.table(ScalarTable.LOG))
    # y + (e - 17) * LN2, e = 32 less the leading zeros.
    code.load(A, ZEROS + 32 - 17)
    code.sub(Q, shared.zeros)
    code.load(shared.factor, Q)
    code.load(Q, LN2)
    code.load(A, y[0])
    code.call("multiply")
    code.add(y[1], y[1])
    code.load(A, Q)
    code.add(w[0], w[0])
    code.load(A, y[1])
    code.adc(w[1], w[1])
    code.load(A, 0)
    code.adc(w[2], w[2])


def _add(code: Assembler, regs: _Registers, shared: Arithmetic) -> None:
    """The lane's loss in ``loss_frac`` bits, clipped to 24, zero if the label says so, to the
    total; and the next lane."""
    w = shared.w
    code.label("LOSS add")
    # A shift to the left by n is one by 16 - n to the right of 2**16 times as much; what has more
    # than 32 bits then is clipped anyway.
    code.sex(A, regs.shift)
    code.and_(NONE, w[2], flag=Flag.ZERO)
    copy(code, w[1], _ONES, When.NOT_F)
    code.load(NONE, regs.shift, flag=Flag.SIGN)
    copy(code, w[2], w[1], When.F)
    copy(code, w[1], w[0], When.F)
    code.load(A, 0)
    code.and_(w[0], w[0], When.F)
    code.load(Q, regs.shift)
    code.load(A, 16)
    code.add(Q, Q, When.F)
    code.call("shift again")
    # Saturation takes the highest of 48 bits for a sign: whatever has it set is too large.
    code.load(NONE, w[2], flag=Flag.SIGN)
    copy(code, w[2], 1, When.F)
    code.load(AP, regs.label)
    code.load(A, ACTIVATION)
    code.sub(NONE, regs.limit, flag=Flag.CARRY)
    code.load(A, 0)
    for word in w[:3]:
        code.and_(word, word, When.F)
    code.load(Q, _SAT_24)
    code.call("saturate")
    code.load(A, w[0])
    code.add(regs.total[0], regs.total[0])
    code.load(A, w[1])
    code.adc(regs.total[1], regs.total[1])
    code.dec(regs.lane, regs.lane, flag=Flag.ZERO)
    code.jump("LOSS lane", Jump.NOT_F)
    field(code, A, "LOSS", "target")
    code.add(CP, REGISTER_LOW)
    code.load(CONTROL, regs.total[0])
    code.add(CP, REGISTER_HIGH)
    code.load(CONTROL, regs.total[1])
    code.done()


def _outputs(code: Assembler, regs: _Registers) -> None:
    """The subroutine ``LOSS outputs``, which begins with the first one."""
    code.label("LOSS outputs")
    copy(code, regs.z, regs.z_base)
    copy(code, regs.left, regs.count)
    code.ret()


def _output(code: Assembler, regs: _Registers) -> None:
    """AP to an output, and on to the next; changes A."""
    code.load(AP, regs.z)
    code.load(A, regs.z_step)
    code.add(regs.z, regs.z)
