"""Convolutions and recurrent layers: descriptions, the float reference, and the programs made of
them.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dither.arch.config import EngineConfig
from dither.compiler import Compiled, Labelled, compile
from dither.compiler.code.contraction import bias_nest, step_nests
from dither.golden import GoldenMachine
from dither.nn import reference
from dither.nn.models import RNN, Conv2d, Dense, Model, TensorTrain, named_model
from dither.recipe import Recipe
from dither.train.session import Session

RECIPE = Recipe(batch=16, tile=16, mu=2**-6)


def plain_convolution(layer: Conv2d, weight: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """By its definition, number by number."""
    images = inputs.reshape(len(inputs), *layer.inputs)
    channels, height, width = layer.inputs
    out = np.zeros((len(inputs), layer.channels, *layer.windows))
    for m, v, u in itertools.product(range(layer.channels), *map(range, layer.windows)):
        for c, j, i in itertools.product(range(channels), *map(range, layer.kernels)):
            y, x = layer.strides[0] * v + j - layer.paddings[0], layer.strides[1] * u + i - layer.paddings[1]
            if 0 <= y < height and 0 <= x < width:
                out[:, m, v, u] += images[:, c, y, x] * weight[c, j, i, m]
    return out.reshape(len(inputs), -1)


CONVOLUTIONS = [
    Conv2d((1, 5, 5), 2),
    Conv2d((2, 7, 6), 5, kernel=3, stride=2),
    Conv2d((2, 7, 6), 3, kernel=3, stride=2, padding=1),
    Conv2d((3, 4, 5), 9, kernel=(2, 3), stride=(1, 2), padding=(1, 2)),
    Conv2d((1, 3, 3), 4, kernel=5, padding=2),
    Conv2d((2, 4, 4), 1, kernel=1, stride=3),
    Conv2d((1, 6, 1), 2, kernel=(3, 1)),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_reference_convolution(layer: Conv2d) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=layer.weight_shapes()["weight"])
    inputs = rng.normal(size=(3, layer.input_size))
    assert np.allclose(reference.convolve(layer, weight, inputs), plain_convolution(layer, weight, inputs))
    matrix = reference.dense_matrix(0, layer, {"0.weight": weight})
    assert np.allclose(inputs @ matrix, plain_convolution(layer, weight, inputs))
    assert layer.plain_macs == np.count_nonzero(reference.dense_matrix(0, layer, {"0.weight": np.ones_like(weight)}))


def test_reference_recurrence() -> None:
    layer = RNN(inputs=3, outputs=4, steps=5)
    rng = np.random.default_rng(0)
    parameters = {"0.weight": rng.normal(size=(7, 4)), "0.bias": rng.normal(size=4)}
    inputs = rng.normal(size=(6, 15))
    hidden = np.zeros((6, 4))
    for t in range(5):
        row = inputs[:, 3 * t : 3 * t + 3]
        hidden = np.tanh(hidden @ parameters["0.weight"][:4] + row @ parameters["0.weight"][4:] + parameters["0.bias"])
    states, outputs = reference.run_layer(0, layer, (), parameters, inputs)
    assert np.allclose(outputs, hidden)
    assert states[0].shape == (6, 20)
    with pytest.raises(ValueError, match="no matrix"):
        reference.dense_matrix(0, layer, parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d((5, 5), 2), "channels, rows and columns"),
        (lambda: Conv2d((1, 5, 5), 0), "channels must be a positive integer"),
        (lambda: Conv2d((1, 5, 5), 2, kernel=0), "kernel must be an integer from 1 on"),
        (lambda: Conv2d((1, 5, 5), 2, stride=(1, 2, 3)), "stride must be"),
        (lambda: Conv2d((1, 5, 5), 2, kernel=6), r"kernel \(6\) is larger"),
        (lambda: Conv2d((1, 5, 5), 2, kernel=3, padding=3), r"padding \(3\) must be less"),
        (lambda: Conv2d((1, 5, 5), 2, activation="gelu"), "activation must be one of"),
        (lambda: RNN(0, 1, 1), "inputs must be a positive integer"),
        (lambda: RNN(1, 1, 1, output="first"), "output must be last or all, not 'first'"),
        (lambda: RNN(1, 1, 1, initial="zero"), "initial must be uniform or orthogonal, not 'zero'"),
        (lambda: Model((RNN(2, 3, 4, output="all"),)), "states of all time steps, so layer 1 must be Dense"),
        (lambda: RNN(1, 1, 1, activation="relu"), r"bounded \(sine or tanh\), not 'relu'"),
        (lambda: Model((Dense(4, 4), RNN(2, 3, 2))), "layer 1 is recurrent, so the layer before it must be, or none"),
        (
            lambda: Model((RNN(2, 3, 4), RNN(3, 5, 4))),
            'layer 1 is recurrent, so layer 0 must give all states .output="all"',
        ),
        (
            lambda: Model((RNN(2, 3, 4, output="all"), RNN(6, 5, 2))),
            "layer 1 is recurrent and reads 2 rows of 6 values, but layer 0 gives 4 states of 3",
        ),
        (
            lambda: Model((RNN(2, 3, 4, output="all"), RNN(3, 3, 4, output="all"))),
            "so layer 2 must be Dense or recurrent",
        ),
        (lambda: Model((Conv2d((1, 5, 5), 2), Dense(17, 2))), "layer 0 has 18 outputs, but layer 1 takes 17"),
    ],
)
def test_impossible_layers(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_orthogonal_recurrence() -> None:
    """States meet an orthogonal matrix; the rows' weights are as they were."""
    layer = RNN(inputs=3, outputs=5, steps=2, initial="orthogonal")
    weight = layer.initial_weights(np.random.default_rng(1))["weight"]
    plain = RNN(inputs=3, outputs=5, steps=2).initial_weights(np.random.default_rng(1))["weight"]
    assert np.allclose(weight[:5] @ weight[:5].T, np.eye(5))
    assert (weight[5:] == plain[5:]).all()


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-rnn", "mnist-rnn-states", "mnist-rnn-stacked"])
def test_named_models_round_trip(name: str) -> None:
    model = named_model(name)
    assert (model.inputs, model.outputs) == (784, 10)
    assert Model.from_dict(model.to_dict()) == model
    model.check_parameters(model.initial_parameters(0))


