"""Local learning on the golden machine, against the same estimators in floats."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from dither.arch import generator
from dither.arch.config import EngineConfig
from dither.arch.isa import Rule, decode_program
from dither.compiler import Command, Compiled, CompileError, Labelled, compile
from dither.compiler.gradients.matrix import matrix_plan
from dither.golden import GoldenMachine
from dither.nn import adjoints as local
from dither.nn import reference
from dither.nn.models import RNN, Conv2d, Dense, Model, TensorTrain
from dither.recipe import Recipe

ENGINE = EngineConfig(
    rows=4, lanes=8, lanes_per_table=2, activation_depth=2048, parameter_depth=4096, program_depth=4096
)
BATCH, TILE = 32, 16
Arrays = dict[str, np.ndarray]


def network(activation: str, loss: str = "cross_entropy") -> Model:
    hidden = TensorTrain((3, 2, 4), (2, 5, 3), (3, 5), activation, gain=2.0)
    return Model((hidden, TensorTrain((6, 5), (3, 2), 3, "none", gain=2.0)), loss)


class Bench:
    """A compiled model on a golden machine, with its float twin's states."""

    def __init__(self, model: Model, recipe: Recipe, engine: EngineConfig = ENGINE, reach: float = 1.0) -> None:
        rng = np.random.default_rng(5)
        self.model = model
        self.x = rng.uniform(-reach, reach, (BATCH, model.inputs))
        squared = model.loss == "squared_error"
        self.y = rng.uniform(-1, 1, (BATCH, model.outputs)) if squared else rng.integers(0, model.outputs, BATCH)
        self.given = model.initial_parameters(3)
        self.compiled = compile(model, Labelled(self.x, self.y), recipe, engine, self.given)
        self.machine = GoldenMachine(engine)
        self.machine.write_program(self.compiled.program)
        self.run(self.compiled.commands.setup())
        matrices = {
            name: rng.choice((-1.0, 1.0), tensor.shape) * tensor.format.limit / 16
            for name, tensor in self.compiled.tensors.items()
            if name not in self.given and name not in self.compiled.initial
        }
        self.masters = self.compiled.commands.initial_state({**self.given, **matrices})
        self.run(self.compiled.commands.load_state(self.masters))
        self.weights: Mapping[str, np.ndarray] = {
            name: tensor.master.decode(self.masters.master[name]) for name, tensor in self.compiled.tensors.items()
        }
        self.states: list[list[np.ndarray]] = []
        self.outputs: list[np.ndarray] = []
        state = self.x
        for plan in self.compiled.plans:
            states, outputs = reference.run_layer(plan.position, plan.layer, plan.steps, self.weights, state)
            self.states.append([state, *states])
            state = outputs
            self.outputs.append(state)
        self.errors = local.output_errors(model, state, self.y)

    def run(self, command: Command) -> list[np.ndarray]:
        return self.machine.run(command.entry, command.inputs, command.expects).outputs

    def gradients(self, step: int = 0) -> Arrays:
        outputs = self.run(self.compiled.commands.gradients(step, self.x, self.y))
        _, found = self.compiled.commands.read_gradients(outputs)
        return {name: values.astype(float) for name, values in found.items()}

    def layer(self, position: int, signal: np.ndarray) -> Arrays:
        """What the gradients of a layer's tensors are, for an error signal at its outputs."""
        plan = self.compiled.plans[position]
        delta = signal * local.derivative(plan.layer.activation, self.outputs[position])
        states = local.adjoints(plan.steps, self.weights, delta)
        shapes = self.model.parameter_shapes()
        found = {
            step.tensor: local.tensor_gradient(step, shapes[step.tensor], states[number], self.states[position][number])
            for number, step in enumerate(plan.steps)
        }
        return found | {plan.bias: delta.sum(axis=0)}

    def fixed(self, repeats: int = 1, first: int = 0, words: int | None = None, position: int = 0) -> np.ndarray:
        """The fixed matrices as they stand in the weight memory, shape (repeats, classes, outputs
        of a layer, or of one time step).

        :param first: the layer's first word, behind the parameters.
        :param words: all of its words; all that there are if None.
        """
        base = self.compiled.words + first
        end = self.compiled.words + self.compiled.zeroed if words is None else base + words
        words = self.machine.memories.space.weight[base:end]
        layer, classes = self.model.layers[position], self.model.outputs
        hidden = layer.outputs if isinstance(layer, RNN) else layer.output_size
        tiled = words.reshape(repeats, -1, classes, ENGINE.rows).transpose(0, 2, 1, 3)
        signs = np.sign(tiled.reshape(repeats, classes, -1)[:, :, :hidden])
        assert set(np.unique(np.abs(words))) == {np.abs(words).max()}
        assert len({matrix.tobytes() for matrix in signs}) == repeats
        found = signs * self.compiled.recipe.projection
        return found if repeats > 1 else found[0]

    def signs(self, probe: int, step: int = 0) -> np.ndarray:
        """Signs of perturbed activities, shape (samples, outputs of layer 0), by the definition."""
        program = decode_program(self.compiled.program)
        (block,) = {i["block"] for _, i in program if i.name == "DITHER" and i["block"]}
        sample, word = np.meshgrid(np.arange(BATCH), np.arange(self.model.layers[0].output_size), indexing="ij")
        tile, inside = sample // TILE, sample % TILE
        recipe = self.compiled.recipe
        return generator.signs(recipe.seed, step, tile * recipe.most_probes + probe, 64 * block + word + inside)


