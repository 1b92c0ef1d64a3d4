"""``projection``: a fixed random projection of the target itself (direct random target projection;
Frenkel, Lefebvre, Bol, Front. Neurosci. 2021).
"""

from __future__ import annotations

from ...arch.fixedpoint import FixedPoint
from ..formats.forward import MatrixFormats
from ..formats.signals import Calibration, Typical
from .projections import ClassProjection

__all__ = ["Projection"]


class Projection(ClassProjection):
    """A fixed random projection of the classes' code."""

    name = "projection"

    def calibrate(self, layer: Calibration) -> Typical:
        code, form = self.projected_code(layer)
        return Typical(
            FixedPoint.reaching(2 * self.recipe.projection, self.width), code, matrix=MatrixFormats(weights=(form,))
        )
