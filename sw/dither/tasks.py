"""Tasks: what there is to learn, as data in [-1, 1] with labels."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .models import Model, named_model
from .recipe import Recipe

__all__ = ["TASKS", "Split", "Task", "TaskError", "load_task"]


class TaskError(ValueError):
    """A task is unknown or its data cannot be used; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """Samples of one kind: ``inputs`` (samples, features), float64 in [-1, 1]; ``labels`` (samples,), classes."""

    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A classification data set, checked.

    :raises TaskError: if a split is empty, its shapes disagree, an input is NaN, infinite or outside [-1, 1], or a
        label is no class, or the model does not suit the data.
    """

    name: str
    title: str
    """One line for people."""
    classes: int
    train: Split
    test: Split
    """Held out: never trained on."""
    model: Model
    """Trained where nobody asks for another."""
    recipe: Recipe
    """Used where nobody asks for another."""
    steps: int
    """Optimiser steps, where nobody asks for another number."""

    def __post_init__(self) -> None:
        for kind, split in (("training", self.train), ("held-out", self.test)):
            self._check(f"{self.name}: {kind}", split)
        if self.train.inputs.shape[1] != self.test.inputs.shape[1]:
            shapes = f"{self.train.inputs.shape[1]} against {self.test.inputs.shape[1]}"
            raise TaskError(f"{self.name}: training and held-out samples have different numbers of features: {shapes}")
        if (self.model.inputs, self.model.outputs) != (self.features, self.classes):
            raise TaskError(
                f"{self.name}: the model takes {self.model.inputs} inputs and has {self.model.outputs} outputs, "
                f"the data have {self.features} features and {self.classes} classes"
            )

    @property
    def features(self) -> int:
        """Inputs of the network."""
        return int(self.train.inputs.shape[1])

    def _check(self, where: str, split: Split) -> None:
        inputs, labels = split.inputs, split.labels
        if inputs.ndim != 2 or inputs.size == 0:
            raise TaskError(f"{where} inputs must be of shape (samples, features), neither 0, not {inputs.shape}")
        if labels.shape != (len(inputs),):
            raise TaskError(f"{where} labels must be of shape ({len(inputs)},), one a sample, not {labels.shape}")
        if bad := int(np.count_nonzero(~np.isfinite(inputs))):
            first = np.argwhere(~np.isfinite(inputs))[0]
            raise TaskError(
                f"{where} inputs hold {bad} NaN or infinite values, the first in sample {first[0]}; clean them"
            )
        if (largest := float(np.abs(inputs).max())) > 1:
            raise TaskError(f"{where} inputs reach {largest:.4g}; scale them to -1 … 1")
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= self.classes:
            raise TaskError(f"{where} labels must be integers from 0 to {self.classes - 1}")


def _stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """A mask that holds out ``fraction`` of the samples of every class, the same ones for the same seed."""
    generator = np.random.Generator(np.random.Philox(seed))
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held_out[generator.permutation(members)[: round(len(members) * fraction)]] = True
    return held_out


def _digits() -> Task:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = bunch.data.astype(np.float64) / 8 - 1
    labels = bunch.target.astype(np.int64)
    held_out = _stratified(labels, 0.2, seed=0)
    return Task(
        name="digits",
        title="handwritten digits, 8×8 pixels, ten classes",
        classes=10,
        train=Split(inputs[~held_out], labels[~held_out]),
        test=Split(inputs[held_out], labels[held_out]),
        model=named_model("digits"),
        recipe=Recipe(
            batch=64,
            tile=32,
            probes=(4, 16),
            estimator="layerwise",
            mu=2**-6,
            decay1=3,
            decay2=6,
            rate=2**-7,
            schedule="cosine",
            schedule_steps=1400,
        ),
        steps=1400,
    )


TASKS: dict[str, Callable[[], Task]] = {"digits": _digits}
"""What the command line offers: a loader by name."""


def load_task(name: str) -> Task:
    """The named task, loaded and checked.

    :raises TaskError: if there is none of that name, with the nearest known one.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(TASKS)}"
        raise TaskError(f"unknown task {name!r}; {hint}")
    return TASKS[name]()