def check(found: np.ndarray, expected: np.ndarray, least: float = 0.9999) -> None:
    """Same direction, and lengths that differ by a power of two."""
    a, b = found.ravel(), expected.ravel()
    assert a @ b / np.sqrt((a @ a) * (b @ b)) > least
    assert math.log2(np.linalg.norm(a) / np.linalg.norm(b)) == pytest.approx(
        round(math.log2(np.linalg.norm(a) / np.linalg.norm(b))), abs=0.05
    )


def recipe(first: str, **fields: object) -> Recipe:
    return Recipe(batch=BATCH, tile=TILE, estimator=(first, "exact"), **fields)


@pytest.mark.parametrize("activation", ["relu", "tanh", "none"])
@pytest.mark.parametrize("estimator", ["feedback", "projection", "target"])
def test_fixed_projections(estimator: str, activation: str) -> None:
    bench = Bench(network(activation), recipe(estimator, projection=0.75))
    found = bench.gradients()
    code = local.class_code(bench.model.outputs, bench.y)
    signal = {
        "feedback": lambda: bench.errors @ bench.fixed(),
        "projection": lambda: code @ bench.fixed(),
        "target": lambda: bench.outputs[0] + code @ bench.fixed(),
    }[estimator]()
    expected = bench.layer(0, signal) | bench.layer(1, bench.errors)
    assert set(found) == set(expected)
    for name, values in expected.items():
        check(found[name], values)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_target_with_absolute_distances(activation: str) -> None:
    bench = Bench(network(activation), recipe("target", local_loss="l1"))
    found = bench.gradients()
    code = local.class_code(bench.model.outputs, bench.y) @ bench.fixed()
    for name, values in bench.layer(0, np.sign(bench.outputs[0] + code)).items():
        check(found[name], values)


def test_exact_errors_of_squared_losses() -> None:
    bench = Bench(network("tanh", "squared_error"), recipe("feedback"))
    found = bench.gradients()
    for name, values in (bench.layer(1, bench.errors) | bench.layer(0, bench.errors @ bench.fixed())).items():
        check(found[name], values)


def test_exact_errors_before_a_last_activation_function() -> None:
    model = Model((Dense(6, 5, "relu"), Dense(5, 3, "tanh")), "squared_error")
    bench = Bench(model, recipe("feedback"))
    found = bench.gradients()
    for name, values in bench.layer(1, bench.errors).items():
        check(found[name], values)


