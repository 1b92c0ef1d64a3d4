"""Output errors through a learned matrix, and the two ways it learns from perturbed activities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ...arch.config import EngineConfig
from ...arch.isa import LossMode, Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, copy, multiply
from ..code.nests import Access, Drain, Nest, contract_nest
from ..code.registers import LOSS, PROBE, TILE
from ..layout.tensors import Tensor
from ..objectives.supervised import Objective, Start
from .backward import Transposed
from .signals import dither

__all__ = ["Learned", "Regression", "Responses"]


class Learner(Protocol):
    """Improves a learned matrix from what the network does."""

    def emit(self, asm: Assembler) -> None:
        """Emits it, when the layer's outputs may be destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Output errors through a matrix that learns what perturbed activities do.

    The matrix B, held as a layer's weights are, leads from the activities to the network's outputs
    and predicts what a perturbation of the former does to the latter; its transpose carries output
    errors back. (Lansdell, Prakash, Kording, *Learning to solve the credit assignment problem*,
    ICLR 2020; Akrout et al., NeurIPS 2019.)
    """

    engine: EngineConfig
    transposed: Transposed
    errors: int
    signal: Words
    shift: int
    learner: Learner

    def prepare(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        self.transposed.write(asm)

    def emit(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        nest = self.transposed.nest(self.errors, self.signal.base)
        asm.add(nest.contract(self.engine, Drain(self.shift)))

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        self.learner.emit(asm)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Perturbed:
    """What both learners do: perturb a layer's outputs with signs that stay at hand."""

    engine: EngineConfig
    objective: Objective
    following: Start
    """Behind the layer."""
    matrix: Tensor
    outputs: Words
    """Perturbed where they stand; one loop."""
    noise: int
    """First word of the signs."""
    size: int
    """The word of the step."""
    unit: int
    """The word of the signs' magnitude."""
    zero: int
    block: int

    @property
    def nest(self) -> Nest:
        """The matrix applied to the signs, with no place for the outputs yet."""
        R, classes, count = self.matrix.rows, self.matrix.layout.columns, self.outputs.count
        tiles = -(-classes // R)
        return Nest(
            self.matrix.name,
            inner=(count,),
            outer=(tiles,),
            w=Access(self.matrix.base, (1, 0, 0, count)),
            x=Access(self.noise, (1,)),
            y=Access(0, (R,), row=1),
            last_rows=classes - (tiles - 1) * R,
        )

    def perturb(self, asm: Assembler, source: int) -> None:
        """Emits perturbed outputs, the signs, and the forward pass behind them."""
        count = self.outputs.count
        dither(asm, source, self.outputs.base, count, self.size, self.block)
        dither(asm, self.zero, self.noise, count, self.unit, self.block, step=0)
        self.objective.forward(asm, self.following)


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses(_Perturbed):
    """Learns from the outputs' response: the gradient of ``|B eps - dz|**2 / 2``."""

    final: int
    """First word of the network's outputs."""
    before: int
    """First word of a copy of them."""
    response: int
    """First word of the predicted responses; the residuals stand behind them."""
    shift: int
    units: tuple[int, int]
    """The words of 1 and of -1."""

    def emit(self, asm: Assembler) -> None:
        """See :class:`Learner`."""
        classes = self.matrix.layout.columns
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        self.perturb(asm, self.outputs.base)
        nest, residual = self.nest, self.response + classes
        asm.add(replace(nest, y=replace(nest.y, base=self.response)).contract(self.engine, Drain(self.shift)))
        # predicted + before - after, in units of the network's outputs
        plus, minus = self.units
        asm.add(
            contract_nest(
                self.engine,
                "residual",
                inner=(2,),
                outer=(1, classes),
                w=Access(plus, (minus - plus,)),
                x=Access(self.before, (self.final - self.before, 0, 0, 0, 1)),
                y=Access(residual, (0, 1)),
                drain=Drain(0),
                operand=Operand.LANE,
                bias=Access(self.response, (0, 1)),
                one=plus,
            )
        )
        asm.add(nest.correlate(self.engine, residual))


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(_Perturbed):
    """Learns from loss differences alone: the gradient of ``(eps^T B^T e - dl)**2 / 2``, a number
    for each sample.

    The signal at the layer's outputs, ``B^T e``, predicts the loss difference of any perturbation;
    what it misses, times the output errors, is what B has to change by in the direction of the
    signs.
    """

    probes: int
    base: int
    """First word of a copy of the outputs."""
    signal: int
    errors: int
    difference: int
    """The word of loss differences; the residual stands behind it."""
    left: int
    """First word of residuals times output errors."""
    loss_frac: int
    shift: int
    """From the product of signal and signs to the residual."""
    minus: int
    """The word that loss differences are multiplied by to be subtracted there."""
    error_frac: int

    def emit(self, asm: Assembler) -> None:
        """See :class:`Learner`."""
        count, classes = self.outputs.count, self.matrix.layout.columns
        residual = self.difference + 1
        copy(asm, self.outputs.base, self.base, count, self.zero)
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.probes):
            self.perturb(asm, self.base)
            self.objective.loss(asm, LOSS, LossMode.DIFFER, (self.difference, 0), loss_frac=self.loss_frac)
            asm.add(
                contract_nest(
                    self.engine,
                    "predicted loss",
                    inner=(count,),
                    outer=(1,),
                    w=Access(self.signal, (1,)),
                    x=Access(self.noise, (1,)),
                    y=Access(residual),
                    drain=Drain(self.shift),
                    operand=Operand.LANE,
                    bias=Access(self.difference),
                    one=self.minus,
                )
            )
            errors = Words(self.errors, ((classes, 1),))
            asm.add(multiply(self.engine, "residual", residual, errors, self.left, self.error_frac))
            asm.add(self.nest.correlate(self.engine, self.left))
            asm.emit("SET", target=PROBE, source=PROBE, value=1)