MODELS = {
    "convolutions": Model((Conv2d((2, 7, 6), 5, 3, 2), Conv2d((5, 3, 2), 3, 2, activation="none"), Dense(6, 4))),
    "padding": Model(
        (Conv2d((2, 7, 6), 5, 3, 2, 1), Conv2d((5, 4, 3), 9, (2, 3), (1, 2), (1, 2), activation="tanh"), Dense(135, 4))
    ),
    "train behind": Model((Conv2d((1, 5, 5), 4, 2, 1, bias=False), TensorTrain((8, 8), (2, 2), 3, activation="none"))),
    "recurrent": Model((RNN(inputs=5, outputs=6, steps=4), Dense(6, 4))),
    "one row": Model((RNN(inputs=7, outputs=9, steps=1, activation="sine", bias=False), Dense(9, 4))),
    "all states": Model((RNN(inputs=5, outputs=6, steps=4, output="all", initial="orthogonal"), Dense(24, 4))),
    "recurrent alone": Model((RNN(inputs=5, outputs=4, steps=3),)),
    "stacked": Model((RNN(5, 6, 4, output="all"), RNN(6, 7, 4, output="all"), Dense(28, 4))),
    "three, the last state": Model(
        (RNN(3, 6, 4, output="all"), RNN(6, 2, 4, "sine", False, output="all"), RNN(2, 5, 4), Dense(5, 4))
    ),
    "stacked alone": Model((RNN(5, 6, 3, output="all"), RNN(6, 4, 3))),
    "stacked, one row": Model((RNN(5, 6, 1, output="all"), RNN(6, 3, 1, output="all"), Dense(3, 4))),
}


