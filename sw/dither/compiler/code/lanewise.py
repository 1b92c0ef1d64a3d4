"""Arithmetic on whole activation words, lane by lane: copies, sums, products, derivatives of
activation functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...arch.isa import OUTER_LOOPS, Instruction, Operand
from ...arch.isa.assembler import Assembler
from .nests import Access, Drain, contract_nest
from .registers import ZERO

__all__ = ["Words", "combine", "copy", "multiply"]


@dataclass(frozen=True, slots=True)
class Words:
    """Some activation words: all positions of a loop nest, innermost loop first."""

    base: int
    loops: tuple[tuple[int, int], ...]
    """Pairs of a loop's count and stride."""
    index: int = ZERO
    """The register that is added to the base."""

    @property
    def count(self) -> int:
        """How many words they are."""
        total = 1
        for count, _ in self.loops:
            total *= count
        return total

    @property
    def extent(self) -> int:
        """Words from the first to the last."""
        return 1 + sum((count - 1) * stride for count, stride in self.loops)

    def at(self, base: int) -> Words:
        """The same loops elsewhere."""
        return Words(base, self.loops)

    def part(self, parts: int, index: int = ZERO) -> Words:
        """The first of some equal parts; ``index`` says how far another is behind it."""
        (count, stride), *others = self.loops
        assert not others or parts == 1
        return Words(self.base, ((count // parts, stride), *others), index if parts > 1 else self.index)

    def each(self, inner: tuple[int, ...] = ()) -> Access:
        """The operand of a lane-wise nest that runs over these words in its outer loops, from o1
        on.
        """
        steps = (*inner, *[0] * (3 - len(inner)))
        return Access(self.base, (*steps, 0, *(stride for _, stride in self.loops)), index=self.index)

    @property
    def outer(self) -> tuple[int, ...]:
        """Iterations of such a nest's outer loops."""
        return (1, *(count for count, _ in self.loops))


assert len(OUTER_LOOPS) == 4  # Words may have three loops.


def multiply(
    engine: EngineConfig,
    what: str,
    left: Words | int,
    right: Words,
    target: int | Words,
    shift: int,
    operand: Operand = Operand.LANE,
    bias: tuple[int, int] | None = None,
) -> Instruction:
    """``target = (left * right + bias) >> shift`` for all words of ``right``.

    :param left: as many words, or a single word.
    :param target: where the results stand, or their first word if they stand as ``right`` does.
    :param operand: what is made of ``left``.
    :param bias: two single words, whose product is added.
    """
    over = (target if isinstance(target, Words) else right.at(target)).each()
    return contract_nest(
        engine,
        what,
        inner=(),
        outer=right.outer,
        w=Access(left) if isinstance(left, int) else left.each(),
        x=right.each(),
        y=Access(over.base, over.strides[3:]),
        drain=Drain(shift),
        operand=operand,
        bias=None if bias is None else Access(bias[0]),
        one=0 if bias is None else bias[1],
    )


def combine(
    engine: EngineConfig, what: str, words: Words, other: Words, factor: int, one: int, target: int, shift: int
) -> Instruction:
    """``target = (words * one + other * factor) >> shift``.

    :param factor: the word that the second term is multiplied by.
    :param one: the word that the first is.
    :param target: first word of the results, which stand as ``other`` does.
    """
    return contract_nest(
        engine,
        what,
        inner=(),
        outer=words.outer,
        w=Access(factor),
        x=other.each(),
        y=Access(target, other.each().strides[3:]),
        drain=Drain(shift),
        operand=Operand.LANE,
        bias=Access(words.base, words.each().strides[3:], index=words.index),
        one=one,
    )


def copy(asm: Assembler, source: int, target: int, count: int, zero: int, step: int = 1) -> None:
    """Emits a copy of activation words.

    :param zero: a word of zeros.
    :param step: from source word to source word; 0 fills with one.
    """
    asm.emit(
        "DITHER",
        count=count,
        x_base=source,
        x_step=step,
        y_base=target,
        y_step=1,
        scale=zero,
        gate=0,
        block=0,
        seed=ZERO,
        step=ZERO,
        probe=ZERO,
        offset=ZERO,
    )
