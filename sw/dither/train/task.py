"""What a training run needs of its task, and data sets with classes as tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..compiler import Compiled, Labelled, compile
from ..data import AS_THEY_ARE, Scaling
from ..nn.models import Model, Parameters
from ..recipe import Recipe
from ..runs.metrics import ACCURACY, Metric, Scores
from .sampler import Batches, DataBatches, PartBatches, Sampler, part_batches

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Split", "Task", "TaskError", "TrainingTask", "stratified"]


class TaskError(ValueError):
    """A task is unknown or its data cannot be used; the message is one line and says what to do."""


class TrainingTask(Protocol):
    """What a training run needs to know of its task."""

    @property
    def name(self) -> str:
        """Name of the task, as the command line takes it."""

    @property
    def title(self) -> str:
        """Title of the task, one line for people."""

    @property
    def model(self) -> Model:
        """Model that is trained unless another is asked for."""

    @property
    def recipe(self) -> Recipe:
        """Recipe that is used unless another is asked for."""

    def recipe_for(self, network: str | None, estimator: Any = None) -> Recipe:
        """Returns the recipe for a network by its name; the task's own if None.

        :param estimator: the recipe's estimator, if one is asked for.
        """

    @property
    def steps(self) -> int:
        """Number of optimiser steps unless another is asked for."""

    @property
    def engine(self) -> str | None:
        """Preset of an engine that the recipe's program fits; None for the first that does fit."""

    @property
    def log_every(self) -> int:
        """Number of optimiser steps between evaluations unless another is asked for."""

    @property
    def metric(self) -> Metric:
        """Figure of merit that says how good a network is."""

    @property
    def samples(self) -> Mapping[str, int]:
        """Number of samples to ``train`` on (0: new ones in every step) and to ``test`` with."""

    @property
    def range_inputs(self) -> NDArray[np.floating[Any]]:
        """Samples whose activations tell how far these reach, shape (samples, features)."""

    def compile(self, model: Model, recipe: Recipe, engine: EngineConfig, parameters: Parameters) -> Compiled:
        """Compiles the program that trains a model on this task.

        :raises CompileError: if it does not fit.
        """

    def batches(self, recipe: Recipe) -> Batches:
        """Returns the source of each step's samples."""

    def score(self, session: Session) -> Scores:
        """Returns how the network that a device holds does on held-out data."""