@pytest.mark.parametrize("activation", ["relu", "tanh", "none"])
def test_activity_perturbation(activation: str) -> None:
    probes = 5
    bench = Bench(network(activation), recipe("activity", probes=probes, activity_mu=2**-4))
    found = bench.gradients(step=2)
    base = reference.sample_losses(bench.model, bench.outputs[-1], bench.y)
    signal = np.zeros_like(bench.outputs[0])
    gate = bench.outputs[0] > 0 if activation == "relu" else 1
    for probe in range(probes):
        signs = bench.signs(probe, step=2)
        moved = bench.outputs[0] + bench.compiled.recipe.activity_mu * signs * gate
        plan = bench.compiled.plans[1]
        last = reference.contract_layer(1, plan.layer, plan.steps, bench.weights, moved)[-1]
        signal += (reference.sample_losses(bench.model, last, bench.y) - base)[:, None] * signs
    for name, values in (bench.layer(0, signal) | bench.layer(1, bench.errors)).items():
        check(found[name], values, least=0.999)


def test_activity_perturbation_tends_to_back_propagation() -> None:
    bench = Bench(network("relu"), recipe("activity", probes=512, activity_mu=2**-5))
    found = bench.gradients()
    signal = local.propagated(bench.model, bench.weights, bench.outputs, bench.errors, 0)
    expected = bench.layer(0, signal)
    for name in ("0.core0", "0.core1", "0.core2", "0.bias"):
        a, b = found[name].ravel(), expected[name].ravel()
        assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.95


@pytest.mark.parametrize("estimator", ["mirror", "regression"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "none"])
def test_learned_feedback(estimator: str, activation: str) -> None:
    probes = 3 if estimator == "regression" else 1
    bench = Bench(network(activation), recipe(estimator, probes=probes, activity_mu=2**-4, feedback_ranks=0))
    found = bench.gradients(step=1)
    matrix = bench.weights["0.feedback"]
    signal = bench.errors @ matrix.T
    for name, values in (bench.layer(0, signal) | bench.layer(1, bench.errors)).items():
        check(found[name], values)
    plan, mu = bench.compiled.plans[1], bench.compiled.recipe.activity_mu
    base = reference.sample_losses(bench.model, bench.outputs[-1], bench.y)
    expected = np.zeros_like(matrix)
    for probe in range(probes):
        signs = bench.signs(probe, step=1)
        moved = reference.contract_layer(1, plan.layer, plan.steps, bench.weights, bench.outputs[0] + mu * signs)[-1]
        if estimator == "mirror":
            expected += signs.T @ (signs @ matrix * mu - (moved - bench.outputs[-1]))
        else:
            missed = (signs * signal).sum(axis=1) * mu - (reference.sample_losses(bench.model, moved, bench.y) - base)
            expected += signs.T @ (missed[:, None] * bench.errors)
    check(found["0.feedback"], expected, least=0.999)


