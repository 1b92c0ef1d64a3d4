"""PERTURB and ACCUMULATE in microcode.

Sums pass 16 bits at a time. A working weight is the upper half of the sum in offset binary, where
the carry tells that it is out of range: it must come if a negative number was added, else must not.
What is added to a parameter depends on its random bit alone, so there are two numbers to choose
from, each with a piece of the program of its own.

Without random bits, one parameter is moved at the most: PERTURB sweeps over the others in the order
of their places, and ACCUMULATE leaves them alone.
"""

from __future__ import annotations

from ...isa import Memory
from .arithmetic import Arithmetic
from .assembler import CLIP, NONE, SH, STATE, STATE_NEXT, WEIGHT, WP, A, Assembler, P, Q, Register
from .generator import NEXT_WORD, SETUP, WORD_READY, Probes
from .layout import STATE_MEMORIES, Layout
from .machine import Flag, Jump, When
from .operands import field, read_register, slot

__all__ = ["write_parameters"]

_HALF = 0x8000
"""What rounds a master's lower half, and what takes the upper half to offset binary or back."""
_MOST = 0x7FFF
_WALK = "walk"
_FIND = "find"
_SWEEP = "sweep"

Pair = tuple[Register, Register]


def write_parameters(code: Assembler, layout: Layout, shared: Arithmetic) -> None:
    """The routines ``PERTURB`` and ``ACCUMULATE``.

    :param shared: the registers of the subroutines.
    """
    with code.scope():
        probes = Probes.allocate(code)
        probes.write(code, layout)
        walk = _Walk(code, probes)
        walk.write()
        single = _Single(code, probes, shared)
        single.write()
        with code.scope():
            _write_perturb(code, layout, probes, walk, single)
        with code.scope():
            _write_accumulate(code, layout, probes, walk, single)


class _Walk:
    """The way through a tensor: inputs, and the outputs of each in runs whose random bits stand in
    one word.

    What is done for a parameter stands behind the call of :data:`_WALK`: the walk returns to it for
    every parameter, P being its place, WP what it is in the weight memory (if the area begins at 0
    and a parameter has two words). It must leave Q alone and write :meth:`end` at its end.
    """

    def __init__(self, code: Assembler, probes: Probes) -> None:
        self.code, self.probes = code, probes
        self.first, self.pointer, self.stride, self.left, self.words = code.registers(
            "first", "pointer", "stride", "left", "words"
        )

    def begin(self, area: int, words: int) -> None:
        """The place of the first parameter and the distance of an input's outputs; a parameter has
        so many words.
        """
        code = self.code
        slot(code, Q, 0)
        code.load(A, area)
        for word in range(words):
            code.add(A if word + 1 < words else self.first, Q)
        code.load(Q, self.probes.inner)
        code.load(A, Q)
        for word in range(1, words):
            code.add(A if word + 1 < words else self.stride, Q)
        code.load(Q, words)
        code.load(self.words, Q)

    def end(self) -> None:
        """Of what is done for a parameter."""
        self.code.dec(Q, Q, flag=Flag.ZERO)
        self.code.jump("walk: parameter", Jump.NOT_F)
        self.code.jump("walk: behind")

    def write(self) -> None:
        """All parameters, to the end of the instruction."""
        code, probes = self.code, self.probes
        code.label(_WALK)
        code.load(Q, self.first)
        code.load(self.pointer, Q)
        code.load(Q, probes.tiles)
        code.load(self.left, Q)
        # A run is all outputs that are left, or as many as there are bits.
        code.label("walk: run")
        code.load(NONE, probes.bits, flag=Flag.ZERO)
        code.jump(NEXT_WORD, Jump.F)
        code.label(WORD_READY)
        code.load(A, self.left)
        code.load(Q, self.left)
        code.sub(NONE, probes.bits, flag=Flag.CARRY)
        code.load(Q, probes.bits, when=When.F)
        code.sub(self.left, Q)
        code.load(A, probes.bits)
        code.sub(probes.bits, Q)
        code.label("walk: parameter")
        code.load(P, self.pointer)
        code.ror(WP, self.pointer)
        code.load(A, self.stride)
        code.add(self.pointer, self.pointer)
        code.ror(probes.word, probes.word, flag=Flag.CARRY)
        code.ret()
        code.label("walk: behind")
        code.load(NONE, self.left, flag=Flag.ZERO)
        code.jump("walk: run", Jump.NOT_F)
        # The indices up to the next multiple of eight belong to nothing.
        code.load(A, probes.negative_pad)
        code.add(probes.bits, probes.bits)
        code.load(NONE, probes.negative_pad, flag=Flag.ZERO)
        code.load(SH, probes.negative_pad)
        code.load(A, 0)
        code.funnel(probes.word, probes.word, when=When.NOT_F)
        code.load(A, self.words)
        code.add(self.first, self.first)
        code.dec(probes.inner, probes.inner, flag=Flag.ZERO)
        code.jump(_WALK, Jump.NOT_F)
        code.done()


