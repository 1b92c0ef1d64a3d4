"""Fixed random projections of output errors or of the target, and the distance of outputs from such
a projection.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...arch.isa import Distribution, Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, combine
from ..code.nests import Access, Drain, Nest, contract_nest
from ..code.registers import SEED, ZERO

__all__ = ["FixedMatrix", "Projected", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedMatrix:
    """A random matrix of one magnitude, made again in every step: only its signs' seed is kept
    anywhere.

    It stands in the weight memory over masters that are zero. A recurrent layer has one for each
    time step, as if each were a layer of its own.
    """

    rows: int
    inputs: int
    outputs: int
    repeats: int
    """Matrices, one behind the other."""
    base: int
    block: int
    blocks: int
    """Generator blocks of one matrix."""
    amplitude: int
    """In master units."""

    @property
    def tiles(self) -> int:
        """Row tiles."""
        return -(-self.outputs // self.rows)

    @property
    def words(self) -> int:
        """Words of one matrix in the parameter memories."""
        return self.tiles * self.inputs

    def write(self, asm: Assembler) -> None:
        """Emits what writes it."""
        for number in range(self.repeats):
            asm.emit(
                "PERTURB",
                base=self.base + number * self.words,
                inner=self.inputs,
                tiles=self.tiles,
                block=self.block + number * self.blocks,
                seed=SEED,
                step=ZERO,
                probe=ZERO,
                distribution=Distribution.RADEMACHER,
                amplitude=self.amplitude,
            )

    def nest(self, source: int, outputs: Words) -> Nest:
        """The projection of ``source``; the second loop of the outputs, if any, goes over the
        matrices.
        """
        (count, stride), *others = outputs.loops
        return Nest(
            "fixed projection",
            inner=(self.inputs,),
            outer=(self.tiles, *(each for each, _ in others)),
            w=Access(self.base, (1, 0, 0, self.inputs, self.words)),
            x=Access(source, (1,)),
            y=Access(outputs.base, (self.rows * stride, *(step for _, step in others)), row=stride),
            last_rows=count - (self.tiles - 1) * self.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """A fixed projection of the output errors (direct feedback alignment) or of the classes' code
    (DRTP).
    """

    engine: EngineConfig
    matrix: FixedMatrix
    source: int
    """First word of what is projected."""
    signal: Words
    shift: int

    def prepare(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        self.matrix.write(asm)

    def emit(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        asm.add(self.matrix.nest(self.source, self.signal).contract(self.engine, Drain(self.shift)))

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Target projection (tpSGD): outputs minus a fixed projection of the target, or the sign of
    that.
    """

    engine: EngineConfig
    projection: Projected
    outputs: Words
    scratch: int
    """First word of what the projection is written to."""
    signal: int
    factor: int
    """The word that aligns the projection with the outputs' binary point."""
    one: int
    """The word of 1, or of what aligns the outputs with the projection's."""
    shift: int
    sign: tuple[int, int] | None
    """For the l1 loss: a word of what counts as 1, and first word of scratch."""

    def prepare(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        self.projection.prepare(asm)

    def emit(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        self.projection.emit(asm)
        what = "distance to the target"
        distance = self.signal if self.sign is None else self.sign[1]
        asm.add(combine(self.engine, what, self.outputs, self.scratch, self.factor, self.one, distance, self.shift))
        if self.sign is not None:
            unit, _ = self.sign
            over = self.outputs.at(self.signal).each()
            asm.add(
                contract_nest(
                    self.engine,
                    what,
                    inner=(),
                    outer=self.outputs.outer,
                    w=self.outputs.at(distance).each(),
                    x=Access(unit),
                    y=Access(over.base, over.strides[3:]),
                    drain=Drain(0),
                    operand=Operand.SIGN,
                )
            )

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