@dataclass(frozen=True, slots=True)
class Split:
    """Samples for one purpose, training or testing, with their labels."""

    inputs: NDArray[np.floating[Any]]
    """Samples as floats in [-1, 1], shape (samples, features)."""
    labels: NDArray[np.int64]
    """Class of each sample, from 0, shape (samples,)."""

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A classification data set, checked, with the model and recipe that suit it.

    It is a :class:`TrainingTask`.

    :raises TaskError: if a split is empty, its shapes disagree, an input is NaN, infinite or
        outside [-1, 1], or a label is no class, or the model does not suit the data.
    """

    name: str
    """Name of the task, as the command line takes it."""
    title: str
    """Title of the task, one line for people."""
    classes: int
    """Number of classes, hence of the network's outputs."""
    train: Split
    """Samples to train on."""
    test: Split
    """Samples held out: never trained on."""
    model: Model
    """Model that is trained unless another is asked for."""
    recipe: Recipe
    """Recipe that is used unless another is asked for."""
    steps: int
    """Number of optimiser steps unless another is asked for."""
    engine: str | None = "2x16"
    """Preset of an engine that the recipe's program fits; None for the first that it does fit."""
    log_every: int = 50
    """Number of optimiser steps between evaluations unless another is asked for."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Changes to the recipe for other networks than the task's own, by the network's name."""
    scaling: Scaling = AS_THEY_ARE
    """How samples as they are become those of the splits."""
    names: tuple[Any, ...] | None = None
    """Label that each class has outside, numbers or texts; None if that is the class."""
    parts: tuple[Split, ...] = ()
    """Samples of several owners, of which each step takes equal parts instead of :attr:`train`, as
    :class:`~dither.train.sampler.PartBatches` does; none if there is but one owner."""
    objective: Labelled = field(init=False, repr=False, compare=False)
    """What networks are trained for: one object, so that number formats are found but once for all
    engines."""

    def __post_init__(self) -> None:
        parts = ((f"part {number}'s", part) for number, part in enumerate(self.parts, 1))
        for kind, split in (("training", self.train), ("held-out", self.test), *parts):
            self._check(f"{self.name}: {kind}", split)
        if self.train.inputs.shape[1] != self.test.inputs.shape[1]:
            shapes = f"{self.train.inputs.shape[1]} against {self.test.inputs.shape[1]}"
            raise TaskError(f"{self.name}: training and held-out samples have different numbers of features: {shapes}")
        self.check_model(self.model)
        object.__setattr__(self, "objective", Labelled(self.train.inputs, self.train.labels))

    def recipe_for(self, network: str | None, estimator: Any = None) -> Recipe:
        """Returns the recipe for a network by its name: the task's own, with the changes for it."""
        return replace(self.recipe, **self.variants.get(network or "", {}))

    @property
    def features(self) -> int:
        """Number of features of a sample, which are the network's inputs."""
        return int(self.train.inputs.shape[1])

    @property
    def metric(self) -> Metric:
        """Figure of merit: the accuracy on held-out samples."""
        return ACCURACY

    @property
    def samples(self) -> Mapping[str, int]:
        """Number of samples to ``train`` on and to ``test`` with."""
        return {"train": sum(map(len, self.parts)) or len(self.train), "test": len(self.test)}

    @property
    def range_inputs(self) -> NDArray[np.floating[Any]]:
        """Samples whose activations tell how far these reach: all held-out ones."""
        return self.test.inputs

    def compile(self, model: Model, recipe: Recipe, engine: EngineConfig, parameters: Parameters) -> Compiled:
        """Compiles the program that trains a model on this task.

        :raises TaskError: if the model does not suit the data.
        :raises CompileError: if it does not fit.
        """
        self.check_model(model)
        return compile(model, self.objective, recipe, engine, parameters)

    def batches(self, recipe: Recipe) -> Batches:
        """Returns the source of each step's samples: passes over the data in random order.

        :raises ValueError: if a batch cannot be divided among all parts.
        """
        if self.parts:
            shares = [
                part_batches(part.inputs, part.labels, len(self.parts), recipe.batch, recipe.seed)
                for part in self.parts
            ]
            return PartBatches(shares)
        sampler = Sampler(samples=len(self.train), batch=recipe.batch, seed=recipe.seed)
        return DataBatches(self.train.inputs, self.train.labels, sampler)

    def score(self, session: Session) -> Scores:
        """Returns how the network that a device holds does on held-out data: loss, accuracy, and
        what each class was taken for.

        Of equal outputs, the lowest class's counts.
        """
        found = session.evaluate(self.test.inputs, self.test.labels)
        taken = found.integers.argmax(axis=1)
        confusion = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(confusion, (self.test.labels, taken), 1)
        return Scores(found.loss, float(np.mean(taken == self.test.labels)), confusion.tolist())

    def check_model(self, model: Model) -> None:
        """Checks that a model's numbers of inputs and outputs are the data's.

        :raises TaskError: if they differ.
        """
        if (model.inputs, model.outputs) != (self.features, self.classes):
            raise TaskError(
                f"{self.name}: the model takes {model.inputs} inputs and has {model.outputs} outputs, "
                f"the data have {self.features} features and {self.classes} classes"
            )

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


def stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Returns a mask that holds out ``fraction`` of the samples of every class.

    The same seed holds out the same samples.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held_out[generator.permutation(members)[: round(len(members) * fraction)]] = True
    return held_out
