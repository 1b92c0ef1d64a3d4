"""Output errors through a learned matrix: what estimators that learn one have in common.

The matrix B, held as a layer's weights are, leads from the activities to the network's outputs and
predicts what a perturbation of the former does to the latter; its transpose carries output errors
back. How it learns is what the estimators differ in.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...nn import adjoints, reference
from ..code.nests import Access
from ..formats.forward import MatrixFormats, peak
from ..formats.signals import Calibration, Typical
from ..layout.memory import LayerBuffers, Moment, Region
from ..layout.tensors import Layout, Tensor
from ..rates import Stepping, Unit
from .local import SIGNAL, LocalEstimator
from .matrix import MatrixCode, MatrixPlan, matrix_formats, matrix_plan
from .signals import OUTPUT_ERRORS, dither, error_format

__all__ = ["FIRST", "HEADROOM", "INNER", "PERTURB", "LearnedMatrix"]

HEADROOM = 5
"""Bits above the calibrated peak of what a learned matrix carries back: it grows as the weights
that it stands for.
"""
PERTURB, FIRST, INNER = "perturb", "first step of the matrix", "matrix"
"""Names of the moments in which the outputs are perturbed and run forward; in which the matrix's
first step is run or learns, for which the signs must be there; and of what lies between them."""


class LearnedMatrix(LocalEstimator):
    """An estimator with a learned matrix, whose tensors are like the model's own."""

    source = OUTPUT_ERRORS

    @functools.cached_property
    def matrix(self) -> MatrixPlan:
        """The matrix and how it is contracted."""
        return matrix_plan(self.setting.model, self.position, self.recipe)

    def calibrate(self, layer: Calibration) -> Typical:
        self.require_activities()
        model, position = self.setting.model, self.position
        signal = adjoints.propagated(model, layer.parameters, layer.outputs, layer.errors, position)
        largest = peak(signal)
        if not self.matrix.train:
            matrix = np.eye(self.plan.layer.output_size)
            for number in range(position + 1, len(model.layers)):
                matrix = matrix @ reference.dense_matrix(number, model.layers[number], layer.parameters)
            forms = MatrixFormats(weights=(FixedPoint.reaching(math.ldexp(peak(matrix), HEADROOM), self.width),))
        else:
            values, errors = self.initial(), layer.errors
            signs = np.random.default_rng(0).choice((-1.0, 1.0), layer.mine.shape)
            responses = layer.outputs[-1] - layer.moved(signs)
            forms = matrix_formats(
                self.matrix,
                values,
                self.signs_format,
                2.0**self.step_exponent,
                self.formats.output,
                responses,
                error_format(model, self.formats),
                errors,
            )
            first, *_ = steps = self.matrix.steps
            carried = adjoints.adjoint(first, values[first.tensor], adjoints.adjoints(steps, values, errors)[0])
            largest = max(largest, peak(carried))
        found = FixedPoint.reaching(math.ldexp(largest, HEADROOM), self.width)
        if forms.carried:
            found = FixedPoint(self.width, min(found.frac, forms.weights[0].frac + forms.carried[0].frac))
        return Typical(found, signal, matrix=forms)

    @property
    def signs_format(self) -> FixedPoint:
        """The format of signs that the matrix is applied to, which stand for the recipe's steps."""
        return FixedPoint(self.width, self.width - 2 - self.step_exponent)

    def matrices(self) -> dict[str, tuple[Layout, FixedPoint]]:
        weights = {step.tensor: form for step, form in zip(self.matrix.steps, self.matrix_formats.weights, strict=True)}
        return {name: (layout, weights[name]) for name, layout in self.matrix.layouts().items()}

    def initial(self) -> dict[str, NDArray[np.float64]]:
        return self.matrix.initial(self.recipe.seed)

    def constants(self) -> set[int]:
        return super().constants() | {self.step_size, self.unit} | ({self.full} if self.matrix.train else set())

    @property
    def full(self) -> int:
        """Magnitude of the signs where the matrix is applied to them."""
        return 1 << (self.width - 2)

    @property
    @abstractmethod
    def unit(self) -> int:
        """Magnitude of the signs for all else."""

    def moments(self) -> list[Moment]:
        behind = self.position + 1
        others = [Moment(self.when(name), self.position) for name in (FIRST, INNER)]
        return [*super().moments(), Moment(self.when(PERTURB), self.position, behind), *others]

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        steps, split = self.matrix.steps, 0
        if chunks > 1 and self.splits(chunks):
            split = self.matrix.split_steps(chunks)
        found = super().own(chunks) | {"signs": (self.outputs().extent, (FIRST,))}
        for number, step in enumerate(steps[:-1]):
            words = step.output_words
            carried = words // chunks if number < split - 1 else words
            found[f"carried {number}"] = (carried, (SIGNAL,))
            found[f"matrix state {number}"] = (words, (FIRST, INNER) if number == 0 else (INNER,))
        return found

    def steppings(self) -> dict[str, Stepping]:
        steps, forms = self.matrix.steps, self.matrix_formats
        sources = (self.width - 2, *(form.frac for form in forms.sums))
        behind = (*forms.behind, self.formats.output)
        return super().steppings() | {
            step.tensor: Stepping(Unit(self.scale, form.frac + source), self.recipe.feedback_slowness)
            for step, form, source in zip(steps, behind, sources, strict=True)
        }

    def matrix_tensors(self) -> list[Tensor]:
        return [self.places.tensors[step.tensor] for step in self.matrix.steps]

    def reserve(self) -> None:
        self.block = self.signs()

    @property
    def matrix_code(self) -> MatrixCode:
        """The matrix as code."""
        return MatrixCode(
            engine=self.setting.engine,
            matrix=self.matrix,
            formats=self.matrix_formats,
            tensors=self.places.tensors,
            transposed=self.matrix_transposed,
            one=self.constant(1),
        )

    def splits(self, chunks: int) -> bool:
        return self.matrix.splits(chunks, self.setting.engine.rows)

    @property
    def signal_stride(self) -> int:
        return self.matrix_code.stride(self.chunks)

    def signal(self, asm: Assembler) -> None:
        self.write_matrix(asm)
        self.matrix_code.carry(
            asm,
            Access(self.region(OUTPUT_ERRORS)),
            error_format(self.setting.model, self.formats),
            [self.region(f"carried {number}") for number in range(len(self.matrix.steps) - 1)],
            self.s.base,
            self.form.signal,
            self.chunks if self.in_parts else 1,
            self.signal_index,
        )

    def perturb(self, asm: Assembler, source: int) -> None:
        """Emits outputs that are perturbed where they stand, and the forward pass behind them.

        :param source: first word of the outputs as they were.
        """
        y = self.y
        dither(asm, source, y.base, y.count, self.constant(self.step_size), self.block)
        self.places.objective.forward(asm, self.behind)

    def write_signs(self, asm: Assembler, unit: int) -> None:
        """Emits the signs of the perturbation at hand."""
        target, count = self.region("signs"), self.y.count
        dither(asm, self.constant(0), target, count, self.constant(unit), self.block, step=0)

    def buffers(self, target: int) -> LayerBuffers:
        """Where the matrix is applied to the signs.

        :param target: first word of the results, one for each of the network's outputs.
        """
        states = tuple(
            Region("", self.region(f"matrix state {number}"), step.output_words)
            for number, step in enumerate(self.matrix.steps[:-1])
        )
        signs = Region("", self.region("signs"), self.y.count)
        return LayerBuffers(1, True, signs, states, Region("", target, self.classes))

    def learn(self, asm: Assembler, results: int, delta: int) -> None:
        """Emits what the matrix learns from derivatives by its results, behind its application.

        :param results: first word of the latter.
        :param delta: first word of the derivatives, in the format of the network's outputs.
        """
        self.write_matrix(asm)
        again = (lambda: self.write_signs(asm, self.full)) if self.matrix.train else None
        self.matrix_code.learn(asm, self.buffers(results), delta, self.formats.output, again)
