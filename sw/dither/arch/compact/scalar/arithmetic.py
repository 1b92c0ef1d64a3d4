"""Subroutines that UPDATE and LOSS share: products, shifts, saturation, leading ones, table
lookups.

Numbers of several words stand in registers, lowest word first. There is one return address, so no
subroutine calls another. None of them takes a time that depends on data.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...config import EngineConfig
from .assembler import CLIP, NONE, SH, STATE, STATE_NEXT, A, Assembler, P, Place, Q, Register
from .machine import Flag, When

__all__ = ["WORD", "ZEROS", "Arithmetic", "arithmetic", "copy", "copy_sign", "lookup", "subroutines"]

ZEROS = 32
"""What ``normalise`` begins to count leading zeros from."""
WORD = 16
"""Bits of a word."""
_ONES = 0xFFFF


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Registers in which the subroutines take their arguments and leave their results; all are
    working registers.
    """

    w: tuple[Register, ...]
    """Five words: what is shifted and saturated."""
    n: tuple[Register, ...]
    """Three words, the highest of which is 0 or 1: what is normalised."""
    point: Register
    """Where a table is looked up."""
    y: tuple[Register, ...]
    """Two words: what a lookup finds, 18 bits unsigned; and the unsigned factor of a long
    product.
    """
    factor: Register
    """The multiplicand of ``multiply``."""
    zeros: Register
    """Leading zeros that ``normalise`` found, and ZEROS."""
    scratch: tuple[Register, ...]
    """Two registers that any subroutine may change."""


def arithmetic(code: Assembler) -> Arithmetic:
    """Appends the subroutines that UPDATE and LOSS share, and returns their registers."""
    return Arithmetic(
        code.registers("w0", "w1", "w2", "w3", "w4"),
        code.registers("n0", "n1", "n2"),
        code.register("point"),
        code.registers("y0", "y1"),
        code.register("factor"),
        code.register("zeros"),
        code.registers("scratch0", "scratch1"),
    )


def subroutines(code: Assembler, config: EngineConfig, regs: Arithmetic) -> None:
    """All of them, behind which nothing falls through."""
    _shift(code, regs)
    _saturate(code, regs)
    _normalise(code, regs)
    _lookup(code, config, regs)


def copy(code: Assembler, target: Place, source: Place | int, when: When = When.ALWAYS) -> None:
    """A register to another, or a number to a register, through Q: two words."""
    code.load(Q, source)
    code.load(target, Q, when)


def copy_sign(code: Assembler, target: Place, source: Place) -> None:
    """A word's sign, sixteen times, to a register: two words."""
    code.sex(Q, source)
    code.load(target, Q)


def lookup(code: Assembler, table: int) -> None:
    """Calls the lookup in the table that begins at word ``table``: ``point`` to y."""
    code.load(Q, table)
    code.call("lookup")


def _shift(code: Assembler, regs: Arithmetic) -> None:
    """``shift``: w[1 ... 4], 64 bits signed, shifted right by Q, 0 to 48, half-up, to w[0 ... 2].

    A shift by s = 16*k - t, 0 <= t < 16, moves k words down and then t bits up, so that one funnel
    for each word does the rest. w[0] takes what falls out: after the funnel its highest bit is the
    one of value 1/2, and rounding half-up adds it: floor(x / 2**s + 1/2) = floor(x / 2**s) + that
    bit. Words that come in on top are copies of w[4], which is right where that is but a sign, or
    the shift too short for copies to come to w[2]. w[4] itself stays.

    ``shift again`` takes w[0 ... 2] instead, and w[4] for what comes in on top.
    """
    w, amount = regs.w, regs.scratch[0]
    code.label("shift again")
    code.load(amount, Q)
    for index in reversed(range(3)):
        copy(code, w[index + 1], w[index])
    code.load(Q, amount)
    code.label("shift")
    code.neg(SH, Q)
    code.load(A, 0)
    code.and_(w[0], w[0])
    code.load(A, 15)
    code.add(amount.also_a, Q)
    code.and_(NONE, 16, flag=Flag.ZERO)
    for index in range(4):
        copy(code, w[index], w[index + 1], When.NOT_F)
    code.and_(NONE, 32, flag=Flag.ZERO)
    for index in range(3):
        copy(code, w[index], w[index + 2], When.NOT_F)
    code.load(w[3], Q, When.NOT_F)
    code.load(A, w[0])
    code.funnel(Q, 0)
    code.rol(NONE, Q)
    for index in range(3):
        code.load(A, w[index + 1])
        code.funnel(w[index], w[index])
    code.load(A, 0)
    for index in range(3):
        code.adc(w[index], w[index])
    code.ret()


