"""Networks with parameters: files, runs, and experiments that begin with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dither import Network
from dither.arch.config import preset
from dither.nn.models import RNN, Conv2d, Dense, Model, TensorTrain, named_model
from dither.runs import RunError, RunFolder
from dither.train.experiment import Experiment
from dither.train.prepared import prepare

MODEL = Model((TensorTrain((8, 8), (4, 4), 3), Dense(16, 10)))


def network(model: Model = MODEL, seed: int = 5) -> Network:
    return Network(model, model.initial_parameters(seed))


@pytest.mark.parametrize(
    "model",
    [MODEL, named_model("mnist-cnn"), Model((RNN(3, 4, 2), Dense(4, 2))), Model((Conv2d((1, 4, 4), 2),))],
    ids=str,
)
def test_file_round_trip(tmp_path: Path, model: Model) -> None:
    before = network(model)
    before.save(tmp_path / "net.npz")
    after = Network.load(tmp_path / "net.npz")
    assert after.model == model
    assert all((after.parameters[name] == values).all() for name, values in before.parameters.items())


def test_wrong_parameters() -> None:
    values = MODEL.initial_parameters(0)
    with pytest.raises(ValueError, match=r"parameter 1\.bias is missing"):
        Network(MODEL, {name: value for name, value in values.items() if name != "1.bias"})
    with pytest.raises(ValueError, match=r"parameter 1\.bias has NaN"):
        Network(MODEL, values | {"1.bias": np.full(10, np.nan)})


@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "no model", "no parameters", "bad model"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.npz"
    network().save(path)
    whole = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "text":
            path.write_text("hello")
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "no model":
            np.savez(path, **network().parameters)
        case "no parameters":
            np.savez(path, model=np.load(path)["model"])
        case "bad model":
            np.savez(path, **network().parameters, model=np.frombuffer(b"[]", np.uint8))
    with pytest.raises(ValueError, match=r"net\.npz") as caught:
        Network.load(path)
    assert "\n" not in str(caught.value)


def experiment(path: Path, steps: int = 4) -> Experiment:
    return Experiment.of_task(
        "digits",
        device="golden",
        engine=preset("1x8"),
        steps=steps,
        log_every=2,
        checkpoint_every=2,
        recipe={"batch": 32, "tile": 16, "probes": 1, "mu": 2**-6},
        network=str(path),
    )


def begin(chosen: Experiment, path: Path) -> tuple[RunFolder, Network]:
    prepared = prepare(chosen)
    run = RunFolder.create(path, prepared.describe())
    trainer = prepared.trainer(run)
    trainer.start()
    first = run.network()
    trainer.train(report=lambda progress: None, stop=lambda: False)
    prepared.close()
    return RunFolder.open(path), first


def test_training_begins_with_given_parameters(tmp_path: Path) -> None:
    given = network()
    given.save(tmp_path / "net.npz")
    run, first = begin(experiment(tmp_path / "net.npz"), tmp_path / "run")
    for name, values in given.parameters.items():
        assert np.abs(first.parameters[name] - values).max() < 1e-6
    trained = run.network()
    assert not np.array_equal(trained.parameters["0.core0"], first.parameters["0.core0"])
    assert "--model" in run.description["command"]


def test_resume_needs_no_file_but_the_run(tmp_path: Path) -> None:
    network().save(tmp_path / "net.npz")
    whole, _ = begin(experiment(tmp_path / "net.npz", 6), tmp_path / "whole")
    run, _ = begin(experiment(tmp_path / "net.npz"), tmp_path / "run")
    (tmp_path / "net.npz").unlink()
    prepared = prepare(Experiment.of_run(run, 6))
    trainer = prepared.trainer(run)
    trainer.resume()
    trainer.train(report=lambda progress: None, stop=lambda: False)
    prepared.close()
    assert [row.digest for row in run.curve()] == [row.digest for row in whole.curve()]
    network(seed=6).save(run.path / "initial.npz")
    with pytest.raises(RunError, match="began with other parameters"):
        Experiment.of_run(run, 8)


def test_named_networks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown model 'resnet'"):
        experiment(Path("resnet"))
    other = experiment(Path("mnist-mlp"))
    with pytest.raises(ValueError, match=r"takes 784 inputs .* the data have 64 features"):
        prepare(other)
