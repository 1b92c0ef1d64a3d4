"""Tasks of one's own from samples or an equation, with a network and a recipe that suit many."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Samples, Scaling, as_inputs, as_labels, read_samples
from ..nn.models import Dense, Layer, Model, TensorTrain
from ..nn.trains import automatic_factors
from ..physics import Problem, central, parse_stencil
from ..recipe import Recipe
from ..tools.files import AnyPath
from .equations import PLANE_RECIPE, EquationTask, wave_network
from .task import Split, Task, TaskError, TrainingTask, stratified

__all__ = [
    "classifier",
    "classifier_recipe",
    "content_digest",
    "equation_task",
    "labelled_task",
    "part_digest",
    "read_part",
    "settled",
]

Values = NDArray[Any]
"""Arrays of inputs or of labels."""
HELD_OUT = 0.2
"""Fraction of the samples that is held out where nobody says which."""
MOST_CLASSES = 1000
"""More different labels than these are no classes."""
HIDDEN = (128,)
"""Sizes of the hidden layers where nobody asks for others."""
LARGEST_DENSE = 1 << 16
"""Most weights of a layer that is a plain matrix; a larger first layer is a tensor train."""
TRAIN_RANK = 6
"""Rank of such a train."""
EPOCHS, FEWEST_STEPS, MOST_STEPS = 40, 400, 6000
"""Passes over the samples where nobody asks for a number of steps, and their limits."""
_RECIPE = Recipe(
    batch=64,
    tile=64,
    activity_mu=2**-5,
    feedback_slowness=0,
    hidden_headroom=5,
    decay1=3,
    decay2=7,
    rate=2**-7,
    schedule="cosine",
)


def settled(
    samples: Samples, where: str, *, held_out: float = HELD_OUT, seed: int = 0, scaling: str = "auto"
) -> Samples:
    """Returns samples with everything decided: what is held out, the number of each class, and the
    scaling.

    Held-out samples are split off by class where there are none, always the same ones for a seed.
    The scaling is chosen by the samples that are trained on. Settled samples stay as they are.

    :param where: where the samples come from, for messages.
    :param held_out: fraction of the samples to hold out, if none come apart.
    :param seed: seed of that split.
    :param scaling: one of :data:`~dither.data.scaling.SCALINGS`, unless samples say theirs.
    :raises TaskError: if the samples cannot be used.
    """
    try:
        parts = [_checked(part, where) for part in (samples, samples.test) if part is not None]
        classes = samples.classes
        if classes is None:
            if len({labels.dtype.kind == "U" for _, labels in parts}) > 1:
                raise TaskError(f"{where} has texts as labels in one part and numbers in the other; give one kind")
            classes = tuple(np.unique(np.concatenate([labels for _, labels in parts])).tolist())
            parts = [(inputs, np.searchsorted(classes, labels)) for inputs, labels in parts]
        if not 2 <= len(classes) <= MOST_CLASSES:
            raise TaskError(
                f"{where} has {len(classes):,} different labels; classes are from 2 to {MOST_CLASSES} whole numbers or "
                "texts that occur again and again"
            )
        if len(parts) == 1:
            parts = _split(*parts[0], held_out, seed, where)
        (inputs, labels), (test_inputs, test_labels) = parts
        if test_inputs.shape[1] != inputs.shape[1]:
            raise TaskError(
                f"{where} has {inputs.shape[1]} features to train with and {test_inputs.shape[1]} to test with"
            )
        chosen = samples.scaling or Scaling.fit(inputs, scaling)
        if chosen.trivial and (largest := max(float(np.abs(each).max()) for each in (inputs, test_inputs))) > 1:
            raise TaskError(f"{where}: inputs reach {largest:.4g}; scale them to -1 … 1, or leave that to dither")
    except ValueError as error:
        raise TaskError(str(error)) from None
    return Samples(inputs, labels, Samples(test_inputs, test_labels), classes, chosen, samples.name)


def labelled_task(name: str, samples: Samples, where: str = "") -> Task:
    """Makes a task of labelled samples, with a network and a recipe that suit many.

    :param name: name of the task, which run folders begin with.
    :param samples: as they are; see :func:`settled` for what becomes of them.
    :param where: where they come from, for messages.
    :raises TaskError: if the samples cannot be used.
    """
    samples = settled(samples, where or name)
    scaling, names, test = samples.scaling, samples.classes, samples.test
    assert scaling is not None and names is not None and test is not None  # noqa: PT018
    try:
        splits = [Split(scaling(part.inputs), np.asarray(part.labels).astype(np.int64)) for part in (samples, test)]
    except ValueError as error:
        raise TaskError(f"{where or name}: {error}") from None
    features = splits[0].inputs.shape[1]
    steps = min(max(EPOCHS * len(splits[0]) // _RECIPE.batch, FEWEST_STEPS), MOST_STEPS)
    return Task(
        name=name,
        title=f"{len(splits[0]):,} samples, {features:,} features, {len(names)} classes",
        classes=len(names),
        train=splits[0],
        test=splits[1],
        model=classifier(features, len(names)),
        recipe=classifier_recipe(len(HIDDEN) + 1, steps),
        steps=steps,
        engine=None,
        log_every=max(1, steps // 20),
        scaling=scaling,
        names=names,
    )


def read_part(path: AnyPath, task: TrainingTask) -> Split:
    """Reads the samples of one of several owners, for a task that has samples of its own.

    Inputs are scaled as the task's are, and labels are those of its classes.

    :param path: as :func:`~dither.data.read_samples` takes it; what it holds out is left alone.
    :raises TaskError: if they cannot be read, or do not go with the task.
    """
    if not isinstance(task, Task):
        raise TaskError(f"{task.name} has no samples that could come from others; leave out the data of others")
    try:
        samples = read_samples(path, task.features)
        if samples.named is None:
            raise ValueError(f"{path} has samples without labels")
        labels = samples.named
        if task.names is not None:
            place = {name: number for number, name in enumerate(task.names)}
            unknown = sorted({str(label) for label in labels.tolist() if label not in place})
            if unknown:
                raise ValueError(f"{path}: {task.name} has no class {unknown[0]!r}")
            labels = np.array([place[label] for label in labels.tolist()])
        if task.scaling.trivial and (largest := float(np.abs(samples.inputs).max())) > 1:
            raise ValueError(f"{path}: inputs reach {largest:.4g}; scale them to -1 … 1, as {task.name}'s are")
        part = Split(task.scaling(samples.inputs), labels.astype(np.int64) if labels.dtype.kind in "iub" else labels)
        replace(task, parts=(part,))  # Checks it.
    except ValueError as error:
        raise TaskError(str(error)) from None
    return part


def part_digest(part: Split) -> str:
    """Returns the first 16 digits of the SHA-256 of an owner's samples."""
    digest = hashlib.sha256()
    _digest_split(digest, part)
    return digest.hexdigest()[:16]


