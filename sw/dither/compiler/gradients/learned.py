"""Output errors through a learned matrix: what estimators that learn one have in common.

The matrix B, held as a layer's weights are, leads from the activities to the network's outputs and
predicts what a perturbation of the former does to the latter; its transpose carries output errors
back. How it learns is what the estimators differ in.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...nn import adjoints, reference
from ..code.lanewise import Words
from ..code.nests import Access, Drain, Nest
from ..formats.forward import peak
from ..formats.signals import Calibration, Typical
from ..layout.tensors import Layout, Tensor
from ..objectives.objective import ObjectiveCode, Start
from ..rates import Stepping, Unit
from .backward import Transposed
from .estimator import Places
from .local import LocalEstimator
from .signals import OUTPUT_ERRORS, Signal, dither, error_format

__all__ = ["HEADROOM", "LearnedMatrix", "Learner", "Perturbed"]

HEADROOM = 5
"""Bits above the calibrated peak of what a learned matrix carries back: it grows as the weights
that it stands for.
"""


class LearnedMatrix(LocalEstimator):
    """An estimator with a learned matrix, which is a tensor like the model's own."""

    source = OUTPUT_ERRORS

    @property
    def matrix(self) -> str:
        """The matrix's name."""
        return f"{self.position}.feedback"

    def calibrate(self, layer: Calibration) -> Typical:
        self.require_activities()
        model, position = self.setting.model, self.position
        signal = adjoints.propagated(model, layer.parameters, layer.outputs, layer.errors, position)
        matrix = np.eye(self.plan.layer.output_size)
        for number in range(position + 1, len(model.layers)):
            matrix = matrix @ reference.dense_matrix(number, model.layers[number], layer.parameters)
        forms = [FixedPoint.reaching(math.ldexp(peak(values), HEADROOM), self.width) for values in (signal, matrix)]
        return Typical(forms[0], signal, matrix=forms[1])

    def matrices(self) -> dict[str, tuple[Layout, FixedPoint]]:
        shape = (self.plan.layer.output_size, self.classes)
        return {self.matrix: (Layout.plain(self.matrix, shape, self.position), self.matrix_format)}

    def constants(self) -> set[int]:
        return super().constants() | {self.step_size}

    def regions(self) -> dict[str, int]:
        return super().regions() | {"signs": self.outputs().extent}

    def steppings(self) -> dict[str, Stepping]:
        unit = Unit(self.scale, self.formats.output.frac + self.width - 2)
        return super().steppings() | {self.matrix: Stepping(unit, self.recipe.feedback_slowness)}

    @abstractmethod
    def learner(self, places: Places, signal: Words, common: dict[str, Any]) -> Learner:
        """What improves the matrix.

        :param signal: the signal that the matrix carried back.
        :param common: the fields of :class:`Perturbed`.
        """

    @property
    @abstractmethod
    def unit(self) -> int:
        """Magnitude of the signs as the learner sees them."""

    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        matrix, errors = places.tensors[self.matrix], error_format(self.setting.model, self.formats)
        common: dict[str, Any] = {
            "engine": self.setting.engine,
            "objective": places.objective,
            "following": (self.position + 1, 0),
            "matrix": matrix,
            "outputs": outputs,
            "noise": places.region("signs"),
            "zero": places.constants[0],
            "size": places.constants[self.step_size],
            "unit": places.constants[self.unit],
            "block": self.signs(places),
        }
        return _Carried(
            engine=self.setting.engine,
            transposed=Transposed(matrix, places.words(Transposed.size(matrix))),
            errors=places.region(OUTPUT_ERRORS),
            signal=signal,
            shift=errors.frac + matrix.format.frac - self.form.signal.frac,
            learner=self.learner(places, signal, common),
        )


class Learner(Protocol):
    """Improves a learned matrix from what the network does."""

    def emit(self, asm: Assembler) -> None:
        """Emits it, when the layer's outputs may be destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """Code of output errors through the transposed matrix."""

    engine: EngineConfig
    transposed: Transposed
    errors: int
    signal: Words
    shift: int
    learner: Learner

    def prepare(self, asm: Assembler) -> None:
        self.transposed.write(asm)

    def emit(self, asm: Assembler) -> None:
        nest = self.transposed.nest(self.errors, self.signal.base)
        asm.add(nest.contract(self.engine, Drain(self.shift)))

    def after(self, asm: Assembler) -> None:
        self.learner.emit(asm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """What learners do: perturb a layer's outputs with signs that stay at hand."""

    engine: EngineConfig
    objective: ObjectiveCode
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
