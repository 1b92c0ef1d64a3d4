"""A matrix that an estimator learns: from a layer's outputs to the network's, plain or a tensor
train.

It is a layer of its own that takes no part in the network: it is applied to signs, carries output
errors back, and learns from derivatives by its results, each by the contraction steps of a layer
that is planned as the network's layers are. Behind a layer that a single tensor train follows, a
train of the same shape can hold exactly what back-propagation would multiply by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...nn import adjoints, reference
from ...nn.layers import Dense, TensorTrain
from ...nn.models import Model, Parameters
from ...nn.trains import automatic_factors, possible_ranks
from ...recipe import Recipe
from ..code.contraction import step_nests
from ..code.nests import Access, Drain
from ..code.registers import ZERO
from ..errors import CompileError
from ..formats.forward import MatrixFormats, peak
from ..formats.signals import carried_formats
from ..layout.memory import LayerBuffers
from ..layout.tensors import Layout, Tensor, layouts
from ..plan.planner import LayerPlan, Step, plan_matrix
from .backward import Backward, Transposed

__all__ = ["MatrixCode", "MatrixPlan", "matrix_formats", "matrix_plan"]

WEIGHT_HEADROOM = 4
"""Bits by which a train's cores may outgrow their first values, as those of a layer may."""
STATE_HEADROOM = 5
"""Bits above the calibrated peak of what stands behind a train's first step; one more behind each
further step."""


@dataclass(frozen=True, slots=True)
class MatrixPlan:
    """A matrix and how it is contracted."""

    plan: LayerPlan
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of its tensors by name."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its contraction steps, from a layer's outputs to the network's."""
        return self.plan.steps

    @property
    def train(self) -> bool:
        """Whether it is held as a tensor train."""
        return isinstance(self.plan.layer, TensorTrain)

    def layouts(self) -> dict[str, Layout]:
        """How its tensors stand in the parameter memories."""
        return layouts([self.plan], self.shapes)

    def initial(self, seed: int) -> dict[str, NDArray[np.float64]]:
        """First values: a train's are those of a layer, from a generator of their own; a plain
        matrix begins at zero, which is none of a train's possibilities: nothing would ever change.
        """
        if not isinstance(self.plan.layer, TensorTrain):
            return {}
        rng = np.random.default_rng((seed, 1 + self.plan.position))
        return dict(zip(self.shapes, self.plan.layer.initial_weights(rng).values(), strict=True))

    def split_steps(self, chunks: int) -> int:
        """How many steps, from the first one on, can be carried back for each of some chunks of the
        layer's outputs by itself: those that leave the positions in front of theirs as they are.
        """
        found = 0
        for step, side in zip(self.steps, self.plan.order, strict=True):
            if side != "R" or step.P % chunks:
                break
            found += 1
        return found

    def splits(self, chunks: int, rows: int) -> bool:
        """Whether what it carries back can be made for each of some chunks by itself, on an engine
        of so many rows.
        """
        if self.train:
            return self.split_steps(chunks) > 0
        return self.steps[0].K % (chunks * rows) == 0


def matrix_plan(model: Model, position: int, recipe: Recipe) -> MatrixPlan:
    """The matrix from a layer's outputs to the network's, by the recipe's ``feedback_ranks``."""
    name, ranks = f"{position}.feedback", recipe.feedback_ranks
    inputs, outputs = model.layers[position].output_size, model.outputs
    matrix: Dense | TensorTrain = Dense(inputs, outputs, bias=False)
    behind = model.layers[position + 1 :]
    follows = behind[0] if len(behind) == 1 and isinstance(behind[0], TensorTrain) else None
    if follows is not None and ranks is None:
        train = replace(follows, activation="none", bias=False)
        if sum(math.prod(shape) for shape in train.weight_shapes().values()) < inputs * outputs:
            matrix = train
    elif ranks:
        if follows is not None:
            n, m = follows.inputs, follows.outputs
            matrix = TensorTrain(n, m, possible_ranks(n, m, (ranks,) * (len(n) - 1)), "none", bias=False)
        else:
            found = automatic_factors(inputs, outputs, ranks)
            matrix = TensorTrain(found.inputs, found.outputs, found.ranks, "none", bias=False)
    plan = plan_matrix(model, position, matrix, name)
    if isinstance(matrix, Dense):
        return MatrixPlan(plan, {name: (inputs, outputs)})
    return MatrixPlan(plan, {f"{name}.{core}": shape for core, shape in matrix.weight_shapes().items()})


