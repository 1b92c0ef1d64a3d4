"""Local error signals, as code: derivatives of a loss by a layer's outputs, or what stands in for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ..engine import EngineConfig
from ..isa import Distribution, LossKind, LossMode, Operand
from .assembler import Assembler
from .backward import Transposed
from .lanewise import Words, combine, copy, multiply
from .nests import Access, Drain, Nest, contract_nest
from .objective import Objective, Start
from .registers import LOSS, OFFSET, PROBE, SEED, STEP, TILE, ZERO
from .tensors import Tensor

__all__ = [
    "Activity", "Derivative", "FixedMatrix", "Learned", "Output", "OutputErrors", "Projected", "Regression",
    "Responses", "Signal", "Target",
]  # fmt: skip


class Signal(Protocol):
    """Makes one layer's error signal for the lane group at work."""

    def prepare(self, asm: Assembler) -> None:
        """Emits what is done once a step, when the working weights are new."""

    def emit(self, asm: Assembler) -> None:
        """Emits what writes the signal."""

    def after(self, asm: Assembler) -> None:
        """Emits what may destroy the layer's outputs, when they are not needed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputErrors:
    """What all signals are made of: derivatives of the loss by the network's outputs, the classes' code, kept losses.

    The classes' code is ``1/C - onehot``: derivatives where all outputs are zero. Its lanes add up to zero over the
    classes, so that a projection of it has no common part.
    """

    objective: Objective
    start: Start
    """Behind the last layer."""
    errors: int | None
    """First word of the derivatives, if wanted."""
    code: int | None
    """First word of the classes' code, if wanted."""
    before: tuple[int, int] | None
    """First words of the outputs and of a copy of them, if wanted."""
    loss_frac: int | None
    """Fraction bits of the losses that are kept, if wanted."""
    label: int
    zero: int
    """A word of zeros."""
    classes: int

    def prepare(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.emit.GradientCode`."""

    def emit(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.emit.GradientCode`."""
        if self.loss_frac is not None:
            self.objective.loss(asm, LOSS, LossMode.KEEP, loss_frac=self.loss_frac)
        if self.before is not None:
            copy(asm, *self.before, self.classes, self.zero)
        if self.errors is not None:
            self.objective.loss(asm, LOSS, LossMode.ERROR, (self.errors, 1))
        if self.code is not None:
            asm.emit("LOSS", kind=LossKind.CROSS_ENTROPY, z_base=self.zero, z_step=0, count=self.classes,
                     label=self.label, t_base=0, t_step=0, z_frac=0, loss_frac=0, mode=LossMode.ERROR, d_base=self.code,
                     d_step=1, target=LOSS)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """The derivative of an activation function, computed from its value: ``delta = signal * f'(y)``."""

    engine: EngineConfig
    function: str
    """``relu``, ``tanh`` or ``none``; ``none`` needs no code, for the signal then stands where delta is wanted."""
    outputs: Words
    """y."""
    signal: int
    delta: int
    slope: int
    """First word of scratch, for ``tanh``."""
    shift: int
    ones: tuple[int, int]
    """For ``tanh``: words whose product is 1 in the slope's fraction bits before the shift."""
    negative: int
    """For ``tanh``: the word that y is multiplied by."""

    def emit(self, asm: Assembler) -> None:
        """Emits the multiplication."""
        words, what = self.outputs.at(self.signal), f"derivative of {self.function}"
        if self.function == "relu":
            asm.add(multiply(self.engine, what, self.outputs, words, self.delta, self.shift, Operand.POSITIVE))
        elif self.function == "tanh":
            # 1 - y*y = 1 + y * (-y), and -y loses two bits to make room for the 1.
            asm.add(multiply(self.engine, what, self.negative, self.outputs, self.delta, self.engine.width))
            square = self.outputs.at(self.delta)
            shift = self.engine.width - 2
            asm.add(multiply(self.engine, what, self.outputs, square, self.slope, shift, bias=self.ones))
            asm.add(multiply(self.engine, what, self.outputs.at(self.slope), words, self.delta, self.shift))


@dataclass(frozen=True, slots=True)
class Output:
    """The signal of the last layer is there already: :class:`OutputErrors` wrote it where it belongs."""

    def prepare(self, asm: Assembler) -> None:
        """See :class:`Signal`."""

    def emit(self, asm: Assembler) -> None:
        """See :class:`Signal`."""

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedMatrix:
    """A random matrix of one magnitude, made again in every step: only its signs' seed is kept anywhere.

    It stands in the weight memory over masters that are zero. A recurrent layer has one for each time step, as if each
    were a layer of its own.
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
            asm.emit("PERTURB", base=self.base + number * self.words, inner=self.inputs, tiles=self.tiles,
                     block=self.block + number * self.blocks, seed=SEED, step=ZERO, probe=ZERO,
                     distribution=Distribution.RADEMACHER, amplitude=self.amplitude)  # fmt: skip

    def nest(self, source: int, outputs: Words) -> Nest:
        """The projection of ``source``; the second loop of the outputs, if any, goes over the matrices."""
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
    """A fixed projection of the output errors (direct feedback alignment) or of the classes' code (DRTP)."""

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
    """Target projection (tpSGD): outputs minus a fixed projection of the target, or the sign of that."""

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
            asm.add(contract_nest(
                self.engine, what, inner=(), outer=self.outputs.outer, w=self.outputs.at(distance).each(),
                x=Access(unit), y=Access(over.base, over.strides[3:]), drain=Drain(0), operand=Operand.SIGN,
            ))  # fmt: skip

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""


def _dither(asm: Assembler, source: int, target: int, count: int, scale: int, block: int, *, step: int = 1,
            gate: bool = False) -> None:  # fmt: skip
    asm.emit("DITHER", count=count, x_base=source, x_step=step, y_base=target, y_step=1, scale=scale, gate=gate,
             block=block, seed=SEED, step=STEP, probe=PROBE, offset=OFFSET)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Activity perturbation: loss differences of perturbed outputs times the signs, summed over probes."""

    objective: Objective
    following: Start
    """Behind the layer."""
    probes: int
    outputs: Words
    """Perturbed where they stand; one loop."""
    base: int
    """First word of a copy of them."""
    signal: int
    size: int
    """The word of the step."""
    difference: int
    """The word of loss differences."""
    loss_frac: int
    zero: int
    block: int
    gate: bool
    """Outputs that are not positive are left alone (ReLU)."""

    def prepare(self, asm: Assembler) -> None:
        """See :class:`Signal`."""

    def emit(self, asm: Assembler) -> None:
        """See :class:`Signal`."""
        count = self.outputs.count
        copy(asm, self.outputs.base, self.base, count, self.zero)
        copy(asm, self.zero, self.signal, count, self.zero, step=0)
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.probes):
            _dither(asm, self.base, self.outputs.base, count, self.size, self.block, gate=self.gate)
            self.objective.forward(asm, self.following)
            self.objective.loss(asm, LOSS, LossMode.DIFFER, (self.difference, 0), loss_frac=self.loss_frac)
            _dither(asm, self.signal, self.signal, count, self.difference, self.block)
            asm.emit("SET", target=PROBE, source=PROBE, value=1)

    def after(self, asm: Assembler) -> None:
        """See :class:`Signal`."""


class Learner(Protocol):
    """Improves a learned matrix from what the network does."""

    def emit(self, asm: Assembler) -> None:
        """Emits it, when the layer's outputs may be destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Output errors through a matrix that learns what perturbed activities do.

    The matrix B, held as a layer's weights are, leads from the activities to the network's outputs and predicts what a
    perturbation of the former does to the latter; its transpose carries output errors back. (Lansdell, Prakash,
    Kording, *Learning to solve the credit assignment problem*, ICLR 2020; Akrout et al., NeurIPS 2019.)
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
            self.matrix.name, inner=(count,), outer=(tiles,), w=Access(self.matrix.base, (1, 0, 0, count)),
            x=Access(self.noise, (1,)), y=Access(0, (R,), row=1), last_rows=classes - (tiles - 1) * R,
        )  # fmt: skip

    def perturb(self, asm: Assembler, source: int) -> None:
        """Emits perturbed outputs, the signs, and the forward pass behind them."""
        count = self.outputs.count
        _dither(asm, source, self.outputs.base, count, self.size, self.block)
        _dither(asm, self.zero, self.noise, count, self.unit, self.block, step=0)
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
        asm.add(contract_nest(
            self.engine, "residual", inner=(2,), outer=(1, classes), w=Access(plus, (minus - plus,)),
            x=Access(self.before, (self.final - self.before, 0, 0, 0, 1)), y=Access(residual, (0, 1)), drain=Drain(0),
            operand=Operand.LANE, bias=Access(self.response, (0, 1)), one=plus,
        ))  # fmt: skip
        asm.add(nest.correlate(self.engine, residual))


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(_Perturbed):
    """Learns from loss differences alone: the gradient of ``(eps^T B^T e - dl)**2 / 2``, a number for each sample.

    The signal at the layer's outputs, ``B^T e``, predicts the loss difference of any perturbation; what it misses,
    times the output errors, is what B has to change by in the direction of the signs.
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
            asm.add(contract_nest(
                self.engine, "predicted loss", inner=(count,), outer=(1,), w=Access(self.signal, (1,)),
                x=Access(self.noise, (1,)), y=Access(residual), drain=Drain(self.shift), operand=Operand.LANE,
                bias=Access(self.difference), one=self.minus,
            ))  # fmt: skip
            errors = Words(self.errors, ((classes, 1),))
            asm.add(multiply(self.engine, "residual", residual, errors, self.left, self.error_frac))
            asm.add(self.nest.correlate(self.engine, self.left))
            asm.emit("SET", target=PROBE, source=PROBE, value=1)
