"""Gradients by coordinates on the golden machine: finite differences of every parameter, and
descent by their signs.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from dither.arch.config import EngineConfig
from dither.arch.fixedpoint import saturate, shift_round
from dither.arch.isa import Rule
from dither.compiler import Compiled
from dither.nn import reference
from dither.nn.models import Dense, Model, Parameters, TensorTrain
from dither.recipe import Recipe
from tests.unit.test_compiler_execution import build, integer_losses, rounding_errors, run, samples, state_of

ENGINE = EngineConfig(rows=4, lanes=16, activation_depth=512, parameter_depth=512)
DENSE = Model((Dense(4, 3, "none"),), "squared_error")
TRAIN = Model((TensorTrain((2, 3), (3, 2), (2,)), Dense(6, 3, "none")), "squared_error")
CLASSES = Model((TensorTrain((2, 3), (3, 2), (2,)), Dense(6, 3, "none")))
NETWORKS = pytest.mark.parametrize("model", [DENSE, TRAIN, CLASSES], ids=["dense", "train", "classes"])
SIDES = pytest.mark.parametrize("sides", ["one", "two"])


def recipe_of(sides: str, **changes: object) -> Recipe:
    return Recipe(batch=32, tile=16, estimator="coordinate", sides=sides, mu=2**-4, **changes)  # type: ignore[arg-type]


def moved(values: Parameters, name: str, place: tuple[int, ...], by: float) -> dict[str, np.ndarray]:
    """Parameters, or masters, with one of them moved."""
    changed = np.array(values[name])
    changed[place] += by
    return {**values, name: changed}


def loss_errors(compiled: Compiled, values: Parameters, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bounds on how far each sample's squared error is from the float network's."""
    distance = np.abs(reference.forward(compiled.model, values, x) - y)
    error = rounding_errors(compiled, values, x) + compiled.formats.output.resolution / 2
    return np.asarray((2 * distance * error + error**2).sum(axis=1) + 2.0 ** -(compiled.formats.loss_frac + 1))


@NETWORKS
@SIDES
def test_gradients_are_integer_differences_of_losses(model: Model, sides: str) -> None:
    compiled, machine = build(model, recipe_of(sides), ENGINE)
    masters, (x, y) = state_of(compiled, machine).master, samples(model, 32, seed=5)

    def total(values: Parameters) -> int:
        working = {name: saturate(shift_round(master, 14), 18)[0] for name, master in values.items()}
        return int(integer_losses(compiled, working, x, y).sum())

    base, gradients = compiled.commands.read_gradients(run(machine, compiled.commands.gradients(3, x, y)))
    assert base == total(masters)
    for name, tensor in compiled.tensors.items():
        assert gradients[name].any()
        for place in np.ndindex(tensor.shape):
            other = total(moved(masters, name, place, -tensor.amplitude)) if sides == "two" else base
            assert gradients[name][place] == total(moved(masters, name, place, tensor.amplitude)) - other, (name, place)


@pytest.mark.parametrize("model", [DENSE, TRAIN], ids=["dense", "train"])
@SIDES
def test_gradients_are_finite_differences_of_the_float_network(model: Model, sides: str) -> None:
    """But for the roundings of two losses."""
    compiled, machine = build(model, recipe_of(sides), ENGINE)
    parameters, (x, y) = compiled.commands.parameters(state_of(compiled, machine)), samples(model, 32, seed=5)
    _, gradients = compiled.commands.read_gradients(run(machine, compiled.commands.gradients(0, x, y)))

    for name, tensor in compiled.tensors.items():
        step = math.ldexp(tensor.amplitude, -tensor.master.frac)
        ends = [(1, step), (-1, -step if sides == "two" else 0)]
        expected, bound = np.zeros(tensor.shape), np.zeros(tensor.shape)
        for place in np.ndindex(tensor.shape):
            for sign, by in ends:
                values = moved(parameters, name, place, by)
                outputs = reference.forward(model, values, x)
                expected[place] += sign * reference.sample_losses(model, outputs, y).mean()
                bound[place] += loss_errors(compiled, values, x, y).mean()
        width = ends[0][1] - ends[1][1]
        found = np.ldexp(gradients[name].astype(float), -compiled.formats.loss_frac) / len(x)
        assert (np.abs(found - expected) <= bound).all(), name
        # The bound is of the worst case; errors of many samples cancel.
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected), name
        assert np.abs(expected).max() > 0.1 * width


@NETWORKS
@pytest.mark.parametrize("rule", [Rule.SIGN, Rule.SIGN_MOMENTUM])
def test_descent_by_signs_lowers_the_loss(model: Model, rule: Rule) -> None:
    recipe = recipe_of("one", rule=rule, rate=2**-7, decay1=2)
    compiled, machine = build(model, recipe, ENGINE)
    batch = samples(model, 32, seed=5)
    losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, [batch] * 25)))
    assert losses[-1] < 0.9 * losses[0]
    # The first steps of all are small enough to go downhill every time.
    assert losses[:6] == sorted(losses[:6], reverse=True)


def test_a_step_moves_every_parameter_by_its_averaged_sign() -> None:
    recipe = recipe_of("two", rule=Rule.SIGN_MOMENTUM, rate=2**-6, decay1=2)
    compiled, machine = build(CLASSES, recipe, ENGINE)
    batch, averages = samples(CLASSES, 32, seed=5), dict.fromkeys(compiled.tensors, 0.0)
    for step in range(4):
        before = state_of(compiled, machine).master
        _, gradients = compiled.commands.read_gradients(run(machine, compiled.commands.gradients(step, *batch)))
        run(machine, compiled.commands.train(step, [batch]))
        after = state_of(compiled, machine)
        for name, tensor in compiled.tensors.items():
            signs = np.sign(shift_round(gradients[name], tensor.gradient_shift))
            averages[name] = averages[name] + (signs - averages[name]) / 4
            moves = (after.master[name] - before[name]) * tensor.master.resolution
            # The direction has 12 fraction bits and the rate's mantissa 17 at least.
            np.testing.assert_allclose(moves, -averages[name] / 64, atol=2**-6 * (2**-13 + 2**-17))
            np.testing.assert_allclose(after.moment1[name] / 2**22, averages[name], atol=4 * 2**-23)
            assert not after.moment2[name].any()
