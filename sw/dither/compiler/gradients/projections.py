"""Fixed random projections, of output errors or of the target: what estimators that use one have in
common.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...arch.config import EngineConfig
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
from .estimator import Places
from .local import LocalEstimator
from .signals import CLASS_CODE, Signal

__all__ = ["ClassProjection", "FixedMatrix", "FixedProjection", "Projected"]


class FixedProjection(LocalEstimator):
    """An estimator with a fixed random matrix; a recurrent layer has one for each time step."""

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
    def macs(self) -> int:
        return self.outputs().count * self.classes

    def zeroed(self) -> list[tuple[int, int]]:
        (outputs, _), *others = self.outputs().loops
        one = -(-outputs // self.setting.engine.rows) * self.classes, self.classes * index_pitch(outputs)
        return [one] * math.prod(count for count, _ in others)

    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        return self.projected(places, signal, self.form.signal.frac)

    def projected(self, places: Places, target: Words, frac: int) -> Projected:
        """What writes the projection to ``target``, with ``frac`` fraction bits."""
        assert self.source
        form, (size, _) = self.matrix_format, self.outputs().loops[0]
        matrix = FixedMatrix(
            rows=self.setting.engine.rows,
            inputs=self.classes,
            outputs=size,
            places=places.zeroed[self.position],
            amplitude=round(self.recipe.projection * 2.0 ** (form.frac + MASTER_BITS - form.width)),
        )
        shift = self.source_format.frac + form.frac - frac
        return Projected(
            engine=self.setting.engine,
            matrix=matrix,
            source=places.region(self.source),
            signal=target,
            shift=shift,
        )


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
    places: list[tuple[int, int]]
    """First word and first generator block of each matrix; one stands behind the other."""
    amplitude: int
    """In master units."""

    @property
    def tiles(self) -> int:
        """Row tiles."""
        return -(-self.outputs // self.rows)

    def write(self, asm: Assembler) -> None:
        """Emits what writes it."""
        for base, block in self.places:
            asm.emit(
                "PERTURB",
                base=base,
                inner=self.inputs,
                tiles=self.tiles,
                block=block,
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
            w=Access(self.places[0][0], (1, 0, 0, self.inputs, self.tiles * self.inputs)),
            x=Access(source, (1,)),
            y=Access(outputs.base, (self.rows * stride, *(step for _, step in others)), row=stride),
            last_rows=count - (self.tiles - 1) * self.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """Code of a fixed projection."""

    engine: EngineConfig
    matrix: FixedMatrix
    source: int
    """First word of what is projected."""
    signal: Words
    shift: int

    def prepare(self, asm: Assembler) -> None:
        self.matrix.write(asm)

    def emit(self, asm: Assembler) -> None:
        asm.add(self.matrix.nest(self.source, self.signal).contract(self.engine, Drain(self.shift)))

    def after(self, asm: Assembler) -> None:
        """Nothing to do then."""