def matrix_formats(
    matrix: MatrixPlan,
    values: Parameters,
    signs: FixedPoint,
    step: float,
    output: FixedPoint,
    responses: NDArray[np.float64],
    error: FixedPoint,
    errors: NDArray[np.float64],
) -> MatrixFormats:
    """Formats of a train's cores and of all that stands between its steps.

    :param values: first values of the cores.
    :param signs: the format of perturbations, which are all of magnitude ``step``.
    :param output: the format of its results, and of derivatives by them.
    :param responses: typical values of the latter, shape (samples, outputs of the network).
    :param error: the format of output errors.
    :param errors: typical ones.
    :raises CompileError: if the results' format is finer than any sum.
    """
    width, steps = signs.width, matrix.steps
    weights = [FixedPoint.reaching(math.ldexp(peak(values[each.tensor]), WEIGHT_HEADROOM), width) for each in steps]
    state = step * np.random.default_rng(0).choice((-1.0, 1.0), (len(errors), steps[0].P * steps[0].K * steps[0].S))
    sums = [signs]
    for number, (each, weight) in enumerate(zip(steps[:-1], weights, strict=False)):
        state = reference.contract(each, values[each.tensor], state)
        best = FixedPoint.reaching(math.ldexp(peak(state), STATE_HEADROOM + number), width)
        sums.append(FixedPoint(width, min(best.frac, weight.frac + sums[-1].frac)))
    if weights[-1].frac + sums[-1].frac < output.frac:
        raise CompileError(f"{matrix.plan.position}.feedback: magnitudes are out of range; scale inputs or targets")
    behind, carried = (
        carried_formats(weights[1:], adjoints.adjoints(steps, values, typical)[:-1], form)
        for typical, form in ((responses, output), (errors, error))
    )
    return MatrixFormats(weights=tuple(weights), sums=tuple(sums[1:]), behind=behind, carried=carried)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCode:
    """A matrix as code."""

    engine: EngineConfig
    matrix: MatrixPlan
    formats: MatrixFormats
    tensors: Mapping[str, Tensor]
    transposed: tuple[Transposed, ...]
    """Transposed weights, one for each step."""
    one: int
    """Activation word of the number 1."""

    def carry(
        self,
        asm: Assembler,
        source: Access,
        source_format: FixedPoint,
        states: Sequence[int],
        target: int,
        target_format: FixedPoint,
        chunks: int = 1,
        index: int = ZERO,
    ) -> None:
        """Emits what carries numbers back from the network's outputs to the layer's.

        :param states: first words of what stands in front of each step but the first.
        :param target: first word of the results.
        :param chunks: only one of so many equal parts of the results is wanted ...
        :param index: ... the one that this register says, by :meth:`stride`.
        """
        steps = self.matrix.steps
        split = self.matrix.split_steps(chunks) if chunks > 1 else 0
        forms = (*self.formats.carried, source_format)
        for number in reversed(range(len(steps))):
            step, last = steps[number], number == len(steps) - 1
            left = source if last else Access(states[number], index=index if number == split - 1 else ZERO)
            goal, form = (states[number - 1], forms[number - 1]) if number else (target, target_format)
            shift = self.formats.weights[number].frac + forms[number].frac - form.frac
            P = step.P // chunks if number < split else step.P
            nest = self.transposed[number].nest(left.base, goal, P, step.S, left.index)
            if chunks > 1 and not split:  # A single step: some of its rows.
                rows = step.K // chunks
                nest = replace(nest, outer=(rows // self.engine.rows, *nest.outer[1:]), last_rows=self.engine.rows)
                nest = replace(nest, w=replace(nest.w, index=index))
            asm.add(nest.contract(self.engine, Drain(shift)))

    def stride(self, chunks: int) -> int:
        """What the register that names a chunk advances by from one to the next."""
        split = self.matrix.split_steps(chunks)
        if not split:
            first = self.matrix.steps[0]
            return first.K // chunks // self.engine.rows * first.M
        step = self.matrix.steps[split - 1]
        return step.P // chunks * step.M * step.S

    def apply(
        self, asm: Assembler, buffers: LayerBuffers, source_format: FixedPoint, target_format: FixedPoint
    ) -> None:
        """Emits the matrix applied to numbers at a layer's outputs.

        :param buffers: where they, what stands between the steps, and the results stand.
        """
        forms = (source_format, *self.formats.sums, target_format)
        for number, step in enumerate(self.matrix.steps):
            shift = self.formats.weights[number].frac + forms[number].frac - forms[number + 1].frac
            for nest in step_nests(self.matrix.plan, number, buffers, self.tensors[step.tensor]):
                asm.add(nest.contract(self.engine, Drain(shift)))

    def learn(
        self,
        asm: Assembler,
        buffers: LayerBuffers,
        delta: int,
        delta_format: FixedPoint,
        again: Callable[[], None] | None = None,
    ) -> None:
        """Emits the gradients of its tensors, behind :meth:`apply` unless it is plain.

        :param delta: first word of the derivatives by the results.
        :param again: emits what makes the numbers at the layer's outputs again, if they are gone.
        """
        backward = Backward(
            engine=self.engine,
            plan=self.matrix.plan,
            buffers=buffers,
            tensors=self.tensors,
            outputs=buffers.target.base,
            delta=Access(delta),
            formats=(*self.formats.behind, delta_format),
            transposed=self.transposed[1:],
            one=self.one,
        )
        for number in reversed(range(len(self.matrix.steps))):
            if number == 0 and again is not None:
                again()
            backward.correlate(asm, number)
            if number:
                backward.carry(asm, number)
