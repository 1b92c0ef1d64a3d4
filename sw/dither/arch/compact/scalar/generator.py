"""The random bits of PERTURB and ACCUMULATE in microcode: Threefry-2x32-20, a block of 64 bits at a
time.

Bits come sixteen at a time in :attr:`Probes.word`, the next parameter's lowest. For COORDINATE,
:attr:`Probes.index` says instead which parameter is moved.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...generator import BLOCK_BITS, KEY_PARITY, ROTATIONS, ROUNDS_PER_INJECTION
from ...isa import Distribution
from .assembler import NONE, SH, STATE_NEXT, A, Assembler, P, Q, Register
from .layout import Layout
from .machine import Flag, Jump, Operation, When
from .operands import field, read_register, slot

__all__ = ["NEXT_WORD", "SETUP", "WORD_READY", "Probes"]

SETUP = "set probes up"
"""The subroutine that reads what PERTURB and ACCUMULATE have in common; see :class:`Probes`."""
NEXT_WORD = "next word"
"""Where to jump for the next sixteen bits: sets :attr:`Probes.word` and :attr:`Probes.bits`,
changes A, Q, F, P, SH.
"""
WORD_READY = "word ready"
"""Where it goes on then; for the caller to write."""
_WORD = 16
_BLOCK_WORDS = BLOCK_BITS // _WORD
_INJECTIONS = 5
_NO_INDEX = 0xFFFF
"""More than any parameter's."""