def run(model: Model, engine: EngineConfig, scale: float = 1.0) -> tuple[Session, Compiled, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs, labels = rng.uniform(-scale, scale, (24, model.inputs)), rng.integers(0, 4, 24)
    parameters = model.initial_parameters(1)
    compiled = compile(model, Labelled(inputs, labels), RECIPE, engine, parameters)
    session = Session(GoldenMachine(engine), compiled)
    session.load(compiled.commands.initial_state(parameters))
    return session, compiled, inputs, labels


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_outputs_are_the_references(name: str, scale: float) -> None:
    model = MODELS[name]
    session, compiled, inputs, _ = run(model, EngineConfig(rows=4, lanes=8), scale)
    wanted = reference.forward(model, compiled.commands.parameters(session.state()), inputs)
    # Tables of tanh have segments of an eighth or so; everything else is much finer.
    tabled = sum(layer.activation in ("tanh", "sine") for layer in model.layers)
    assert np.abs(session.evaluate(inputs).outputs - wanted).max() < (8e-3 * tabled or 1e-3) * scale


@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same_on_every_engine(name: str) -> None:
    found = []
    for rows, lanes in ((1, 8), (4, 4), (8, 16)):
        session, _, inputs, labels = run(MODELS[name], EngineConfig(rows=rows, lanes=lanes))
        losses = session.train(0, np.stack([inputs[:16], inputs[8:]]), np.stack([labels[:16], labels[8:]]))
        found.append((losses, session.state(), session.evaluate(inputs, labels).integers))
    for losses, state, outputs in found[1:]:
        assert losses == found[0][0]
        assert all((state.master[tensor] == values).all() for tensor, values in found[0][1].master.items())
        assert (outputs == found[0][2]).all()


@pytest.mark.parametrize("name", ["convolutions", "padding"])
@pytest.mark.parametrize("rows", [1, 4])
def test_nests_cover_every_output_and_tap_once(name: str, rows: int) -> None:
    _, compiled, _, _ = run(MODELS[name], EngineConfig(rows=rows, lanes=8))
    for plan, buffers in zip(compiled.plans[:2], compiled.memory.layers, strict=False):
        nests = step_nests(plan, 0, buffers, compiled.tensors[plan.steps[0].tensor])
        bias = bias_nest(plan, buffers, compiled.tensors[plan.bias], 0)
        target = set(range(buffers.target.base, buffers.target.end))
        assert sorted(places for nest in (*nests, bias) for places in written(nest, rows)) == sorted([*target] * 2)
        macs = sum(len(written(nest, rows)) * int(np.prod(nest.inner)) for nest in nests)
        assert macs == plan.layer.plain_macs == plan.macs


def written(nest, rows: int) -> list[int]:
    """Every output word of a nest."""
    strides = [*nest.y.strides, *[0] * len(nest.outer)]
    found = []
    for tile, *others in itertools.product(*map(range, nest.outer)):
        base = nest.y.base + sum(i * s for i, s in zip((tile, *others), strides, strict=False))
        found += [base + r * nest.y.row for r in range(nest.last_rows if tile == nest.outer[0] - 1 else rows)]
    return found


def test_states_of_several_layers_stay_in_memory() -> None:
    """Each layer's own state and what it reads stand in one piece; all first states are zero."""
    model = MODELS["stacked"]
    session, compiled, inputs, labels = run(model, EngineConfig(rows=4, lanes=8))
    session.train(0, inputs[None, :16], labels[None, :16])
    session.evaluate(inputs[:8])
    memory, form = compiled.memory, compiled.formats.input
    words = np.asarray(session.device.memories.space.activation)
    parameters, state = compiled.commands.parameters(session.state()), inputs[:8]
    for position, (layer, buffers) in enumerate(zip(model.layers[:2], memory.layers, strict=False)):
        first, size, pitch = buffers.source.base - layer.outputs, layer.outputs + layer.inputs, 5 + 6 + 7
        assert buffers.pitch == pitch
        pieces = np.stack([words[first + t * pitch :][:size] for t in range(4)])
        assert (pieces[0, : layer.outputs] == 0).all()
        rows = pieces[:, layer.outputs :].transpose(2, 0, 1).reshape(8, -1)
        assert np.abs(form.decode(rows) - state).max() < 8e-3
        _, state = reference.run_layer(position, layer, (), parameters, state)
    assert memory.layers[0].target.end < memory.layers[1].target.end == memory.input.end


def test_layers_with_the_same_function_share_a_table() -> None:
    layers = [RNN(5, 5, 3, output="all") for _ in range(5)]
    _, compiled, _, _ = run(Model((*layers, Dense(15, 4))), EngineConfig(rows=4, lanes=8, activation_tables=1))
    assert len(compiled.activation_tables) == 1


def test_hidden_states_stay_in_memory() -> None:
    """Local learning reads every time step's inputs and outputs after a forward pass."""
    model = MODELS["recurrent"]
    session, compiled, inputs, _ = run(model, EngineConfig(rows=4, lanes=8))
    session.evaluate(inputs[:8])
    machine = session.device
    memory = compiled.memory
    words = np.asarray(machine.memories.space.activation)[memory.input.base - 6 : memory.input.end]
    blocks = words[: 4 * 11].reshape(4, 11, 8)
    assert (blocks[0, :6] == 0).all()
    assert (blocks[:, 6:] == compiled.formats.input.encode(inputs[:8]).T.reshape(4, 5, 8)).all()
    parameters = compiled.commands.parameters(session.state())
    sums = reference.recur(model.layers[0], parameters["0.weight"], parameters["0.bias"], inputs[:8])
    hidden = np.stack([*blocks[1:, :6], words[4 * 11 :]])
    wanted = np.tanh(sums).T.reshape(4, 6, 8)
    assert np.abs(compiled.formats.input.decode(hidden) - wanted).max() < 8e-3