def _saturate(code: Assembler, regs: Arithmetic) -> None:
    """``saturate``: w[0 ... 2], 48 bits signed, to n bits, 17 to 32; a clip is counted. w[2] is the
    sign then.

    Q says n: the bits of w[1] that must equal the sign are set, 0xFFFF << (n - 17). What is beyond
    the range becomes the complement of its sign in w[0] and in the other bits of w[1].
    """
    w, (mask, beyond) = regs.w, regs.scratch
    code.label("saturate")
    code.load(mask, Q)
    code.load(Q, w[2])
    code.sex(w[2].also_a, w[2])
    code.xor(beyond, Q)
    code.xor(A, w[1])
    code.and_(A, mask)
    code.or_(NONE, beyond, flag=Flag.ZERO)
    code.load(CLIP, 0, When.NOT_F)
    code.load(A, w[2])
    code.xor(Q, _ONES)
    code.load(w[0], Q, When.NOT_F)
    code.load(A, Q)
    code.xor(Q, mask)
    code.load(w[1], Q, When.NOT_F)
    code.ret()


def _normalise(code: Assembler, regs: Arithmetic) -> None:
    """``normalise``: n, 33 bits unsigned and not zero, shifted left until it is 1 and 32 bits of
    fraction, by as many bits as ``zeros`` says, less ZEROS: a word first, if that is possible."""
    n, zeros, counter = regs.n, regs.zeros, regs.scratch[0]
    code.label("normalise")
    copy(code, zeros, ZEROS)
    code.load(SH, 15)
    code.load(A, n[2])
    code.funnel(NONE, n[1], flag=Flag.ZERO)
    copy(code, n[2], n[1], When.F)
    copy(code, n[1], n[0], When.F)
    copy(code, n[0], 0, When.F)
    copy(code, zeros, ZEROS + 16, When.F)
    copy(code, counter, 16)
    with code.repeat(counter):
        code.load(NONE, n[2], flag=Flag.ZERO)
        code.inc(zeros, zeros, When.F)  # leaves no carry for what comes
        for word in n:
            code.rol(word, word, When.F)
    code.ret()


def _lookup(code: Assembler, config: EngineConfig, regs: Arithmetic) -> None:
    """``lookup``, and ``multiply``.

    The last word of an entry holds the upper bits of either number, the slope's above the value's.
    y = value + ((slope * f + half) >> F). With slope = 2**16 * u + l, u from -2 to 1, that is
    value + ((l * f + half) >> F) + (u * f << 16-F): F steps make the product.
    """
    point, y, f, (place, upper) = regs.point, regs.y, regs.factor, regs.scratch
    fraction = WORD - config.table_bits
    code.label("lookup")
    code.load(place, Q)
    code.load(A, (1 << fraction) - 1)
    code.and_(Q, point)
    code.load(f, Q)
    code.load(SH, config.table_bits)
    code.load(A, 0)
    code.funnel(point.also_a, point)
    code.add(A, point)
    code.add(A, point)
    code.add(P, place)
    code.load(y[0], STATE_NEXT)
    code.load(place.also_a, STATE_NEXT)
    code.and_(Q, 3)
    code.load(y[1], Q)
    code.load(upper.also_a, STATE)
    code.load(SH, 14)
    code.funnel(place, place)
    code.load(Q, f)
    code.load(A, 1 << fraction - 1)
    for _ in range(fraction):
        code.multiply(A, place)
    code.add(y[0], y[0])
    code.load(A, 0)
    code.adc(y[1], y[1])
    # u * f
    code.load(A, upper)
    code.and_(NONE, 4, flag=Flag.ZERO)
    code.load(Q, 0)
    code.load(Q, f, When.NOT_F)
    code.and_(NONE, 8, flag=Flag.ZERO)
    code.load(A, Q)
    code.sub(A, f, When.NOT_F)
    code.sub(Q, f, When.NOT_F)
    code.load(upper, Q)
    code.sex(A, Q)
    code.load(SH, config.table_bits)
    code.funnel(upper, upper)
    code.load(A, Q)
    code.funnel(Q, 0)
    code.load(A, Q)
    code.add(y[0], y[0])
    code.load(A, upper)
    code.adc(y[1], y[1])
    # Clip to 18 bits: below 0 to 0, above to all ones.
    code.load(A, y[1])
    code.and_(NONE, 0xFFFC, flag=Flag.ZERO)
    code.sex(A, y[1])
    code.xor(Q, _ONES)
    code.load(y[0], Q, When.NOT_F)
    code.load(A, Q)
    code.and_(Q, 3)
    code.load(y[1], Q, When.NOT_F)
    code.ret()
    # multiply: factor times Q plus A, all unsigned, to A:Q. It changes neither C nor F.
    code.label("multiply")
    code.multiply_all(f)
    code.ret()