def classifier(features: int, classes: int, hidden: Iterable[int] = HIDDEN) -> Model:
    """Returns a network of plain layers with ReLU, its first one a tensor train if it is large."""
    sizes = [features, *hidden]
    layers: list[Layer] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        if number == 0 and inputs * outputs > LARGEST_DENSE:
            factors = automatic_factors(inputs, outputs, TRAIN_RANK)
            layers.append(TensorTrain(factors.inputs, factors.outputs, factors.ranks, "relu"))
        else:
            layers.append(Dense(inputs, outputs, "relu"))
    return Model((*layers, Dense(sizes[-1], classes)))


def classifier_recipe(layers: int, steps: int) -> Recipe:
    """Returns the recipe for networks of a number of layers: learned feedback, exact at the end.

    Feedback from the network's end to early layers is right for small changes of those between.
    """
    rate = _RECIPE.rate if layers < 3 else _RECIPE.rate / 4
    return replace(_RECIPE, estimator=("mirror",) * (layers - 1) + ("exact",), rate=rate, schedule_steps=steps)


def equation_task(problem: Problem, stencil: str | None = None) -> EquationTask:
    """Makes a task of a differential equation, with a network and a recipe that suit many.

    :param stencil: name of the stencil; central differences of about an eighth of the box if None.
    :raises TaskError: if the problem or the stencil cannot be used.
    """
    try:
        lower, upper = np.array(problem.lower, float), np.array(problem.upper, float)
        if lower.ndim != 1 or lower.shape != upper.shape or not len(lower) or not (lower < upper).all():
            raise ValueError("lower and upper must be as many numbers, each lower one below its upper one")
        steps = [2.0 ** math.floor(math.log2((high - low) / 8)) for low, high in zip(lower, upper, strict=True)]
        chosen = central(len(lower), steps) if stencil is None else parse_stencil(stencil, len(lower))
        _ = problem.form
        _check_texts(problem.name, problem.title)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TaskError(f"{type(problem).__name__} is no usable equation: {error}") from None
    return EquationTask(
        problem=problem,
        stencil=chosen,
        model=wave_network(len(lower)),
        recipe=PLANE_RECIPE,
        steps=PLANE_RECIPE.schedule_steps,
        engine=None,
    )


def content_digest(task: TrainingTask) -> str:
    """Returns the first 16 digits of the SHA-256 of what a task's bits depend on besides model and
    recipe: its samples, or its equation and stencil.
    """
    digest = hashlib.sha256()
    if isinstance(task, EquationTask):
        problem = task.problem
        for part in (problem.lower, problem.upper, problem.magnitude, str(problem.form), str(problem.trial)):
            digest.update(f"{part}\n".encode())
        digest.update(task.stencil.offsets.tobytes())
        digest.update(problem.sample(np.random.Generator(np.random.Philox(0)), 16).tobytes())
    elif isinstance(task, Task):
        for split in (task.train, task.test, *task.parts):
            _digest_split(digest, split)
    return digest.hexdigest()[:16]


def _digest_split(digest: Any, split: Split) -> None:
    for values, kind in ((split.inputs, "<f4"), (split.labels, "<i8")):
        digest.update(f"{values.shape}".encode())
        digest.update(np.ascontiguousarray(values, kind).tobytes())


def _split(inputs: Values, labels: Values, held_out: float, seed: int, where: str) -> list[tuple[Values, Values]]:
    """Inputs and labels to train on, and those held out."""
    if not 0 < held_out < 1:
        raise TaskError(f"{where}: held_out must be between 0 and 1, not {held_out!r}")
    mask = stratified(labels, held_out, seed)
    if not mask.any():
        raise TaskError(f"{where} has too few samples of each label to hold out {held_out:.0%}; give held-out ones too")
    return [(inputs[~mask], labels[~mask]), (inputs[mask], labels[mask])]


def _checked(part: Samples, where: str) -> tuple[Values, Values]:
    """Inputs and labels of a part, which must be usable."""
    if part.labels is None:
        raise TaskError(f"{where}: there are samples without labels")
    inputs = as_inputs(part.inputs, f"{where}: x")
    return inputs, as_labels(part.labels, f"{where}: y", len(inputs))


def _check_texts(*texts: object) -> None:
    for text in texts:
        if not isinstance(text, str) or not text or not text.isprintable():
            raise ValueError(f"name and title must be texts of one line, not {text!r}")
