"""Samples of each step: a pure function of seed and step, so that a run resumes anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..physics import Problem

__all__ = ["Batches", "DataBatches", "PartBatches", "PointBatches", "Sampler", "part_batches"]

_DOMAIN = 0x73616D706C6572
"""Second key word of the order's generator ("sampler").

It keeps the order apart from other uses of the same seed.
"""
_POINTS = 0x706F696E7473
"""Second key word of the generator of points ("points")."""


class Batches(Protocol):
    """Source of the samples of any step."""

    def take(self, first: int, steps: int) -> tuple[NDArray[np.floating[Any]], NDArray[Any] | None]:
        """Returns the samples of ``steps`` consecutive steps from step ``first`` on.

        :returns: inputs of shape (steps, batch, features) and targets of shape (steps, batch), or
            None where there are none.
        """


class PointBatches:
    """Fresh random points of a problem's box in every step.

    A Philox generator draws them from (seed, step).

    :param batch: number of points in a step.
    :param seed: the run's seed.
    """

    def __init__(self, problem: Problem, batch: int, seed: int) -> None:
        self.problem = problem
        self.batch = batch
        self.seed = seed

    def take(self, first: int, steps: int) -> tuple[NDArray[np.float64], None]:
        """Returns the points of ``steps`` consecutive steps from step ``first`` on.

        :returns: inputs of shape (steps, batch, dimensions), and None for targets.
        """
        drawn = [
            self.problem.sample(
                np.random.Generator(np.random.Philox(key=[self.seed, _POINTS], counter=[0, 0, 0, step])), self.batch
            )
            for step in range(first, first + steps)
        ]
        return np.stack(drawn), None


class Sampler:
    """Passes over the data in a new random order each time, without a gap between passes.

    Position p of the endless stream is element ``p % samples`` of the permutation of pass
    ``p // samples``, which a Philox generator draws from (seed, pass).

    :param samples: size of the training set.
    :param batch: number of samples in a step.
    :param seed: the run's seed.
    :raises ValueError: if a number is not positive.
    """

    def __init__(self, *, samples: int, batch: int, seed: int) -> None:
        if samples < 1 or batch < 1:
            raise ValueError(f"samples and batch must be positive, not {samples} and {batch}")
        self.samples = samples
        self.batch = batch
        self.seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            # A few steps touch neighbouring passes only; older ones are not needed again.
            self._orders = {number: order for number, order in self._orders.items() if abs(number - epoch) <= 2}
            generator = np.random.Generator(np.random.Philox(key=[self.seed, _DOMAIN], counter=[0, 0, 0, epoch]))
            self._orders[epoch] = generator.permutation(self.samples)
        return self._orders[epoch]

    def indices(self, first: int, steps: int = 1) -> NDArray[np.int64]:
        """Returns the numbers of the samples of ``steps`` steps from step ``first`` on.

        :returns: int64 of shape (steps, batch).
        """
        positions = np.arange(first * self.batch, (first + steps) * self.batch)
        epochs, places = np.divmod(positions, self.samples)
        chosen = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(int(epoch))[places[here]]
        return chosen.reshape(steps, self.batch)


class DataBatches:
    """Samples of a data set, in the order of a :class:`Sampler`.

    :param inputs: shape (samples, features).
    :param labels: shape (samples,).
    """

    def __init__(self, inputs: NDArray[np.floating[Any]], labels: NDArray[np.int64], sampler: Sampler) -> None:
        self.inputs = inputs
        self.labels = labels
        self.sampler = sampler

    def take(self, first: int, steps: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Returns the samples of ``steps`` consecutive steps from step ``first`` on.

        :returns: inputs of shape (steps, batch, features) and labels of shape (steps, batch).
        """
        chosen = self.sampler.indices(first, steps)
        return self.inputs[chosen], self.labels[chosen]


def part_batches(
    inputs: NDArray[np.floating[Any]], labels: NDArray[np.int64], parts: int, batch: int, seed: int
) -> DataBatches:
    """Returns what one of several owners of data gives to each step: an equal part of its batch.

    :param inputs: the owner's own, shape (samples, features).
    :param labels: shape (samples,).
    :param parts: how many owners there are.
    :param batch: number of samples in a step, of all owners together.
    :raises ValueError: if that cannot be divided.
    """
    if batch % parts:
        raise ValueError(f"a batch of {batch} samples cannot be divided into {parts} equal parts; give another --batch")
    return DataBatches(inputs, labels, Sampler(samples=len(inputs), batch=batch // parts, seed=seed))


class PartBatches:
    """Samples of several owners: each step's batch is a part of each, in their order.

    :param parts: what each of them gives, by :func:`part_batches`.
    """

    def __init__(self, parts: Sequence[DataBatches]) -> None:
        self.parts = parts

    def take(self, first: int, steps: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Returns the samples of ``steps`` consecutive steps from step ``first`` on.

        :returns: inputs of shape (steps, batch, features) and labels of shape (steps, batch).
        """
        inputs, labels = zip(*(part.take(first, steps) for part in self.parts), strict=True)
        return np.concatenate(inputs, axis=1), np.concatenate(labels, axis=1)
