"""An estimator from outside the package: a file of one's own, made known by ``register``.

The toy sends output errors back along fixed wires: output i of a layer gets the error of class
``i mod C``. That is feedback alignment with a matrix that nobody has to store or multiply by.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dither.arch.config import preset
from dither.arch.isa.assembler import Assembler
from dither.compiler import Labelled, compile
from dither.compiler.code.lanewise import copy
from dither.compiler.formats.signals import Calibration, Typical, layer_outputs
from dither.compiler.gradients import LocalEstimator, estimator, register
from dither.compiler.gradients.signals import OUTPUT_ERRORS, error_format
from dither.golden import GoldenMachine
from dither.nn import adjoints
from dither.nn.models import Dense, Model, TensorTrain
from dither.recipe import ESTIMATORS, Recipe, Traits
from dither.train.session import Session


class Wires(LocalEstimator):
    """Output errors, copied as often as a layer has outputs for them."""

    name = "wires"
    source = OUTPUT_ERRORS

    def calibrate(self, layer: Calibration) -> Typical:
        repeats = -(-self.plan.layer.output_size // self.classes)
        values = np.tile(layer.errors, repeats)[:, : self.plan.layer.output_size]
        return Typical(error_format(self.setting.model, self.formats), values)

    def signal(self, asm: Assembler) -> None:
        for first in range(0, self.s.count, self.classes):
            count = min(self.classes, self.s.count - first)
            copy(asm, self.region(OUTPUT_ERRORS), self.s.base + first, count, self.constant(0))


@pytest.fixture
def wires() -> Iterator[None]:
    register(Wires, Traits(local=True))
    yield
    del ESTIMATORS["wires"], estimator._CLASSES["wires"]


MODEL = Model((TensorTrain((4, 4), (4, 6), 3, "relu"), Dense(24, 4)))
PARAMETERS = MODEL.initial_parameters(seed=1)


def trainer(first: str) -> tuple[Session, np.ndarray, np.ndarray]:
    """A session, and samples of four classes, of which each is a cloud of points."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 256)
    inputs = np.clip(rng.choice((-0.5, 0.5), (4, 16))[labels] + rng.normal(0, 0.3, (256, 16)), -1, 1)
    recipe = Recipe(batch=64, tile=32, estimator=(first, "exact"), rate=2**-7, decay2=6)
    program = compile(MODEL, Labelled(inputs, labels), recipe, preset("2x16"), PARAMETERS)
    session = Session(GoldenMachine(program.engine), program)
    session.load(program.commands.initial_state(PARAMETERS))
    return session, inputs, labels


def test_recipes_and_compiler_know_a_registered_estimator(wires: None) -> None:
    session, inputs, labels = trainer("wires")
    chosen = np.random.default_rng(2).integers(0, 256, (60, 64))
    losses = session.train(0, inputs[chosen], labels[chosen])
    assert losses[-1] < 0.2 * losses[0]


def test_its_gradients_are_what_it_says(wires: None) -> None:
    session, inputs, labels = trainer("wires")
    command = session.compiled.commands.gradients(0, inputs[:64], labels[:64])
    outputs = session.device.run(command.entry, command.inputs, command.expects).outputs
    found = session.compiled.commands.read_gradients(outputs)[1]["0.bias"].astype(float)
    hidden, outputs = layer_outputs(session.compiled.plans, PARAMETERS, inputs[:64], 0)
    expected = (np.tile(adjoints.output_errors(MODEL, outputs, labels[:64]), 6) * (hidden > 0)).sum(axis=0)
    assert found @ expected > 0.999 * np.linalg.norm(found) * np.linalg.norm(expected)


def test_names_are_taken_once(wires: None) -> None:
    class Other(Wires):
        pass

    with pytest.raises(ValueError, match="another estimator called 'wires'"):
        register(Other)
    Other.name = "unheard"
    with pytest.raises(ValueError, match="recipes do not know 'unheard'; give its traits"):
        register(Other)


def test_an_estimator_that_nobody_registered_is_refused() -> None:
    with pytest.raises(ValueError, match="estimator must be one of"):
        trainer("wires")
