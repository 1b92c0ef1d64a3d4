"""Output errors through a learned matrix: what estimators that learn one have in common.

The matrix B, held as a layer's weights are, leads from the activities to the network's outputs and
predicts what a perturbation of the former does to the latter; its transpose carries output errors
back. How it learns is what the estimators differ in.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...nn import adjoints, reference
from ..code.nests import Access, Drain, Nest
from ..formats.forward import peak
from ..formats.signals import Calibration, Typical
from ..layout.tensors import Layout
from ..rates import Stepping, Unit
from .backward import Transposed
from .local import LocalEstimator
from .signals import OUTPUT_ERRORS, dither, error_format

__all__ = ["HEADROOM", "LearnedMatrix"]

HEADROOM = 5
"""Bits above the calibrated peak of what a learned matrix carries back: it grows as the weights
that it stands for.
"""


class LearnedMatrix(LocalEstimator):
    """An estimator with a learned matrix, which is a tensor like the model's own."""

    source = OUTPUT_ERRORS

    @property
    def matrix(self) -> str:
        """Name of the matrix among the tensors."""
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

    @property
    @abstractmethod
    def unit(self) -> int:
        """Magnitude of the signs where the matrix is applied to them."""

    def reserve(self) -> None:
        self.block = self.signs()
        source = self.places.tensors[self.matrix]
        self.transposed = Transposed(source, self.places.words(Transposed.size(source)))

    def begin(self, asm: Assembler) -> None:
        self.transposed.write(asm)

    def signal(self, asm: Assembler) -> None:
        shift = error_format(self.setting.model, self.formats).frac + self.matrix_format.frac - self.form.signal.frac
        nest = self.transposed.nest(self.region(OUTPUT_ERRORS), self.s.base)
        asm.add(nest.contract(self.setting.engine, Drain(shift)))

    def perturb(self, asm: Assembler, source: int) -> None:
        """Emits outputs that are perturbed where they stand, the signs, and the forward pass behind
        them.

        :param source: first word of the outputs as they were.
        """
        y = self.y
        dither(asm, source, y.base, y.count, self.constant(self.step_size), self.block)
        dither(asm, self.constant(0), self.region("signs"), y.count, self.constant(self.unit), self.block, step=0)
        self.places.objective.forward(asm, self.behind)

    def applied(self, target: int) -> Nest:
        """The matrix applied to the signs.

        :param target: first word of the results, one for each of the network's outputs.
        """
        matrix, classes, count = self.places.tensors[self.matrix], self.classes, self.y.count
        tiles = -(-classes // matrix.rows)
        return Nest(
            self.matrix,
            inner=(count,),
            outer=(tiles,),
            w=Access(matrix.base, (1, 0, 0, count)),
            x=Access(self.region("signs"), (1,)),
            y=Access(target, (matrix.rows,), row=1),
            last_rows=classes - (tiles - 1) * matrix.rows,
        )