class _Single:
    """The one parameter that is moved without random bits.

    :data:`_SWEEP` is a subroutine that writes the working weights of the :attr:`left` masters from
    P on, of which there may be none; A is :data:`_HALF`, and :attr:`weight`, which goes on with
    them, the place of the first in the weight memory, as WP is.
    """

    def __init__(self, code: Assembler, probes: Probes, shared: Arithmetic) -> None:
        self.code, self.probes, self.shared = code, probes, shared
        self.place, self.left, self.weight, self._pitch, self._input = code.registers(
            "place", "left", "weight", "pitch", "input"
        )

    def find(self) -> None:
        """Its place, in parameters from the first one on, and F if there is none; changes A and Q,
        and leaves the number of inputs in the factor of products.
        """
        code = self.code
        code.call(_FIND)
        code.call("multiply")
        code.load(self.place, Q)

    def write(self) -> None:
        self._write_find()
        self._write_sweep()

    def _write_find(self) -> None:
        """An index is an input's number times a pitch, and an output's number below that."""
        code, probes = self.code, self.probes
        code.label(_FIND)
        code.load(A, probes.tiles)
        code.load(Q, probes.negative_pad)
        code.sub(self._pitch, Q)
        code.load(Q, probes.inner)
        code.load(self.left, Q)
        code.load(Q, 0)
        code.load(self._input, Q)
        code.load(A, probes.index)
        with code.repeat(self.left):
            code.sub(Q, self._pitch, flag=Flag.CARRY)
            code.load(probes.index.also_a, Q, when=When.F)
            code.inc(self._input, self._input, when=When.F)
        # There is none in the padding behind an input's outputs and behind the last input.
        code.load(Q, 0)
        code.sub(NONE, probes.tiles, flag=Flag.CARRY)
        code.load(Q, 1, when=When.F)
        code.load(A, self._input)
        code.sub(NONE, probes.inner, flag=Flag.CARRY)
        code.load(Q, 1, when=When.F)
        code.dec(NONE, Q, flag=Flag.ZERO)
        code.load(Q, probes.inner)
        code.load(self.shared.factor, Q)
        code.load(Q, probes.index)
        code.ret()

    def _write_sweep(self) -> None:
        """A master's lower half rounds the upper one, and _HALF takes that from offset binary; so
        the sum is out of range if it is -2**15 with a carry."""
        code = self.code
        code.label(_SWEEP)
        code.jump("sweep: next")
        code.label("sweep: parameter")
        code.rol(NONE, STATE_NEXT)
        code.adc(WEIGHT, STATE_NEXT, flag=Flag.SIGN)
        code.adc(NONE, _MOST, when=When.F, flag=Flag.CARRY)
        code.load(WEIGHT, _MOST, when=When.F)
        code.load(CLIP, 0, when=When.F)
        code.inc(self.weight, self.weight)
        code.load(WP, self.weight)
        code.label("sweep: next")
        code.dec(self.left, self.left, flag=Flag.CARRY)
        code.jump("sweep: parameter", Jump.F)
        code.ret()


def _write_perturb(code: Assembler, layout: Layout, probes: Probes, walk: _Walk, single: _Single) -> None:
    one, zero, amplitude = code.pair("one"), code.pair("zero"), code.pair("amplitude")
    sign = code.register("sign")
    code.label("PERTURB")
    code.call(SETUP)
    walk.begin(layout.base(Memory.MASTER), STATE_MEMORIES[Memory.MASTER])
    field(code, amplitude[0], "PERTURB", "amplitude")
    field(code, amplitude[1], "PERTURB", "amplitude", skip=16)
    # A parameter whose bit is 1 gets the amplitude, and what rounds it.
    code.load(A, _HALF)
    code.load(Q, amplitude[0])
    code.add(one[0], Q)
    code.load(A, 0)
    code.load(Q, amplitude[1])
    code.adc(one[1], Q)
    code.sex(Q, Q)
    code.adc(sign, Q)
    code.dec(NONE, probes.distribution, flag=Flag.ZERO)
    code.jump("perturb: single", Jump.NOT_F)
    # The others get minus the amplitude.
    code.load(A, _HALF)
    code.load(Q, amplitude[0])
    code.sub(zero[0], Q)
    code.load(A, 0)
    code.load(Q, amplitude[1])
    code.sbc(zero[1], Q)
    code.sex(Q, Q)
    code.sbc(NONE, Q, flag=Flag.SIGN)
    # Never are both negative.
    code.jump("perturb: zero down", Jump.F)
    code.load(NONE, sign, flag=Flag.SIGN)
    code.jump("perturb: one down", Jump.F)
    _write_perturb_bodies(code, walk, one, zero)
    _write_perturb_single(code, probes, walk, single, one, sign)


