"""What a host sends for each sample: integers for the words of a lane group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.fixedpoint import FixedPoint
from ...nn.models import Model

__all__ = ["LabelledSamples", "Samples", "classes", "encoded", "matrix"]

Integers = NDArray[np.int64]

OUTLIER = 8
"""How many times the range of its format a value may reach and still be clipped: a sample unlike
those that the format was chosen for, rather than one of another scale.
"""


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
    if not np.isfinite(samples).all():
        raise ValueError("inputs must be finite numbers; leave out or repair samples with NaN or infinity")
    return samples


def classes(targets: ArrayLike, count: int) -> Integers:
    """Returns the classes of samples as integers.

    :param count: number of classes.
    :raises ValueError: if a target is no whole number from 0 to ``count`` - 1.
    """
    values = np.asarray(targets, dtype=np.float64)
    good = (values >= 0) & (values < count) & (values == np.floor(values))
    if not good.all():
        raise ValueError(f"targets must be classes, whole numbers from 0 to {count - 1}, not {values[~good][0]:g}")
    return values.astype(np.int64)


def encoded(values: NDArray[np.float64], form: FixedPoint, what: str) -> Integers:
    """Returns values in a format; those a little outside of its range are clipped to its end.

    :param what: what the values are, for messages.
    :raises ValueError: if a value is no number, or so far outside that it is a mistake of scale.
    """
    reach, end = float(np.abs(values).max(initial=0.0)), math.ldexp(1.0, form.width - 1 - form.frac)
    if not reach <= OUTLIER * end:
        raise ValueError(
            f"{what} reach {reach:g}, but the program was compiled for at most {end:g}; scale them, or compile with "
            "samples that reach as far"
        )
    return form.encode(values)


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
        words = [encoded(samples, self.input, "inputs")]
        squared = self.model.loss == "squared_error"
        wanted = None if targets is None else np.asarray(targets)
        expected = (len(samples), self.model.outputs) if squared else (len(samples),)
        if wanted is not None and wanted.shape != expected:
            raise ValueError(f"targets must have shape {expected}, not {wanted.shape}")
        if wanted is None:
            labels = np.full(len(samples), -1)
        else:
            labels = np.zeros(len(samples), np.int64) if squared else classes(wanted, self.model.outputs)
        words.append(labels[:, None])
        if squared:
            values = np.zeros(expected) if wanted is None else wanted
            words.append(encoded(np.asarray(values, dtype=np.float64), self.output, "targets"))
        return np.concatenate(words, axis=1)
