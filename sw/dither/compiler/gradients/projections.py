"""Fixed random projections, of output errors or of the target: what estimators that use one have in
common.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...arch.generator import index_pitch
from ...arch.isa import MASTER_BITS, Distribution
from ...arch.isa.assembler import Assembler
from ...nn import adjoints
from ..code.lanewise import Words
from ..code.nests import Access, Drain, Nest
from ..code.registers import SEED, ZERO
from ..errors import CompileError
from ..formats.signals import Calibration
from .local import LocalEstimator
from .signals import CLASS_CODE

__all__ = ["ClassProjection", "FixedProjection"]


class FixedProjection(LocalEstimator):
    """An estimator with a fixed random matrix of one magnitude, made again in every step.

    It stands in the weight memory over masters that are zero. A recurrent layer has one for each
    time step, as if each were a layer of its own.
    """

    @property
    @abstractmethod
    def source_format(self) -> FixedPoint:
        """The format of what is projected."""

    def random(self) -> tuple[NDArray[np.float64], FixedPoint]:
        """A matrix such as the engine will have, in floats, and its format: magnitudes of a quarter
        of the range.
        """
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (self.classes, self.plan.layer.output_size))
        return signs * self.recipe.projection, FixedPoint.reaching(2 * self.recipe.projection, self.width)

    @property
    def signal_macs(self) -> int:
        return self.outputs().count * self.classes

    def zeroed(self) -> list[tuple[int, int]]:
        (outputs, _), *others = self.outputs().loops
        one = -(-outputs // self.setting.engine.rows) * self.classes, self.classes * index_pitch(outputs)
        return [one] * math.prod(count for count, _ in others)

    def splits(self, chunks: int) -> bool:
        return self.outputs().count // chunks % self.setting.engine.rows == 0

    @property
    def signal_stride(self) -> int:
        return self.outputs().count // self.chunks // self.setting.engine.rows * self.classes

    def begin(self, asm: Assembler) -> None:
        # Only the seed of the signs is kept anywhere.
        (size, _), *_ = self.outputs().loops
        (form,) = self.matrix_formats.weights
        for base, block in self.places.zeroed[self.position]:
            asm.emit(
                "PERTURB",
                base=base,
                inner=self.classes,
                tiles=-(-size // self.setting.engine.rows),
                block=block,
                seed=SEED,
                step=ZERO,
                probe=ZERO,
                distribution=Distribution.RADEMACHER,
                amplitude=round(self.recipe.projection * 2.0 ** (form.frac + MASTER_BITS - form.width)),
            )

    def signal(self, asm: Assembler) -> None:
        self.project(asm, self.s, self.form.signal.frac)

    def project(self, asm: Assembler, target: Words, frac: int) -> None:
        """Emits what writes the projection to ``target``, with ``frac`` fraction bits."""
        assert self.source
        engine, inputs = self.setting.engine, self.classes
        # The second loop of the outputs, if any, goes over the matrices.
        (count, stride), *others = target.loops
        tiles = -(-count // engine.rows)
        (base, _), *_ = self.places.zeroed[self.position]
        nest = Nest(
            "fixed projection",
            inner=(inputs,),
            outer=(tiles, *(each for each, _ in others)),
            w=Access(base, (1, 0, 0, inputs, tiles * inputs), index=self.signal_index),
            x=Access(self.region(self.source), (1,)),
            y=Access(target.base, (engine.rows * stride, *(step for _, step in others)), row=stride),
            last_rows=count - (tiles - 1) * engine.rows,
        )
        asm.add(nest.contract(engine, Drain(self.source_format.frac + self.matrix_formats.weights[0].frac - frac)))


class ClassProjection(FixedProjection):
    """An estimator with a fixed random projection of the classes' code."""

    source = CLASS_CODE

    @property
    def source_format(self) -> FixedPoint:
        return FixedPoint(self.width, self.width - 2)

    def projected_code(self, layer: Calibration) -> tuple[NDArray[np.float64], FixedPoint]:
        """The projection of typical samples' classes, in floats, and the matrix's format.

        :raises CompileError: if there are no classes.
        """
        if self.setting.model.loss != "cross_entropy":
            raise CompileError(f"{self.name} projects classes; use feedback with squared errors")
        matrix, form = self.random()
        return adjoints.class_code(self.classes, layer.targets) @ matrix, form
