"""``feedback``: output errors through a fixed random matrix (direct feedback alignment; Nokland,
NIPS 2016).
"""

from __future__ import annotations

import numpy as np

from ...arch.fixedpoint import FixedPoint
from ..formats.forward import MatrixFormats, peak
from ..formats.signals import Calibration, Typical
from .projections import FixedProjection
from .signals import OUTPUT_ERRORS, error_format

__all__ = ["Feedback"]


class Feedback(FixedProjection):
    """Output errors through a fixed random matrix."""

    name = "feedback"
    source = OUTPUT_ERRORS

    @property
    def source_format(self) -> FixedPoint:
        return error_format(self.setting.model, self.formats)

    def calibrate(self, layer: Calibration) -> Typical:
        matrix, form = self.random()
        errors = layer.errors
        # Errors of a softmax add up to 2 at most, whatever their signs.
        bound = 2.0 if self.setting.model.loss == "cross_entropy" else 4 * peak(np.abs(errors).sum(axis=1))
        signal = FixedPoint.reaching(bound * self.recipe.projection, self.width)
        return Typical(signal, errors @ matrix, matrix=MatrixFormats(weights=(form,)))