def _write_perturb_single(
    code: Assembler, probes: Probes, walk: _Walk, single: _Single, one: Pair, sign: Register
) -> None:
    """Where none is moved, the last one is, by nothing."""
    behind, negative, limit = code.registers("behind", "negative", "limit")
    code.label("perturb: single")
    single.find()
    code.load(Q, 0)
    code.load(one[1], Q, when=When.F)
    code.load(sign, Q, when=When.F)
    code.load(Q, _HALF)
    code.load(one[0], Q, when=When.F)
    code.load(A, 0)
    code.load(Q, probes.tiles)
    code.call("multiply")
    code.dec(Q, Q)
    code.load(single.place, Q, when=When.F)
    code.load(A, Q)
    code.load(Q, single.place)
    code.load(single.left, Q)
    code.sub(behind, Q)
    code.rol(NONE, sign)
    code.load(A, 0)
    code.load(Q, 0)
    code.adc(negative, Q)
    code.load(A, _MOST)
    code.load(Q, negative)
    code.add(limit, Q)
    code.load(P, walk.first)
    code.ror(Q, walk.first)
    code.load(single.weight, Q)
    code.load(WP, Q)
    code.load(A, _HALF)
    code.call(_SWEEP)
    code.load(A, one[0])
    code.add(NONE, STATE_NEXT)
    code.load(A, one[1])
    code.adc(A, STATE_NEXT)
    code.xor(WEIGHT, _HALF)
    code.load(A, 0)
    code.adc(A, 0)
    code.xor(NONE, negative, flag=Flag.ZERO)
    code.load(WEIGHT, limit, when=When.NOT_F)
    code.load(CLIP, 0, when=When.NOT_F)
    code.inc(single.weight, single.weight)
    code.load(WP, single.weight)
    code.load(Q, behind)
    code.load(single.left, Q)
    code.load(A, _HALF)
    code.call(_SWEEP)
    code.done()


def _write_perturb_bodies(code: Assembler, walk: _Walk, one: Pair, zero: Pair) -> None:
    code.call(_WALK)
    code.jump("perturb: zero up", Jump.NOT_F)
    code.label("perturb: one up")
    _move(code, walk, one, False)
    code.label("perturb: one down")
    code.call(_WALK)
    code.jump("perturb: zero up", Jump.NOT_F)
    _move(code, walk, one, True)
    code.label("perturb: zero down")
    # As many words as the other ways.
    for _ in range(2):
        code.load(NONE, 0)
    code.call(_WALK)
    code.jump("perturb: one up", Jump.F)
    _move(code, walk, zero, True)
    code.label("perturb: zero up")
    _move(code, walk, zero, False)


def _move(code: Assembler, walk: _Walk, change: Pair, negative: bool) -> None:
    """The working weight of the master at P, and whether it was clipped."""
    code.load(A, change[0])
    code.add(NONE, STATE_NEXT)
    code.load(A, change[1])
    code.adc(A, STATE, flag=Flag.CARRY)
    code.xor(WEIGHT, _HALF)
    out_of_range = When.NOT_F if negative else When.F
    code.load(WEIGHT, _HALF if negative else _MOST, when=out_of_range)
    code.load(CLIP, 0, when=out_of_range)
    walk.end()


def _write_accumulate(code: Assembler, layout: Layout, probes: Probes, walk: _Walk, single: _Single) -> None:
    one = code.registers("one low", "one middle", "one high")
    zero = code.registers("zero low", "zero middle", "zero high")
    code.label("ACCUMULATE")
    code.call(SETUP)
    walk.begin(layout.base(Memory.GRADIENT), STATE_MEMORIES[Memory.GRADIENT])
    read_register(code, one[0], Q, "ACCUMULATE", "difference")
    code.load(one[1], Q)
    code.sex(Q, Q)
    code.load(one[2], Q)
    code.dec(NONE, probes.distribution, flag=Flag.ZERO)
    code.jump("accumulate: single", Jump.NOT_F)
    code.load(A, 0)
    for operation, target, source in zip((code.sub, code.sbc, code.sbc), zero, one, strict=True):
        code.load(Q, source)
        operation(target, Q)
    code.call(_WALK)
    code.jump("accumulate: one", Jump.F)
    _add(code, zero)
    walk.end()
    code.label("accumulate: one")
    _add(code, one)
    walk.end()
    # Where none is moved, nothing is added to the first one.
    code.label("accumulate: single")
    single.find()
    code.load(Q, 0)
    for number in (single.place, *one):
        code.load(number, Q, when=When.F)
    code.load(A, walk.first)
    code.load(Q, single.place)
    for last in (False, False, True):
        code.add(P if last else A, Q)
    _add(code, one)
    code.done()


def _add(code: Assembler, change: tuple[Register, ...]) -> None:
    """To the gradient at P."""
    for operation, number in zip((code.add, code.adc, code.adc), change, strict=True):
        code.load(A, number)
        operation(STATE_NEXT, STATE)