@dataclass(frozen=True, slots=True)
class Probes:
    """The registers that the generator's subroutines work with.

    Those of a block are x0 and x1 of Threefry, lower and upper halves; its output words move down
    to the first of them.
    """

    inner: Register
    tiles: Register
    distribution: Register
    negative_pad: Register
    """Minus the indices that are skipped behind an input's last output."""
    bits: Register
    """Bits that are left in ``word``."""
    word: Register
    x0_high: Register
    x1_low: Register
    x1_high: Register
    spare_low: Register
    spare_high: Register
    words: Register
    """Words of 16 bits that are left of the block, and one more."""
    first_low: Register
    first_high: Register
    """The next block's x0: its number plus the first key word."""
    second_low: Register
    second_high: Register
    """Every block's x1: the probe plus the second key word."""
    index: Register
    """COORDINATE: index of the parameter that is moved, from the tensor's first one on; else one
    that no tensor has."""
    rounds: Register
    """Pairs of groups of rounds that are left."""

    @classmethod
    def allocate(cls, code: Assembler) -> Probes:
        """Allocates the registers in the assembler's current scope."""
        return cls(*(code.register(name) for name in cls.__slots__))

    def write(self, code: Assembler, layout: Layout) -> None:
        """The subroutine :data:`SETUP`, and :data:`NEXT_WORD`."""
        with code.scope():
            self._write_setup(code, layout)
        self._write_next_word(code)
        self._write_generator(code, layout)

    def _write_setup(self, code: Assembler, layout: Layout) -> None:
        name = "PERTURB"  # ACCUMULATE's fields are the same up to the distribution
        keys = [code.pair(f"key {i}") for i in range(3)]
        block, probe = code.pair("block"), code.pair("probe")
        code.label(SETUP)
        slot(code, self.inner, 1)
        slot(code, self.tiles, 2)
        code.neg(A, self.tiles)
        code.and_(Q, 7)
        code.neg(self.negative_pad, Q)
        field(code, block[0], name, "block")
        field(code, block[1], name, "block", skip=_WORD)
        read_register(code, *keys[0], name, "seed")
        read_register(code, *keys[1], name, "step")
        read_register(code, *probe, name, "probe")
        field(code, self.distribution, name, "distribution")
        for half in range(2):
            code.load(A, keys[0][half])
            code.xor(A, keys[1][half])
            code.load(Q, KEY_PARITY >> _WORD * half)
            code.xor(keys[2][half], Q)
        _sum(code, (self.first_low, self.first_high), block, keys[0])
        _sum(code, (self.second_low, self.second_high), probe, keys[1])
        code.load(P, layout.scratch)
        for injection in range(1, _INJECTIONS + 1):
            left, right = keys[injection % 3], keys[(injection + 1) % 3]
            code.load(STATE_NEXT, left[0])
            code.load(STATE_NEXT, left[1])
            code.load(A, injection)
            code.add(STATE_NEXT, right[0])
            code.load(A, 0)
            code.adc(STATE_NEXT, right[1])
        self._coordinate(code, block, probe)
        code.load(Q, 0)
        code.load(self.bits, Q)
        code.load(Q, 1)
        code.load(self.words, Q)
        code.ret()

    def _coordinate(self, code: Assembler, block: tuple[Register, Register], probe: tuple[Register, Register]) -> None:
        """``index``: the probe's number less the first index."""
        code.load(SH, 6)
        code.load(A, block[0])
        code.funnel(Q, 0)
        code.load(A, probe[0])
        code.sub(self.index, Q)
        code.load(A, block[1])
        code.funnel(Q, block[0])
        code.load(A, probe[1])
        code.sbc(NONE, Q, flag=Flag.ZERO)
        code.load(Q, _NO_INDEX)
        code.load(self.index, Q, when=When.NOT_F)
        code.load(A, self.distribution)
        code.xor(NONE, int(Distribution.COORDINATE), flag=Flag.ZERO)
        code.load(self.index, Q, when=When.NOT_F)

    def _write_next_word(self, code: Assembler) -> None:
        code.label(NEXT_WORD)
        code.dec(self.words, self.words, flag=Flag.ZERO)
        code.jump("random block", Jump.F)
        for target, source in ((self.word, self.x0_high), (self.x0_high, self.x1_low), (self.x1_low, self.x1_high)):
            _copy(code, target, source)
        code.label("next word: there")
        code.load(Q, _WORD)
        code.load(self.bits, Q)
        code.jump(WORD_READY)

    def _write_generator(self, code: Assembler, layout: Layout) -> None:
        """Five groups of four rounds, the rotations of either kind in turn, with what SETUP has put
        into the state memory added behind each."""
        code.label("random block")
        code.load(Q, _BLOCK_WORDS)
        code.load(self.words, Q)
        _copy(code, self.word, self.first_low)
        _copy(code, self.x0_high, self.first_high)
        _copy(code, self.x1_low, self.second_low)
        _copy(code, self.x1_high, self.second_high)
        code.inc(self.first_low, self.first_low)
        code.load(A, 0)
        code.adc(self.first_high, self.first_high)
        code.load(P, layout.scratch)
        code.load(Q, -(-_INJECTIONS // 2))
        code.load(self.rounds, Q)
        code.label("rounds")
        self._group(code, ROTATIONS[:ROUNDS_PER_INJECTION])
        code.dec(self.rounds, self.rounds, flag=Flag.ZERO)
        code.jump("next word: there", Jump.F)
        self._group(code, ROTATIONS[ROUNDS_PER_INJECTION:])
        code.jump("rounds")

    def _group(self, code: Assembler, rotations: tuple[int, ...]) -> None:
        """Four rounds and an injection.

        A rotation by less than half takes both halves of x1 to other registers, one by more only
        the upper half.
        """
        (low, high), (spare_low, spare_high) = (self.x1_low, self.x1_high), (self.spare_low, self.spare_high)
        for rotation in rotations:
            code.load(SH, rotation % _WORD)
            code.load(A, low)
            code.funnel(Q, high)
            if rotation < _WORD:
                code.add(self.word.also_a, self.word)
                code.xor(spare_low, Q)
                code.load(A, high)
                code.funnel(Q, low)
                code.adc(self.x0_high.also_a, self.x0_high)
                code.xor(spare_high, Q)
                low, spare_low = spare_low, low
            else:
                # What Q holds becomes the upper half.
                code.add(self.word, self.word)
                code.load(A, high)
                code.funnel(low, low)
                code.adc(self.x0_high.also_a, self.x0_high)
                code.xor(spare_high, Q)
                code.load(A, self.word)
                code.xor(low, low)
            high, spare_high = spare_high, high
        for target, source in (
            (self.word, self.word),
            (self.x0_high, self.x0_high),
            (self.x1_low, low),
            (self.x1_high, high),
        ):
            if source is not target:
                code.load(Q, source)
            code.load(A, STATE_NEXT)
            code.operate(
                Operation.ADD if target in (self.word, self.x1_low) else Operation.ADC,
                target,
                target if source is target else Q,
            )


def _sum(
    code: Assembler, total: tuple[Register, Register], left: tuple[Register, ...], right: tuple[Register, ...]
) -> None:
    """Of 32 bits."""
    for operation, target, a, b in zip((Operation.ADD, Operation.ADC), total, left, right, strict=True):
        code.load(A, a)
        code.load(Q, b)
        code.operate(operation, target, Q)


def _copy(code: Assembler, target: Register, source: Register) -> None:
    code.load(Q, source)
    code.load(target, Q)
