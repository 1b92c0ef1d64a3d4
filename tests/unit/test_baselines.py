"""First-order baselines: they begin where training begins, see the same data, and learn; skipped
without PyTorch.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dither import Network, from_torch
from dither.baselines import Baseline, default_baseline, train_baseline
from dither.cli import main
from dither.nn.models import Conv2d, Dense, Model, TensorTrain
from dither.nn.reference import forward
from dither.pytorch import to_torch
from dither.train.equations import EQUATIONS, EquationTask
from dither.train.tasks import load_task

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


def small() -> Baseline:
    return Baseline(batch=32, steps=90, rate=1e-2, log_every=30)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch", 0, "batch must be a positive integer"),
        ("rate", float("nan"), "rate must be a positive number"),
        ("seed", -1, "seed must be of 32 bits"),
        ("schedule", "steps", "schedule must be one of constant, cosine"),
        ("derivatives", "guess", "derivatives must be one of stencil, autograd"),
    ],
)
def test_recipe(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small(), **{name: value})


def test_trains_of_cores_stay_trains() -> None:
    model = Model(
        (TensorTrain((2, 3, 4), (4, 3, 2), (3, 5)), TensorTrain((4, 6), (1, 5), 2, "sine", bias=False)), "squared_error"
    )
    network = Network(model, model.initial_parameters(2))
    module = to_torch(network, trains=True)
    assert sum(p.numel() for p in module.parameters()) == model.parameter_count
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 24))
    with torch.no_grad():
        outputs = module(torch.tensor(inputs, dtype=torch.float32)).numpy()
    assert np.abs(outputs - forward(model, network.parameters, inputs)).max() < 1e-5
    again = from_torch(module, loss="squared_error")
    assert again.model.to_dict() == model.to_dict()
    assert all(np.allclose(again.parameters[name], values) for name, values in network.parameters.items())


def test_digits_are_learned_from_the_same_beginning() -> None:
    task = load_task("digits")
    result = train_baseline(task, small())
    assert [row.step for row in result.rows] == [0, 30, 60, 90]
    assert [row.forwards for row in result.rows] == [0, 960, 1920, 2880]
    initial = Network(task.model, task.model.initial_parameters(1))
    right = initial(task.test.inputs).argmax(axis=1) == task.test.labels
    assert result.rows[0].metric == pytest.approx(right.mean())
    assert result.final > 0.6 > result.rows[0].metric
    trained = (result.network(task.test.inputs).argmax(axis=1) == task.test.labels).mean()
    assert trained == pytest.approx(result.final, abs=0.005)
    assert result.facts["image_forwards"] == 2880
    assert train_baseline(task, small()).rows[1:] == result.rows[1:]


def test_convolutions_are_learned() -> None:
    first = Conv2d((1, 8, 8), 4, kernel=3, stride=2)
    model = Model((first, Dense(first.output_size, 10)))
    assert train_baseline(load_task("digits"), small(), model).final > 0.6


def test_unsuitable_model() -> None:
    with pytest.raises(ValueError, match="the data have 64 features"):
        train_baseline(load_task("digits"), small(), Model((Dense(3, 10),)))
    with pytest.raises(ValueError, match="needs 2 inputs"):
        train_baseline(load_task("burgers"), small(), Model((Dense(3, 1),), "squared_error"))


@pytest.mark.parametrize("name", list(EQUATIONS))
def test_residuals_are_the_problems(name: str) -> None:
    """The stencil's loss is the float64 reference's; where differences are good ones, derivatives
    agree with it.
    """
    from dither.baselines.objectives import Residuals

    task = load_task(name)
    assert isinstance(task, EquationTask)
    network = Network(task.model, task.model.initial_parameters(1))
    module = to_torch(network, trains=True)
    points = task.test_points[:7]

    def wanted(stencil) -> float:
        residuals = task.problem.residuals(stencil, lambda nodes: network(nodes)[:, 0], points)
        return float(np.mean(residuals**2))

    found = float(Residuals(task, autograd=False).loss(module, points, None).detach())
    assert found == pytest.approx(wanted(task.stencil), rel=1e-2)
    fine = load_task(name, "central:0.001").stencil
    exact = float(Residuals(task, autograd=True).loss(module, points, None).detach())
    assert exact == pytest.approx(wanted(fine), rel=1e-2)


def test_equation_is_learned() -> None:
    task = load_task("black-scholes")
    result = train_baseline(task, Baseline(batch=32, steps=40, rate=5e-3, log_every=40))
    assert result.final < result.rows[0].metric
    assert result.facts["network_evaluations"] == 40 * 32 * task.stencil.nodes


def test_defaults() -> None:
    assert default_baseline(load_task("digits")).steps == 12 * 1438 // 128
    assert default_baseline(load_task("hjb")).steps == 10_000


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result"
    assert main(["baseline", "digits", "--epochs", "1", "--batch", "64", "--seed", "3", "--out", str(out)]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["seed"] == 3
    assert result["steps"] == 1438 // 64
    assert result["command"].startswith("dither baseline digits --batch 64 --steps 22 --seed 3")
    rows = list(csv.DictReader((out / "curve.csv").open()))
    assert float(rows[-1]["accuracy"]) == result["test_accuracy"]
    assert int(rows[-1]["forwards"]) == result["image_forwards"]
    assert Network.load(out / "network.npz").model.outputs == 10
    assert main(["baseline", "digits", "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["baseline", "hjb", "--epochs", "1", "--out", str(tmp_path / "other")]) == 2
    assert "--epochs needs a data set" in capsys.readouterr().err
