"""Compiled training programs on the simulated RTL: no geometry changes a bit, and every cycle was
predicted.
"""

from dataclasses import replace

import numpy as np
import pytest

from dither.arch.config import EngineConfig, preset
from dither.arch.isa import Rule
from dither.compiler import Collocation, Labelled, compile
from dither.golden import GoldenMachine, predict
from dither.nn.models import Dense, Model, TensorTrain
from dither.physics import Burgers, HamiltonJacobiBellman, central
from dither.recipe import Recipe
from dither.train.sampler import PointBatches
from dither.train.session import Session
from dither.train.tasks import load_task
from dither_sim.verilated import VerilatedDevice

WAVES = Model(
    (
        TensorTrain((3, 4), (4, 4), 2, activation="sine"),
        TensorTrain((4, 4), (3, 4), 3, activation="tanh"),
        Dense(12, 2),
    ),
    "squared_error",
)
RECIPES = {
    "layerwise": Recipe(batch=64, tile=32, probes=(2, 3), estimator="layerwise", mu=2**-6, decay2=6, rate=2**-7),
    "tensorwise, antithetic, momentum": Recipe(batch=64, tile=32, sides="two", mu=2**-6, rule=Rule.MOMENTUM, rate=1e-3),
    "joint, shared, sign": Recipe(
        batch=64, tile=32, probes=4, estimator="joint", shared_probe=True, mu=2**-6, rule=Rule.SIGN
    ),
    "uniform": Recipe(batch=64, tile=32, distribution="uniform", estimator="layerwise", mu=2**-6, rate=2**-7),
    "gaussian": Recipe(batch=64, tile=32, distribution="gaussian", sides="two", mu=2**-6, rate=2**-7),
    "coordinates": Recipe(batch=64, tile=32, estimator="coordinate", mu=2**-6, rate=2**-7),
}
LOCAL = {
    "mirror": Recipe(batch=64, tile=32, estimator=("mirror", "exact"), activity_mu=2**-4, rate=2**-7),
    "regression": Recipe(batch=64, tile=32, probes=2, estimator=("regression", "exact"), mu=2**-6, rate=2**-7),
    "tensorwise": RECIPES["tensorwise, antithetic, momentum"],
}
PARTS = EngineConfig(rows=4, lanes=8, activation_depth=4096, parameter_depth=2048)
STEPS = 3


def digits():
    task = load_task("digits")
    shape = (STEPS, 64)
    return (
        task.model,
        task.train.inputs[: STEPS * 64].reshape(*shape, -1),
        task.train.labels[: STEPS * 64].reshape(shape),
    )


def waves():
    rng = np.random.default_rng(5)
    inputs = rng.uniform(-1, 1, (STEPS, 64, 12))
    return WAVES, inputs, np.stack([np.sin(inputs.sum(2)), inputs.prod(2)], axis=2)


CASES = [(digits, name) for name in RECIPES if name != "coordinates"]
CASES += [(waves, name) for name in ("tensorwise, antithetic, momentum", "uniform", "gaussian", "coordinates")]


def trained(device, model, recipe, inputs, targets):
    """Losses, masters and moments after a few steps, and the counters against their prediction."""
    parameters = model.initial_parameters(3)
    probes = recipe.probes if isinstance(recipe.probes, int) else recipe.probes[: len(model.layers)]
    recipe = Recipe.from_dict(recipe.to_dict() | {"probes": probes})
    compiled = compile(model, Labelled(inputs[0], targets[0]), recipe, device.config, parameters)
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(parameters))
    command = compiled.commands.train(7, list(zip(inputs, targets, strict=True)))
    result = device.run(command.entry, command.inputs, command.expects)
    losses = compiled.commands.read_train(result.outputs)
    predicted = predict(device.config, compiled.program, command.entry, [0, 0, STEPS] + [0] * STEPS)
    assert {name: result.counters[name] for name in predicted} == predicted
    state = session.state()
    moments = [np.concatenate([v.ravel() for v in m.values()]) for m in (state.moment1, state.moment2)]
    return [np.array(losses), session.masters(), *moments]


@pytest.fixture(scope="module")
def expected():
    """By case, what the golden machine gives at a geometry of its own."""
    results = {}
    for make, name in CASES:
        machine = GoldenMachine(preset("4x32"))
        results[make, name] = trained(machine, *arranged(make, name))
        assert len(np.unique(results[make, name][1])) > 1
    return results


