"""Tasks: data in [-1, 1] with labels to learn, or a differential equation to solve."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..compiler import Compiled, Labelled, compile
from ..data import DataError, data_folder, load_mnist
from ..nn.models import Model, Parameters, named_model
from ..recipe import Recipe
from ..runs.metrics import ACCURACY, Metric, Scores
from ..tools.files import AnyPath
from .equations import EQUATIONS
from .sampler import Batches, DataBatches, Sampler

if TYPE_CHECKING:
    from .session import Session

__all__ = ["TASKS", "Split", "Task", "TaskError", "TrainingTask", "load_task", "task_names"]


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

    def recipe_for(self, network: str | None) -> Recipe:
        """Returns the recipe for a network by its name; the task's own if None."""

    @property
    def steps(self) -> int:
        """Number of optimiser steps unless another is asked for."""

    @property
    def engine(self) -> str:
        """Preset of an engine that the recipe's program fits."""

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
    engine: str = "2x16"
    """Preset of an engine that the recipe's program fits."""
    log_every: int = 50
    """Number of optimiser steps between evaluations unless another is asked for."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Changes to the recipe for other networks than the task's own, by the network's name."""
    objective: Labelled = field(init=False, repr=False, compare=False)
    """What networks are trained for: one object, so that number formats are found but once for all
    engines."""

    def __post_init__(self) -> None:
        for kind, split in (("training", self.train), ("held-out", self.test)):
            self._check(f"{self.name}: {kind}", split)
        if self.train.inputs.shape[1] != self.test.inputs.shape[1]:
            shapes = f"{self.train.inputs.shape[1]} against {self.test.inputs.shape[1]}"
            raise TaskError(f"{self.name}: training and held-out samples have different numbers of features: {shapes}")
        self.check_model(self.model)
        object.__setattr__(self, "objective", Labelled(self.train.inputs, self.train.labels))

    def recipe_for(self, network: str | None) -> Recipe:
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
        return {"train": len(self.train), "test": len(self.test)}

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
        """Returns the source of each step's samples: passes over the data in random order."""
        sampler = Sampler(samples=len(self.train), batch=recipe.batch, seed=recipe.seed)
        return DataBatches(self.train.inputs, self.train.labels, sampler)

    def score(self, session: Session) -> Scores:
        """Returns loss and accuracy on held-out data of the network that a device holds.

        Of equal outputs, the lowest class's counts.
        """
        found = session.evaluate(self.test.inputs, self.test.labels)
        return Scores(found.loss, float(np.mean(found.integers.argmax(axis=1) == self.test.labels)))

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


def _stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Returns a mask that holds out ``fraction`` of the samples of every class.

    The same seed holds out the same samples.
    """
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


def _mnist(folder: Path | None) -> Task:
    # Tasks are asked for several times, so files are read once for each process and folder.
    return _mnist_from(folder, data_folder("mnist", folder)[0])


@functools.lru_cache(maxsize=1)
def _mnist_from(folder: Path | None, found: Path) -> Task:
    train, test = load_mnist(folder)
    return Task(
        name="mnist",
        title="handwritten digits, 28×28 pixels, ten classes",
        classes=10,
        train=Split(train.scaled(), train.labels),
        test=Split(test.scaled(), test.labels),
        model=named_model("mnist"),
        recipe=Recipe(
            batch=128,
            tile=128,
            estimator=("mirror", "exact"),
            activity_mu=2**-5,
            feedback_slowness=0,
            hidden_headroom=7,
            decay1=3,
            decay2=7,
            rate=2**-7,
            schedule="cosine",
            schedule_steps=5625,
        ),
        steps=5625,
        engine="8x32-deep",
        log_every=125,
        variants={
            "mnist-cnn": {"estimator": ("mirror", "mirror", "exact")},
            # Nothing goes back through time: the state of every time step gets the error at the
            # network's outputs.
            "mnist-rnn": {"estimator": ("feedback", "exact")},
        },
    )


TASKS: dict[str, Callable[[], Task]] = {"digits": _digits}
"""Functions that load the bundled data sets, by name."""
DATA_TASKS: dict[str, Callable[[Path | None], Task]] = {"mnist": _mnist}
"""Functions that load the data sets which are not bundled, by name.

They take a folder, or None for wherever :mod:`dither.data` finds the files.
"""


def task_names() -> list[str]:
    """Returns the names of all tasks."""
    return [*TASKS, *DATA_TASKS, *EQUATIONS]


def load_task(name: str, stencil: str | None = None, data: AnyPath | None = None) -> TrainingTask:
    """Returns the named task, loaded and checked.

    :param stencil: how derivatives are taken, if other than the task does, for a differential
        equation.
    :param data: the folder of the task's files; :func:`dither.data.data_folder` finds it if None.
    :raises TaskError: if there is no such task (the message has the nearest known one) or stencil,
        or data cannot be read.
    """
    if data is not None and name not in DATA_TASKS and name in task_names():
        raise TaskError(f"{name} needs no files; leave the data folder out")
    if name in EQUATIONS:
        try:
            return EQUATIONS[name](stencil)
        except ValueError as error:
            raise TaskError(str(error)) from None
    if name not in TASKS and name not in DATA_TASKS:
        near = difflib.get_close_matches(name, task_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(task_names())}"
        raise TaskError(f"unknown task {name!r}; {hint}")
    if stencil is not None:
        raise TaskError(f"{name} is no differential equation; leave the stencil out")
    if name in TASKS:
        return TASKS[name]()
    try:
        return DATA_TASKS[name](None if data is None else Path(data))
    except DataError as error:
        raise TaskError(str(error)) from None
