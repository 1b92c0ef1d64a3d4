"""What a host sends for a point at which a differential equation is to hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.fixedpoint import FixedPoint
from ...physics import Expression
from ..formats.residual import ResidualFormats
from ..plan.lowering import Lowered
from ..plan.samples import Samples, matrix

__all__ = ["Points"]


@dataclass(frozen=True, slots=True)
class Points(Samples):
    """Points as words: coordinates, the terms' coefficients, a label and the negative source."""

    lowered: Lowered
    formats: ResidualFormats
    dimensions: int

    @property
    def label(self) -> int:
        return self.dimensions + len(self.lowered.terms)

    def words(self, inputs: ArrayLike, targets: ArrayLike | None = None) -> NDArray[np.int64]:
        """Returns integers of shape (points, words).

        :param inputs: the points, shape (points, dimensions).
        :raises ValueError: on another shape, or if there are targets.
        """
        points = matrix(inputs, self.dimensions)
        if targets is not None:
            raise ValueError("a differential equation has no targets")

        def column(form: FixedPoint, value: Expression) -> NDArray[np.int64]:
            return form.encode(value.value(points))[:, None]

        coefficients = [
            column(form, coefficient)
            for form, (coefficient, _) in zip(self.formats.coefficients, self.lowered.terms, strict=True)
        ]
        label = np.zeros((len(points), 1), np.int64)
        source = column(self.formats.residual, -self.lowered.source)
        return np.concatenate([self.formats.point.encode(points), *coefficients, label, source], axis=1)