@pytest.mark.parametrize("estimator", ["mirror", "regression"])
@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("behind", ["train", "dense"])
def test_learned_trains(behind: str, ranks: int | None, estimator: str) -> None:
    """The same with the matrix held as a tensor train: of the shape of the layer behind, or of
    given ranks.
    """
    if (behind, ranks) == ("dense", None):
        pytest.skip("a plain layer has a plain matrix unless another is asked for")
    model = network("relu")
    if behind == "dense":
        model = Model((model.layers[0], Dense(model.layers[0].output_size, model.outputs)))
    probes = 2 if estimator == "regression" else 1
    bench = Bench(model, recipe(estimator, probes=probes, activity_mu=2**-4, feedback_ranks=ranks))
    cores = {name: bench.weights[name] for name in bench.compiled.tensors if name.startswith("0.feedback.")}
    shapes = [np.shape(core) for core in cores.values()]
    if behind == "train" and ranks is None:
        assert shapes == list(model.layers[1].weight_shapes().values())
    elif ranks is not None:
        assert max(shape[0] for shape in shapes) == ranks
    matrix = matrix_plan(model, 0, bench.compiled.recipe)
    found = bench.gradients(step=1)
    signal = local.adjoint(
        matrix.steps[0], cores[matrix.steps[0].tensor], local.adjoints(matrix.steps, cores, bench.errors)[0]
    )
    for name, values in (bench.layer(0, signal) | bench.layer(1, bench.errors)).items():
        check(found[name], values)
    plan, mu = bench.compiled.plans[1], bench.compiled.recipe.activity_mu
    base = reference.sample_losses(bench.model, bench.outputs[-1], bench.y)
    expected = {name: np.zeros_like(core) for name, core in cores.items()}
    for probe in range(probes):
        signs = bench.signs(probe, step=1)
        moved = reference.contract_layer(1, plan.layer, plan.steps, bench.weights, bench.outputs[0] + mu * signs)[-1]
        states = [mu * signs]
        for step in matrix.steps:
            states.append(reference.contract(step, cores[step.tensor], states[-1]))
        if estimator == "mirror":
            delta = states[-1] - (moved - bench.outputs[-1])
        else:
            missed = (signs * signal).sum(axis=1) * mu - (reference.sample_losses(bench.model, moved, bench.y) - base)
            delta = missed[:, None] * bench.errors
        carried = local.adjoints(matrix.steps, cores, delta)
        for number, step in enumerate(matrix.steps):
            expected[step.tensor] += local.tensor_gradient(
                step, np.shape(cores[step.tensor]), carried[number], states[number]
            )
    for name, values in expected.items():
        check(found[name], values, least=0.99)


@pytest.mark.parametrize(
    ("estimator", "activation", "ranks"),
    [
        ("mirror", "relu", None),
        ("mirror", "relu", 0),
        ("mirror", "tanh", None),
        ("mirror", "none", 0),
        ("regression", "relu", None),
        ("regression", "none", 0),
        ("feedback", "tanh", None),
        ("projection", "none", None),
        ("target", "relu", None),
        ("target", "tanh", None),
        ("activity", "relu", None),
        ("activity", "none", None),
        ("exact", "none", None),
        ("exact", "tanh", None),
    ],
)
def test_little_memory_changes_no_bit(estimator: str, activation: str, ranks: int | None) -> None:
    """A layer that runs again in chunks for its gradients learns what it learns with room for all;
    so does one whose transposed weights share words.
    """
    hidden = TensorTrain((4, 2, 4), (8, 2, 8), (6, 6), activation, gain=2.0)
    names = (estimator, "exact")
    model = Model((hidden, TensorTrain((8, 2, 8), (3, 1, 2), (3, 3), "none", gain=2.0)))
    if estimator == "exact":
        model, names = Model((TensorTrain((4, 2, 4), (8, 1, 8), (6, 6), activation, gain=2.0),)), ("exact",)
    made = Recipe(
        batch=32, tile=16, estimator=names, probes=2, activity_mu=2**-4, rate=2**-7, decay2=7, feedback_ranks=ranks
    )
    found = []
    for rows, words, parameters in ((4, 4096, 4096), (4, 4096, 0), (4, 0, 4096), (4, 0, 0), (8, 0, 0), (1, 0, 0)):
        depths = _least(model, made, rows)
        engine = replace(
            ENGINE, rows=rows, activation_depth=words or depths[0], parameter_depth=parameters or depths[1]
        )
        bench = Bench(model, made, engine)
        bench.run(bench.compiled.commands.train(0, [(bench.x, bench.y)] * 2))
        state = bench.compiled.commands.read_state(bench.run(bench.compiled.commands.store_state()))
        found.append((bench.compiled, state))
    chunks = [compiled.memory.layers[0].chunks for compiled, _ in found]
    assert chunks[:2] == [1, 1]
    assert min(chunks[2:]) > 1
    for _, state in found[1:]:
        for one, other in zip((found[0][1].master, found[0][1].moment2), (state.master, state.moment2), strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in one)


