"""Tasks by name: data in [-1, 1] with labels to learn, or a differential equation to solve."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data import (
    IMAGE_SETS,
    DataError,
    Images,
    Scaling,
    data_folder,
    load_japanese_vowels,
    load_keywords,
    load_mnist1d,
)
from ..nn.models import named_model
from ..recipe import Recipe
from ..tools.files import AnyPath
from .equations import EQUATIONS
from .own import labelled_task
from .source import Source, load_own
from .task import Split, Task, TaskError, TrainingTask, stratified

__all__ = ["TASKS", "Split", "Task", "TaskError", "TrainingTask", "load_task", "task_names"]


_DIGITS_RECIPE = Recipe(
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
)
"""Layers are perturbed one after the other, the smaller one more often."""


def _digits() -> Task:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = bunch.data.astype(np.float64) / 8 - 1
    labels = bunch.target.astype(np.int64)
    held_out = stratified(labels, 0.2, seed=0)
    return Task(
        name="digits",
        title="handwritten digits, 8×8 pixels, ten classes",
        classes=10,
        train=Split(inputs[~held_out], labels[~held_out]),
        test=Split(inputs[held_out], labels[held_out]),
        model=named_model("digits"),
        recipe=_DIGITS_RECIPE,
        steps=1400,
        scaling=Scaling((8.0,), (8.0,)),
    )


_CONVOLUTIONS = Recipe(
    batch=128,
    tile=128,
    probes=(16, 1, 1),
    estimator=("activity", "mirror", "exact"),
    activity_mu=2**-5,
    feedback_slowness=0,
    hidden_headroom=6,
    decay1=3,
    decay2=7,
    rate=2**-7,
    schedule="cosine",
    schedule_steps=6000,
)
"""What the layers behind an early convolution do depends on the sample: one learned matrix for all
samples takes their place badly, perturbed activities tell of each."""


def _mnist1d() -> Task:
    return replace(
        labelled_task("mnist1d", load_mnist1d()),
        title="curves of ten kinds, 40 points each",
        model=named_model("mnist1d"),
        recipe=replace(_CONVOLUTIONS, probes=(16, 16, 1, 1), estimator=("activity", "activity", "mirror", "exact")),
        steps=6000,
        engine="8x32-deep",
        log_every=250,
        variants={"mnist1d-mlp": {"probes": (16, 1, 1), "estimator": ("activity", "mirror", "exact")}},
    )


def _japanese_vowels() -> Task:
    return replace(
        labelled_task("japanese-vowels", load_japanese_vowels()),
        title="the vowels /ae/ in 29 frames of twelve coefficients, nine speakers",
        model=named_model("japanese-vowels"),
        recipe=Recipe(
            batch=64,
            tile=64,
            estimator=("target", "exact"),
            projection=6.0,
            hidden_headroom=4,
            decay1=3,
            decay2=7,
            rate=2**-8,
            schedule="cosine",
            schedule_steps=1000,
        ),
        steps=1000,
        engine="8x32-deep",
        log_every=50,
    )


def _keywords() -> Task:
    return replace(
        labelled_task("keywords", load_keywords()),
        title="ten spoken words, 32 frames of 16 bands",
        model=named_model("keywords"),
        recipe=replace(_CONVOLUTIONS, probes=(8, 1, 1), rate=2**-8, schedule_steps=3000),
        steps=3000,
        engine="8x32-deep",
        log_every=125,
    )


def _images(name: str, title: str, rate: float, train: Images, test: Images) -> Task:
    return Task(
        name=name,
        title=title,
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
            rate=rate,
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
            "mnist-rnn-states": {"estimator": ("target", "exact"), "projection": 6.0, "hidden_headroom": 4},
            "mnist-rnn-stacked": {"estimator": ("target", "target", "exact"), "projection": 6.0, "hidden_headroom": 4},
        },
        scaling=Scaling((127.5,), (127.5,)),
    )


def _small_images(train: Images, test: Images) -> Task:
    train, test = train.averaged(8), test.averaged(8)
    return Task(
        name="mnist-8x8",
        title="handwritten digits, averaged to 8×8 pixels, ten classes",
        classes=10,
        train=Split(train.scaled(), train.labels),
        test=Split(test.scaled(), test.labels),
        model=named_model("digits"),
        recipe=_DIGITS_RECIPE,
        steps=1400,
        log_every=100,
        scaling=Scaling((127.5,), (127.5,)),
    )


def _of_images(images: str, make: Callable[[Images, Images], Task]) -> Callable[[Path | None], Task]:
    """Returns what loads a task of an image set's images for training and for tests."""

    # Tasks are asked for several times, so files are read once for each process and folder.
    @functools.lru_cache(maxsize=1)
    def load(folder: Path | None, found: Path) -> Task:
        return make(*IMAGE_SETS[images].load(folder))

    return lambda folder: load(folder, data_folder(images, folder)[0])


TASKS: dict[str, Callable[[], Task]] = {
    "digits": _digits,
    "mnist1d": _mnist1d,
    "japanese-vowels": _japanese_vowels,
    "keywords": _keywords,
}
"""Functions that load the data sets which packages and programs hold or make, by name."""
DATA_TASKS: dict[str, Callable[[Path | None], Task]] = {
    "mnist": _of_images(
        "mnist", functools.partial(_images, "mnist", "handwritten digits, 28×28 pixels, ten classes", 2**-7)
    ),
    "mnist-8x8": _of_images("mnist", _small_images),
    # At twice the rate activations outgrow every headroom after a thousand steps.
    "fashion-mnist": _of_images(
        "fashion-mnist",
        functools.partial(_images, "fashion-mnist", "pieces of clothing, 28×28 pixels, ten classes", 2**-8),
    ),
}
"""Functions that load the data sets which are not bundled, by name.

They take a folder, or None for wherever :mod:`dither.data` finds the files.
"""


FORMS = "DATA.npz, DATA.csv, FOLDER, CODE.py:NAME"
"""What a task of one's own can be, for people."""


def task_names() -> list[str]:
    """Returns the names of all tasks."""
    return [*TASKS, *DATA_TASKS, *EQUATIONS]


def load_task(name: str, stencil: str | None = None, data: AnyPath | None = None) -> TrainingTask:
    """Returns a task, loaded and checked.

    :param name: one of :func:`task_names`; or a file of samples, a folder of them, or
        ``FILE.py:NAME`` (see :mod:`dither.train.source`).
    :param stencil: how derivatives are taken, if other than the task does, for a differential
        equation.
    :param data: the folder of the task's files; :func:`dither.data.data_folder` finds it if None.
    :raises TaskError: if there is no such task (the message has the nearest known one) or stencil,
        or data cannot be read.
    """
    if name not in task_names() and (source := Source.of(name)):
        if data is not None:
            raise TaskError(f"{name} says itself where its data are; leave the data folder out")
        return load_own(source, stencil)
    if data is not None and name not in DATA_TASKS and name in task_names():
        raise TaskError(f"{name} needs no files; leave the data folder out")
    if name in EQUATIONS:
        try:
            return EQUATIONS[name](stencil)
        except ValueError as error:
            raise TaskError(str(error)) from None
    if name not in TASKS and name not in DATA_TASKS:
        near = difflib.get_close_matches(name, task_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(task_names())}, or a file: {FORMS}"
        raise TaskError(f"unknown task {name!r}; {hint}")
    if stencil is not None:
        raise TaskError(f"{name} is no differential equation; leave the stencil out")
    try:
        return TASKS[name]() if name in TASKS else DATA_TASKS[name](None if data is None else Path(data))
    except DataError as error:
        raise TaskError(str(error)) from None
