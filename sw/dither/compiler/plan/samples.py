"""What a host sends for each sample: integers for the words of a lane group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.fixedpoint import FixedPoint
from ...nn.models import Model

__all__ = ["LabelledSamples", "Samples", "matrix"]

Integers = NDArray[np.int64]


class Samples(Protocol):
    """Turns samples into words."""

    @property
    def label(self) -> int:
        """Which word is negative in idle lanes."""

    def words(self, inputs: ArrayLike, targets: ArrayLike | None) -> Integers:
        """Integers of shape (samples, words).

        :param inputs: shape (samples, inputs).
        :param targets: what to compare outputs with; none masks the losses, where there is anything
            to compare with.
        :raises ValueError: on other shapes.
        """


def matrix(inputs: ArrayLike, columns: int) -> NDArray[np.float64]:
    """Samples as an array of shape (samples, columns).

    :raises ValueError: on another shape, or without samples.
    """
    samples = np.asarray(inputs, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] != columns or not len(samples):
        raise ValueError(f"inputs must have shape (samples, {columns}), not {samples.shape}")
    return samples


@dataclass(frozen=True, slots=True)
class LabelledSamples(Samples):
    """Inputs, label and, for squared errors, targets."""

    model: Model
    input: FixedPoint
    output: FixedPoint
    """The format of outputs and targets."""

    @property
    def label(self) -> int:
        return self.model.inputs

    def words(self, inputs: ArrayLike, targets: ArrayLike | None) -> Integers:
        """Returns integers of shape (samples, words).

        :param targets: classes or, for squared errors, values; None masks the losses.
        :raises ValueError: on other shapes than the model's.
        """
        samples = matrix(inputs, self.model.inputs)
        words = [self.input.encode(samples)]
        squared = self.model.loss == "squared_error"
        wanted = None if targets is None else np.asarray(targets)
        expected = (len(samples), self.model.outputs) if squared else (len(samples),)
        if wanted is not None and wanted.shape != expected:
            raise ValueError(f"targets must have shape {expected}, not {wanted.shape}")
        labels = np.zeros(len(samples)) if squared else wanted
        words.append(np.asarray(np.full(len(samples), -1) if wanted is None else labels, dtype=np.int64)[:, None])
        if squared:
            values = np.zeros(expected) if wanted is None else wanted
            words.append(self.output.encode(values))
        return np.concatenate(words, axis=1)
