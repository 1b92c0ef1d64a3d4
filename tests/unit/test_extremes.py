"""Extreme values through the Python API: refused in one line that says what would do."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from dither.arch.config import preset
from dither.arch.fixedpoint import FixedPoint
from dither.compiler import CompileError, Labelled, compile
from dither.compiler.commands import Commands
from dither.compiler.plan.samples import encoded
from dither.nn.models import RNN, Dense, Model, TensorTrain
from dither.physics.stencils import parse_stencil
from dither.recipe import Recipe
from dither.train.experiment import Experiment
from dither.train.tasks import load_task

ENGINE = preset("1x8")


@pytest.fixture(scope="module")
def program() -> Commands:
    """The digits network's program: 64 inputs from 0 to 1, ten classes."""
    recipe = {"batch": 32, "tile": 16, "probes": 1, "seed": 1}
    experiment = Experiment.of_task("digits", device="golden", engine=ENGINE, recipe=recipe)
    return experiment.compile(load_task("digits"), ENGINE).commands


def samples() -> tuple[np.ndarray, np.ndarray]:
    return np.full((32, 64), 0.5), np.arange(32) % 10


@pytest.mark.parametrize("wrong", [-1, 10, 2.7, np.nan, np.inf])
def test_labels_that_are_no_classes(program: Commands, wrong: float) -> None:
    inputs, labels = samples()
    program.train(0, [(inputs, labels)])
    program.train(0, [(inputs, labels.astype(float))])
    spoilt = labels.astype(float)
    spoilt[17] = wrong
    message = rf"^targets must be classes, whole numbers from 0 to 9, not {re.escape(f'{wrong:g}')}$"
    for use in (
        lambda: program.train(0, [(inputs, spoilt)]),
        lambda: program.evaluate(inputs, spoilt),
    ):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("wrong", [-1, 3, 2.7, np.nan])
def test_labels_to_compile_with(wrong: float) -> None:
    model = Model((Dense(4, 3),))
    labels = np.where(np.arange(64) == 17, wrong, 1.0)
    with pytest.raises(CompileError, match=r"^targets must be classes, whole numbers from 0 to 2, not"):
        compile(
            model,
            Labelled(np.full((64, 4), 0.5), labels),
            Recipe(batch=64, tile=32),
            ENGINE,
            model.initial_parameters(1),
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.nan, "inputs must be finite numbers"),
        (np.inf, "inputs must be finite numbers"),
        (1e30, r"^inputs reach 1e\+30, but the program was compiled for at most 1; scale them"),
        (-8.1, r"^inputs reach 8.1, but the program was compiled for at most 1; scale them"),
    ],
)
def test_inputs_out_of_reach(program: Commands, wrong: float, message: str) -> None:
    inputs, labels = samples()
    inputs[3, 2] = 8.0  # An outlier: clipped.
    program.evaluate(inputs)
    inputs[3, 2] = wrong
    for use in (lambda: program.train(0, [(inputs, labels)]), lambda: program.evaluate(inputs)):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30, -16.1])
def test_targets_out_of_reach(wrong: float) -> None:
    form = FixedPoint(18, 16)
    assert encoded(np.array([1.0, -16.0, 2.0]), form, "targets").tolist() == [1 << 16, -1 << 17, (1 << 17) - 1]
    message = rf"^targets reach {re.escape(f'{abs(wrong):g}')}, but the program was compiled for at most 2; scale them"
    with pytest.raises(ValueError, match=message):
        encoded(np.array([1.0, wrong]), form, "targets")


@pytest.mark.parametrize("field", ["rate", "projection", "mu", "activity_mu"])
@pytest.mark.parametrize("value", [1e-300, 1e300, 0, -1, np.nan])
def test_sizes_of_a_recipe(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be a positive number from 1e-9 to 1e9, not "):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    ("text", "dimensions", "message"),
    [
        ("stein:1:1000000", 21, "^1,000,000 samples are too many; use at most 65,536$"),
        ("sparse:1:7", 21, "^a sparse grid of level 7 in 21 dimensions has too many nodes; use a lower level$"),
        ("sparse:1:1000000000", 2, "has too many nodes; use a lower level$"),
        ("central:1e-300", 2, "^step must be positive, from 1e-6 to 1e6"),
        ("sparse:inf", 2, "^sigma must be positive, from 1e-6 to 1e6"),
    ],
)
def test_stencils_without_end(text: str, dimensions: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_stencil(text, dimensions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model((Dense(10**9, 2),)), "^layer 0 has 1,000,000,000 inputs; use at most 16,777,216$"),
        (lambda: Model((Dense(2, 10**9),)), "^layer 0 has 1,000,000,000 outputs; use at most"),
        (lambda: Model((Dense(10**4, 10**4), Dense(10**4, 2))), "^the model has 100,030,002 parameters; use smaller"),
        (lambda: Model((TensorTrain((8, 8), (8, 8), 10**6),)), "^the model has 128,000,064 parameters; use smaller"),
        (lambda: Model((RNN(28, 10, 10**9),)), "^layer 0 has 28,000,000,000 inputs; use at most"),
        (lambda: TensorTrain((1,) * 65, (2,) * 65), "^a train has at most 64 cores, not 65; put factors together$"),
    ],
)
def test_models_out_of_reach(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
