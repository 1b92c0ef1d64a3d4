"""Data sets: fixed splits, and one clear line for data that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from dither.nn.models import Dense, Model
from dither.recipe import Recipe
from dither.train.tasks import Split, Task, TaskError, load_task


def test_digits() -> None:
    task = load_task("digits")
    assert (task.features, task.classes) == (64, 10)
    assert len(task.train) + len(task.test) == 1797
    assert task.train.inputs.min() == -1
    assert task.train.inputs.max() == 1
    share = np.bincount(task.test.labels) / (np.bincount(task.train.labels) + np.bincount(task.test.labels))
    assert (np.abs(share - 0.2) < 0.005).all()


def test_digits_split_is_fixed_and_disjoint() -> None:
    first, second = load_task("digits"), load_task("digits")
    assert (first.test.inputs == second.test.inputs).all()
    train = {row.tobytes() for row in first.train.inputs}
    assert not any(row.tobytes() in train for row in first.test.inputs)


def test_inputs_are_exact_in_few_bits() -> None:
    """Pixels are sixteenths: no format of the engine rounds them."""
    scaled = load_task("digits").train.inputs * 8
    assert (scaled == np.round(scaled)).all()


def good() -> Split:
    return Split(np.linspace(-1, 1, 12).reshape(4, 3), np.array([0, 1, 0, 1]))


def build(**splits: Split) -> Task:
    both = {"train": good(), "test": good()} | splits
    return Task(name="toy", title="toy", classes=2, model=Model((Dense(3, 2),)), recipe=Recipe(), steps=1, **both)


def with_value(value: float) -> Split:
    inputs = good().inputs.copy()
    inputs[2, 1] = value
    return Split(inputs, good().labels)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (with_value(np.nan), "1 NaN or infinite values, the first in sample 2"),
        (with_value(np.inf), "1 NaN or infinite values"),
        (with_value(1.5), r"reach 1\.5; scale them"),
        (Split(np.zeros((0, 3)), np.zeros(0, np.int64)), "neither 0"),
        (Split(np.zeros(3), np.zeros(3, np.int64)), r"shape \(samples, features\)"),
        (Split(good().inputs, np.zeros(3, np.int64)), r"shape \(4,\)"),
        (Split(good().inputs, np.array([0, 1, 2, 0])), "from 0 to 1"),
        (Split(good().inputs, np.array([0, 1, -1, 0])), "from 0 to 1"),
        (Split(good().inputs, np.zeros(4)), "must be integers"),
    ],
)
def test_unusable_data(split: Split, message: str) -> None:
    for arguments in ({"train": split}, {"test": split}):
        with pytest.raises(TaskError, match=message) as caught:
            build(**arguments)
        assert "\n" not in str(caught.value)


def test_different_features() -> None:
    with pytest.raises(TaskError, match="3 against 2"):
        build(test=Split(np.zeros((4, 2)), good().labels))


def test_unsuitable_model() -> None:
    wide = Split(np.zeros((4, 5)), good().labels)
    with pytest.raises(TaskError, match=r"takes 3 inputs .* the data have 5 features"):
        build(train=wide, test=wide)


def test_unknown_task_is_suggested() -> None:
    with pytest.raises(TaskError, match="did you mean digits"):
        load_task("digit")
    with pytest.raises(TaskError, match="known: digits"):
        load_task("zzz")
