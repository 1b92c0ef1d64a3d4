"""``target``: the distance of a layer's outputs from a fixed random projection of the target, or
its sign (tpSGD, arXiv 2208.08503).
"""

from __future__ import annotations

import numpy as np

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import combine
from ..code.nests import Access, Drain, contract_nest
from ..formats.forward import MatrixFormats, peak
from ..formats.signals import Calibration, Typical
from .local import SIGNAL
from .projections import ClassProjection

__all__ = ["Target"]


class Target(ClassProjection):
    """Target projection; the recipe's ``local_loss`` says whether the sign alone counts (l1)."""

    name = "target"

    @property
    def _l1(self) -> bool:
        return self.recipe.local_loss == "l1"

    def calibrate(self, layer: Calibration) -> Typical:
        code, form = self.projected_code(layer)
        distance, matrix = layer.mine + code, MatrixFormats(weights=(form,))
        if self._l1:
            return Typical(
                FixedPoint(self.width, self.width - 2), np.sign(distance), matrix=MatrixFormats(weights=(form,))
            )
        reach = min(self.target.limit, 4 * peak(layer.mine)) + 2 * self.recipe.projection
        return Typical(FixedPoint.reaching(reach, self.width), distance, matrix=matrix)

    @property
    def _projected(self) -> FixedPoint:
        """The projection's format: outputs are multiplied by 1, the projection by a power of two,
        to give them one binary point.
        """
        return FixedPoint(self.width, min(self.matrix_formats.weights[0].frac, self.target.frac))

    @property
    def _factor(self) -> int:
        return 1 << (self.target.frac - self._projected.frac)

    def constants(self) -> set[int]:
        return super().constants() | {self._factor} | ({1 << (self.width - 2)} if self._l1 else set())

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        words = self.outputs().part(chunks if self.splits(chunks) else 1).extent
        found = super().own(chunks) | {"projection": (words, (SIGNAL,))}
        return found | ({"distance": (words, (SIGNAL,))} if self._l1 else {})

    def signal(self, asm: Assembler) -> None:
        engine, s, what = self.setting.engine, self.s, "distance to the target"
        y = self.y if self.at_once else self.part(self.y)
        projected, projection = self._projected, s.at(self.region("projection"))
        self.project(asm, projection, projected.frac)
        distance = s.at(self.region("distance")) if self._l1 else s
        shift = 1 + self.target.frac - projected.frac if self._l1 else max(0, self.target.frac - self.form.signal.frac)
        factor, one = self.constant(self._factor), self.constant(1)
        asm.add(combine(engine, what, y, projection, factor, one, distance.base, shift))
        if self._l1:
            asm.add(
                contract_nest(
                    engine,
                    what,
                    inner=(),
                    outer=y.outer,
                    w=distance.each(),
                    x=Access(self.constant(1 << (self.width - 2))),
                    y=Access(s.base, s.each().strides[3:]),
                    drain=Drain(0),
                    operand=Operand.SIGN,
                )
            )
