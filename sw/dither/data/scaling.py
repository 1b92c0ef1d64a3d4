"""How inputs become numbers from -1 to 1: chosen once, kept with a run, applied again later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AS_THEY_ARE", "SCALINGS", "Scaling"]

SCALINGS = ("auto", "one", "features", "none")
"""Ways to choose a scaling: ``one`` for all features, one for each of them, ``none``, or what suits
the samples (``auto``).
"""
UNLIKE = 10
"""How many times the usual span of a feature (its lower quartile) another may have, and still share
its scaling.
"""
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Scaling:
    """Inputs minus ``centre``, divided by ``reach``, and clipped to -1 … 1."""

    centre: tuple[float, ...] = (0.0,)
    """Value that becomes 0: of all features, or of each."""
    reach: tuple[float, ...] = (1.0,)
    """Distance from the centre that becomes 1: of all features, or of each."""

    def __post_init__(self) -> None:
        values = np.array([*self.centre, *self.reach])
        if not len(self.centre) == len(self.reach) >= 1 or not np.isfinite(values).all() or min(self.reach) <= 0:
            raise ValueError("a scaling needs as many centres as reaches, finite ones, the latter positive")

    @classmethod
    def fit(cls, inputs: NDArray[Any], how: str = "auto") -> Scaling:
        """Returns the scaling that brings samples to -1 … 1.

        :param inputs: shape (samples, features), finite.
        :param how: one of :data:`SCALINGS`. ``auto`` takes the same for all features, as pixels
            want it, unless one of them spans more than :data:`UNLIKE` times what most do.
        :raises ValueError: if there is no such way.
        """
        if how not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {how!r}")
        if how == "none":
            return cls()
        lowest, highest = inputs.min(axis=0).astype(np.float64), inputs.max(axis=0).astype(np.float64)
        spans = highest - lowest
        usual = float(np.quantile(spans[spans > 0], 0.25, method="lower")) if (spans > 0).any() else 0.0
        if how == "one" or (how == "auto" and float(spans.max()) <= UNLIKE * usual):
            lowest, highest = lowest.min(keepdims=True), highest.max(keepdims=True)
        reach = np.where(highest > lowest, (highest - lowest) / 2, 1.0)
        return cls(tuple(((lowest + highest) / 2).tolist()), tuple(reach.tolist()))

    @property
    def trivial(self) -> bool:
        """Whether inputs stay as they are."""
        return set(self.centre) == {0.0} and set(self.reach) == {1.0}

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Returns scaled inputs, shape (samples, features)."""
        values = np.asarray(inputs)
        centre, reach = np.array(self.centre), np.array(self.reach)
        if len(centre) not in (1, values.shape[1]):
            raise ValueError(f"samples have {values.shape[1]} features, but the scaling is for {len(centre)}")
        found = np.empty(values.shape, np.float32)
        for first in range(0, len(values), _ROWS):  # Blocks: float64 takes eight times the bytes of pixels.
            block = slice(first, first + _ROWS)
            found[block] = np.clip((values[block] - centre) / reach, -1, 1)
        return found

    def clipped(self, inputs: NDArray[Any]) -> int:
        """Returns the number of samples with a feature outside of -1 … 1."""
        centre, reach = np.array(self.centre), np.array(self.reach)
        return int(np.count_nonzero((np.abs(inputs - centre) > reach * (1 + 1e-12)).any(axis=1)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers, ready for JSON."""
        return {"centre": list(self.centre), "reach": list(self.reach)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scaling:
        """Makes a scaling from what :meth:`to_dict` returned.

        :raises ValueError: if it is nothing of the kind.
        """
        try:
            return cls(tuple(map(float, values["centre"])), tuple(map(float, values["reach"])))
        except (LookupError, TypeError) as error:
            raise ValueError(f"no scaling: {error}") from None

    def __str__(self) -> str:
        if self.trivial:
            return "inputs as they are"
        if len(self.centre) > 1:
            return f"inputs scaled to -1 … 1, each of {len(self.centre)} features by its own range"
        return f"inputs scaled to -1 … 1 by (x - {self.centre[0]:g}) / {self.reach[0]:g}"


AS_THEY_ARE = Scaling()
"""Scaling of inputs that are from -1 to 1 already."""
