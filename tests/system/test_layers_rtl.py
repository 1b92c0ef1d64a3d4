"""Convolutions, recurrent layers and layers that run in chunks on the simulated RTL: the golden
machine's bits, in the cycles predicted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dither.arch.config import EngineConfig
from dither.compiler import Labelled, compile
from dither.golden import GoldenMachine, predict
from dither.nn.models import RNN, Conv2d, Dense, Model, TensorTrain
from dither.recipe import Recipe
from dither.train.session import Session
from dither_sim.verilated import VerilatedDevice

ENGINE = EngineConfig(
    rows=2, lanes=8, activation_depth=352, parameter_depth=416, program_depth=2048, table_bits=6, activation_tables=1
)
MODELS = {
    "convolutions": Model(
        (
            Conv2d((1, 7, 6), 3, kernel=3, stride=2, padding=1),
            Conv2d((3, 4, 3), 5, kernel=(2, 3), padding=(1, 0), activation="tanh"),
            Dense(25, 3),
        )
    ),
    "recurrence": Model((RNN(inputs=4, outputs=5, steps=6), Dense(5, 3))),
    "local learning of all states": Model((RNN(inputs=4, outputs=5, steps=6, output="all"), Dense(30, 3))),
    "recurrences that read one another": Model(
        (RNN(inputs=4, outputs=5, steps=3, output="all"), RNN(inputs=5, outputs=3, steps=3), Dense(3, 3)),
    ),
    "local learning of both": Model(
        (RNN(inputs=4, outputs=5, steps=3, output="all"), RNN(5, 3, steps=3, output="all"), Dense(9, 3)),
    ),
    "local learning in chunks": Model(
        (TensorTrain((8, 6), (8, 10), 3, "relu"), TensorTrain((8, 10), (1, 3), 2, "none")),
    ),
}
RECIPE = Recipe(batch=16, tile=8, mu=2**-6, rate=2**-7)
LOCAL = replace(RECIPE, estimator=("mirror", "exact"), activity_mu=2**-4)
STEPS = 2


@pytest.fixture(scope="module")
def rtl():
    device = VerilatedDevice(ENGINE)
    yield device
    device.close()


@pytest.mark.parametrize("name", MODELS)
def test_training_gives_the_golden_bits(rtl: VerilatedDevice, name: str) -> None:
    model = MODELS[name]
    rng = np.random.default_rng(0)
    inputs, labels = rng.uniform(-1, 1, (STEPS, 16, model.inputs)), rng.integers(0, 3, (STEPS, 16))
    parameters = model.initial_parameters(1)
    recipe = LOCAL if name.startswith("local") else RECIPE
    if isinstance(model.layers[0], RNN) and recipe is LOCAL:
        recipe = replace(LOCAL, estimator=(*["target"] * (len(model.layers) - 1), "exact"))
    compiled = compile(model, Labelled(inputs[0], labels[0]), recipe, ENGINE, parameters)
    assert (compiled.memory.layers[0].chunks > 1) == name.endswith("in chunks")
    found = []
    for device in (rtl, GoldenMachine(ENGINE)):
        session = Session(device, compiled)
        session.load(compiled.commands.initial_state(parameters))
        command = compiled.commands.train(0, list(zip(inputs, labels, strict=True)))
        result = device.run(command.entry, command.inputs, command.expects)
        predicted = predict(ENGINE, compiled.program, compiled.entries["train"], [0, 0, STEPS, *[0] * STEPS])
        assert {key: result.counters[key] for key in predicted} == predicted
        losses = compiled.commands.read_train(result.outputs)
        found.append((losses, session.state(), session.evaluate(inputs[0]).integers))
    (losses, state, outputs), golden = found
    assert losses == golden[0]
    assert all((values == golden[1].master[tensor]).all() for tensor, values in state.master.items())
    assert (outputs == golden[2]).all()