def arranged(make, name):
    model, inputs, targets = make()
    return model, RECIPES[name], inputs, targets


@pytest.mark.parametrize("engine", ["1x8", "2x16", "4x32"])
def test_rtl_of_every_geometry_gives_the_golden_bits(engine, expected):
    with VerilatedDevice(preset(engine)) as device:
        for make, name in CASES:
            for want, got in zip(expected[make, name], trained(device, *arranged(make, name)), strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"{make.__name__}, {name}")


@pytest.mark.parametrize("parts", [2, 4])
def test_words_in_parts_learn_the_golden_bits(parts):
    """Gradients are whole words then, all else that UPDATE and ACCUMULATE read are parts."""
    model, inputs, targets = digits()
    with VerilatedDevice(replace(PARTS, word_parts=parts)) as device:
        for name, recipe in LOCAL.items():
            wanted = trained(GoldenMachine(preset("4x32")), model, recipe, inputs, targets)
            for want, got in zip(wanted, trained(device, model, recipe, inputs, targets), strict=True):
                np.testing.assert_array_equal(got, want, err_msg=name)


EQUATIONS = {
    "hjb": (HamiltonJacobiBellman(3), central(4, 0.25)),
    "burgers": (Burgers(), central(2, (0.0625, 0.125))),
}
FIELD = Recipe(batch=64, tile=32, probes=2, estimator="joint", sides="two", mu=2**-6, decay2=6, rate=2**-7)


def solved(device, name):
    """Losses, masters and moments after a few steps on a differential equation, and the cycles'
    prediction.
    """
    problem, stencil = EQUATIONS[name]
    layers = (Dense(problem.dimensions, 8, "sine"), TensorTrain((2, 4), (4, 2), 2, "sine"), Dense(8, 1))
    model = Model(layers, "squared_error")
    parameters = model.initial_parameters(3)
    compiled = compile(model, Collocation(problem, stencil), FIELD, device.config, parameters)
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(parameters))
    inputs, _ = PointBatches(problem, FIELD.batch, FIELD.seed).take(0, STEPS)
    command = compiled.commands.train(0, [(points, None) for points in inputs])
    result = device.run(command.entry, command.inputs, command.expects)
    predicted = predict(device.config, compiled.program, command.entry, [0, 0, STEPS] + [0] * STEPS)
    assert {name: result.counters[name] for name in predicted} == predicted
    state = session.state()
    moments = [np.concatenate([v.ravel() for v in m.values()]) for m in (state.moment1, state.moment2)]
    losses = [compiled.commands.read_train(result.outputs), session.measure(inputs[0])]
    return [np.hstack(losses), session.evaluate(inputs[0]).integers, session.masters(), *moments]


@pytest.mark.parametrize("engine", ["1x8", "4x32"])
def test_equations_on_rtl_give_the_golden_bits(engine):
    with VerilatedDevice(preset(engine)) as device:
        for name in EQUATIONS:
            for want, got in zip(solved(GoldenMachine(preset("2x16")), name), solved(device, name), strict=True):
                np.testing.assert_array_equal(got, want, err_msg=name)


SOLVED = Recipe(
    batch=32,
    tile=32,
    probes=3,
    estimator="residualwise",
    rule=Rule.SGD,
    shared_probe=True,
    sides="two",
    mu=2**-6,
    rate=2**-5,
)


def conversed(device):
    """Losses, masters and counters after two steps that the host solved for."""
    problem, stencil = EQUATIONS["burgers"]
    model = Model((Dense(2, 8, "sine"), Dense(8, 1)), "squared_error")
    parameters = model.initial_parameters(3)
    compiled = compile(model, Collocation(problem, stencil), SOLVED, device.config, parameters)
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(parameters))
    points, _ = PointBatches(problem, SOLVED.batch, SOLVED.seed).take(0, 2)
    losses = session.train(0, points, None)
    predicted = compiled.figures.step_counters()
    assert {name: session.counters[name] for name in predicted} == {name: 2 * n for name, n in predicted.items()}
    return losses, session.masters()


@pytest.mark.parametrize("engine", ["1x8", "2x16"])
def test_solved_steps_on_rtl_are_the_golden_machine_s(engine):
    """And every cycle of their commands was predicted."""
    losses, masters = conversed(GoldenMachine(preset("4x32")))
    assert losses[1] != losses[0]
    with VerilatedDevice(preset(engine)) as device:
        found = conversed(device)
    assert found[0] == losses
    np.testing.assert_array_equal(found[1], masters)
