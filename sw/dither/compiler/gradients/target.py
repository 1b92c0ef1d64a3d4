"""``target``: the distance of a layer's outputs from a fixed random projection of the target, or
its sign (tpSGD, arXiv 2208.08503).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, combine
from ..code.nests import Access, Drain, contract_nest
from ..formats.forward import peak
from ..formats.signals import Calibration, Typical
from .estimator import Places
from .projections import ClassProjection, Projected
from .signals import Signal

__all__ = ["Target"]


class Target(ClassProjection):
    """Target projection; the recipe's ``local_loss`` says whether the sign alone counts (l1)."""

    name = "target"

    @property
    def _l1(self) -> bool:
        return self.recipe.local_loss == "l1"

    def calibrate(self, layer: Calibration) -> Typical:
        code, form = self.projected_code(layer)
        distance = layer.mine + code
        if self._l1:
            return Typical(FixedPoint(self.width, self.width - 2), np.sign(distance), matrix=form)
        reach = min(self.target.limit, 4 * peak(layer.mine)) + 2 * self.recipe.projection
        return Typical(FixedPoint.reaching(reach, self.width), distance, matrix=form)

    @property
    def _projected(self) -> FixedPoint:
        """The projection's format: outputs are multiplied by 1, the projection by a power of two,
        to give them one binary point.
        """
        return FixedPoint(self.width, min(self.matrix_format.frac, self.target.frac))

    @property
    def _factor(self) -> int:
        return 1 << (self.target.frac - self._projected.frac)

    def constants(self) -> set[int]:
        return super().constants() | {self._factor} | ({1 << (self.width - 2)} if self._l1 else set())

    def regions(self) -> dict[str, int]:
        words = self.outputs().extent
        return super().regions() | {"scratch": words} | ({"distance": words} if self._l1 else {})

    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        projected, target = self._projected, self.target
        scratch = places.region("scratch")
        unit = places.constants.get(1 << (self.width - 2), 0)
        return _Distance(
            engine=self.setting.engine,
            projection=self.projected(places, outputs.at(scratch), projected.frac),
            outputs=outputs,
            scratch=scratch,
            signal=signal.base,
            factor=places.constants[self._factor],
            one=places.constants[1],
            shift=1 + target.frac - projected.frac if self._l1 else max(0, target.frac - self.form.signal.frac),
            sign=(unit, places.region("distance")) if self._l1 else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distance:
    """Code of the distance, or of its sign."""

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
        self.projection.prepare(asm)

    def emit(self, asm: Assembler) -> None:
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
        """Nothing to do then."""