def _least(model: Model, made: Recipe, rows: int) -> tuple[int, int]:
    """The least depths that a program fits, by what the compiler says of smaller ones."""
    depths = {"activation_depth": 16, "parameter_depth": 16}
    while True:
        try:
            Bench(model, made, replace(ENGINE, rows=rows, **depths))
        except CompileError as error:
            (name, needed), *_ = re.findall(r"use (\w+)=(\d+)", str(error))
            assert int(needed) > depths[name]
            depths[name] = int(needed)
        else:
            break
    return depths["activation_depth"], depths["parameter_depth"]


@pytest.mark.parametrize("estimator", ["mirror", "regression"])
def test_learned_feedback_finds_the_weights(estimator: str) -> None:
    """With a network at rest, the matrix becomes that of the layer behind: the transposed
    derivative.
    """
    model = network("relu")
    bench = Bench(model, recipe(estimator, probes=16, activity_mu=2**-4, rate=2**-7, decay2=7, feedback_ranks=0))
    wanted = reference.dense_matrix(1, model.layers[1], bench.weights)
    bench.run(bench.compiled.commands.load_state(bench.compiled.commands.initial_state(bench.given)))
    first = bench.compiled.commands.initial_state(bench.given)
    for step in range(100):
        bench.run(bench.compiled.commands.train(step, [(bench.x, bench.y)]))
        state = bench.compiled.commands.read_state(bench.run(bench.compiled.commands.store_state()))
        kept = {name: first.master[name] for name in bench.given} | {"0.feedback": state.master["0.feedback"]}
        bench.run(bench.compiled.commands.load_state(type(state)(kept, state.moment1, state.moment2)))
    learned = bench.compiled.tensors["0.feedback"].master.decode(state.master["0.feedback"])
    assert np.corrcoef(learned.ravel(), wanted.ravel())[0, 1] > 0.75


@pytest.mark.parametrize("estimator", ["mirror", "regression", "activity", "target"])
def test_results_do_not_depend_on_the_geometry(estimator: str) -> None:
    digests = []
    for rows, lanes in ((1, 2), (2, 16), (8, 4)):
        engine = EngineConfig(
            rows=rows, lanes=lanes, lanes_per_table=1, activation_depth=4096, parameter_depth=8192, program_depth=4096
        )
        bench = Bench(network("relu"), recipe(estimator, probes=2), engine)
        commands = bench.compiled.commands
        bench.run(commands.load_state(commands.initial_state(bench.given)))
        losses = commands.read_train(bench.run(commands.train(0, [(bench.x, bench.y)] * 3)))
        state = commands.read_state(bench.run(commands.store_state()))
        digests.append((losses, {name: values.tolist() for name, values in state.master.items()}))
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize(("rule", "rate", "factor"), [(Rule.SGD, 2**-6, 0.98), (Rule.ADAM, 2**-6, 0.5)])
@pytest.mark.parametrize("estimator", ["feedback", "projection", "target", "mirror", "regression"])
def test_losses_fall(estimator: str, rule: Rule, rate: float, factor: float) -> None:
    if rule is Rule.SGD and estimator in ("mirror", "regression"):
        pytest.skip("learned feedback needs a rule without a scale")
    bench = Bench(network("relu"), recipe(estimator, rule=rule, rate=rate, decay2=6))
    bench.run(bench.compiled.commands.load_state(bench.compiled.commands.initial_state(bench.given)))
    losses = bench.compiled.commands.read_train(bench.run(bench.compiled.commands.train(0, [(bench.x, bench.y)] * 100)))
    assert losses[-1] < factor * losses[0]


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("estimator", ["feedback", "projection", "target"])
def test_convolutions(estimator: str, padding: int) -> None:
    layer = Conv2d((2, 6, 5), 3, 3, stride=2, padding=padding, activation="relu")
    model = Model((layer, Dense(layer.output_size, 4)))
    bench = Bench(model, recipe(estimator))
    found = bench.gradients()
    code = local.class_code(4, bench.y)
    signal = {
        "feedback": lambda: bench.errors @ bench.fixed(),
        "projection": lambda: code @ bench.fixed(),
        "target": lambda: bench.outputs[0] + code @ bench.fixed(),
    }[estimator]()
    delta = signal * local.derivative("relu", bench.outputs[0])
    expected = np.zeros(bench.weights["0.weight"].shape)
    for index in np.ndindex(expected.shape):
        unit = np.zeros(expected.shape)
        unit[index] = 1
        expected[index] = (delta * reference.convolve(layer, unit, bench.x)).sum()
    check(found["0.weight"], expected)
    check(found["0.bias"], delta.reshape(BATCH, 3, -1).sum(axis=(0, 2)))


@pytest.mark.parametrize("output", ["last", "all"])
@pytest.mark.parametrize("local_loss", ["l1", "l2"])
@pytest.mark.parametrize(
    ("estimator", "reach"), [("feedback", 1.0), ("projection", 1.0), ("target", 1.0), ("feedback", 3.0)]
)
def test_recurrent_layers_learn_at_every_time_step(estimator: str, reach: float, local_loss: str, output: str) -> None:
    """Inputs that reach beyond 1 leave outputs, which have their format, fewer fraction bits."""
    layer = RNN(steps=4, inputs=3, outputs=5, output=output)
    model = Model((layer, Dense(layer.output_size, 4)))
    bench = Bench(model, recipe(estimator, local_loss=local_loss), reach=reach)
    found = bench.gradients()
    h = np.tanh(bench.states[0][1]).reshape(BATCH, 4, 5)
    code, fixed = local.class_code(4, bench.y), bench.fixed(4)
    signal = {
        "feedback": lambda: np.einsum("bc,tch->bth", bench.errors, fixed),
        "projection": lambda: np.einsum("bc,tch->bth", code, fixed),
        "target": lambda: h + np.einsum("bc,tch->bth", code, fixed),
    }[estimator]()
    if estimator == "target" and local_loss == "l1":
        signal = np.sign(signal)
    delta = np.broadcast_to(signal, h.shape) * (1 - h**2)
    before = np.concatenate([np.zeros((BATCH, 1, 5)), h[:, :-1]], axis=1)
    inputs = np.concatenate([before, bench.x.reshape(BATCH, 4, 3)], axis=2)
    check(found["0.weight"], np.einsum("btk,btm->km", inputs, delta), least=0.9995)
    check(found["0.bias"], delta.sum(axis=(0, 1)), least=0.9995)
    read = h[:, -1] if output == "last" else h.reshape(BATCH, -1)
    check(found["1.weight"], read.T @ bench.errors, least=0.9995)


@pytest.mark.parametrize("estimator", ["feedback", "projection", "target"])
@pytest.mark.parametrize("local_loss", ["l1", "l2"])
@pytest.mark.parametrize("output", ["last", "all"])
def test_recurrent_layers_that_read_recurrent_layers(estimator: str, local_loss: str, output: str) -> None:
    """Each learns from a signal and from inputs of its own, at every time step."""
    sizes = (3, 5, 2, 6)
    layers = [RNN(steps=4, inputs=i, outputs=o, output="all") for i, o in itertools.pairwise(sizes)]
    layers[-1] = replace(layers[-1], output=output)
    model = Model((*layers, Dense(layers[-1].output_size, 4)))
    bench = Bench(model, Recipe(batch=BATCH, tile=TILE, estimator=(*[estimator] * 3, "exact"), local_loss=local_loss))
    found = bench.gradients()
    code, first, x = local.class_code(4, bench.y), 0, bench.x.reshape(BATCH, 4, 3)
    for position, layer in enumerate(layers):
        h = np.tanh(bench.states[position][1]).reshape(BATCH, 4, layer.outputs)
        words = 4 * 4 * -(-layer.outputs // ENGINE.rows)
        fixed = bench.fixed(4, first, words, position)
        first += words
        made = np.einsum("bc,tch->bth", bench.errors if estimator == "feedback" else code, fixed)
        if estimator == "target":
            made = np.sign(h + made) if local_loss == "l1" else h + made
        delta = made * (1 - h**2)
        before = np.concatenate([np.zeros((BATCH, 1, layer.outputs)), h[:, :-1]], axis=1)
        inputs = np.concatenate([before, x], axis=2)
        check(found[f"{position}.weight"], np.einsum("btk,btm->km", inputs, delta), least=0.9995)
        check(found[f"{position}.bias"], delta.sum(axis=(0, 1)), least=0.9995)
        x = h
    read = h[:, -1] if output == "last" else h.reshape(BATCH, -1)
    check(found["3.weight"], read.T @ bench.errors, least=0.9995)
    assert first == bench.compiled.zeroed


def test_coordinates_of_woven_layers() -> None:
    """Perturbed parameters give the derivatives, too: nothing that a pass reads is out of date."""
    model = Model((RNN(3, 5, 4, output="all"), RNN(5, 4, 4, output="all"), Dense(16, 3)))
    bench = Bench(model, Recipe(batch=BATCH, tile=TILE, estimator="coordinate", probes=1, mu=2**-6))
    found = bench.gradients()

    def loss(name: str, index: tuple[int, ...], step: float) -> float:
        moved = {**bench.weights, name: np.array(bench.weights[name])}
        moved[name][index] += step
        return float(reference.sample_losses(model, reference.forward(model, moved, bench.x), bench.y).sum())

    for name, values in bench.weights.items():
        expected = np.array([loss(name, index, 1e-4) - loss(name, index, -1e-4) for index in np.ndindex(values.shape)])
        assert found[name].ravel() @ expected > 0.97 * np.linalg.norm(found[name]) * np.linalg.norm(expected)


def test_signals_of_woven_layers_leave_no_gaps() -> None:
    """What is made for one layer takes no room for the others' states."""
    model = Model((RNN(3, 5, 4, output="all"), RNN(5, 6, 4, output="all"), Dense(24, 3)))
    samples = Labelled(np.zeros((8, 12)), np.zeros(8, int))
    recipe = Recipe(batch=8, tile=8, estimator=("target", "target", "exact"), local_loss="l2")
    compiled = compile(model, samples, recipe, ENGINE, model.initial_parameters(0))
    extra = compiled.memory.extra
    assert extra["signal of layer 0"].words == 20
    assert extra["signal of layer 1"].words == 24


def test_what_local_learning_cannot_do() -> None:
    model = Model((Dense(4, 6, "sine"), Dense(6, 3)))
    samples = Labelled(np.zeros((8, 4)), np.zeros(8, int))
    fields = {"batch": 8, "tile": 8}
    with pytest.raises(CompileError, match="derivative of sine cannot be computed from its value; use relu, tanh"):
        compile(model, samples, Recipe(estimator=("feedback", "exact"), **fields), ENGINE, model.initial_parameters(0))
    with pytest.raises(CompileError, match="exact errors are known at the last layer only"):
        compile(model, samples, Recipe(estimator="exact", **fields), ENGINE, model.initial_parameters(0))
    model = Model((RNN(steps=2, inputs=2, outputs=3),))
    with pytest.raises(CompileError, match="exact errors of a recurrent layer are known at its last time step only"):
        compile(model, samples, Recipe(estimator="exact", **fields), ENGINE, model.initial_parameters(0))
    model = Model((RNN(steps=2, inputs=2, outputs=3), Dense(3, 3)))
    with pytest.raises(CompileError, match="recurrent layer has no activities to perturb; use target"):
        compile(model, samples, Recipe(estimator=("mirror", "exact"), **fields), ENGINE, model.initial_parameters(0))


def test_gradients_leave_the_state_alone() -> None:
    bench: Bench = Bench(network("relu"), recipe("mirror"))
    compiled: Compiled = bench.compiled
    first, again = bench.gradients(), bench.gradients()
    assert all((first[name] == again[name]).all() for name in first)
    state = compiled.commands.read_state(bench.run(compiled.commands.store_state()))
    assert all((state.master[name] == bench.masters.master[name]).all() for name in state.master)
