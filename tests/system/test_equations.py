"""Differential equations from the shell: run folders, resumption, reports, comparison."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from dither.cli import main
from dither.physics import Burgers
from dither.runs import RunFolder
from dither.train.equations import EquationTask
from dither.train.sampler import PointBatches
from dither.train.tasks import TaskError, load_task, task_names

QUICK = [
    "train",
    "burgers",
    "--engine",
    "1x8",
    "--batch",
    "16",
    "--tile",
    "16",
    "--probes",
    "1",
    "--log-every",
    "2",
    "--schedule-steps",
    "100",
]


def test_points_depend_on_seed_and_step_alone() -> None:
    problem = Burgers()
    batches = PointBatches(problem, 5, seed=3)
    points, targets = batches.take(0, 6)
    assert targets is None
    assert points.shape == (6, 5, 2)
    assert np.array_equal(PointBatches(problem, 5, seed=3).take(4, 2)[0], points[4:])
    assert not np.array_equal(PointBatches(problem, 5, seed=4).take(0, 6)[0], points)
    assert len(np.unique(points[..., 0])) == 30
    assert points.min(axis=(0, 1)) == pytest.approx([-1, 0], abs=0.3)


def test_interrupted_runs_go_on_with_the_same_bits(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*QUICK, "--steps", "8", "--out", str(whole)]) == 0
    assert main([*QUICK, "--steps", "4", "--checkpoint-every", "3", "--out", str(parts)]) == 0
    assert main(["train", "--resume", str(parts), "--steps", "8"]) == 0
    assert main(["compare", str(whole), str(parts), "--no-plot"]) == 0


def test_solved_steps_go_on_with_the_same_bits_by_their_command(tmp_path: Path) -> None:
    whole, parts, again = tmp_path / "whole", tmp_path / "parts", tmp_path / "again"
    solved = [*QUICK, "--estimator", "residualwise", "--probes", "4", "--steps"]
    assert main([*solved, "6", "--out", str(whole)]) == 0
    assert main([*solved, "4", "--checkpoint-every", "3", "--out", str(parts)]) == 0
    assert main(["train", "--resume", str(parts), "--steps", "6"]) == 0
    assert main(["compare", str(whole), str(parts), "--no-plot"]) == 0
    words = shlex.split(json.loads((whole / "run.json").read_text())["command"])
    assert {"--estimator", "--batch"} < set(words)
    assert "--rule" not in words  # It is the estimator's.
    assert main([*words[1:], "--device", "numpy", "--out", str(again)]) == 0
    assert main(["compare", str(whole), str(again), "--no-plot"]) == 0


def test_run_folder_names_its_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    assert main([*QUICK, "--steps", "4", "--stencil", "central:0.125", "--out", str(path)]) == 0
    assert "relative L2 error" in capsys.readouterr().out
    run = RunFolder.open(path)
    assert (path / "curve.csv").read_text().startswith("step,forwards,macs,train_loss,loss,relative_l2,digest")
    assert [row.step for row in run.curve()] == [0, 2, 4]
    assert run.curve()[-1].forwards == 4 * 16 * 3 * 5
    description = json.loads((path / "run.json").read_text())
    assert description["stencil"] == "central:0.125"
    assert "--stencil central:0.125" in description["command"]
    assert {tensor.name for tensor in run.tensors} == set(load_task("burgers").model.parameter_shapes())
    page = (path / "report.html").read_text()
    assert "relative L2 error" in page
    assert "accuracy" not in page


def test_stencil_decides_the_run(tmp_path: Path) -> None:
    for name, stencil in (("a", "central:0.125"), ("b", "central:0.25")):
        assert main([*QUICK, "--steps", "2", "--stencil", stencil, "--out", str(tmp_path / name)]) == 0
    runs = [RunFolder.open(tmp_path / name) for name in "ab"]
    assert runs[0].identity != runs[1].identity
    assert main(["compare", *(str(run.path) for run in runs), "--no-plot"]) == 1


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--stencil", "spectral"]) == 2
    assert "unknown stencil" in capsys.readouterr().err
    assert main(["train", "digits", "--stencil", "central"]) == 2
    assert "no differential equation" in capsys.readouterr().err
    assert main(["train", "hjb", "--stencil", "sparse:0.5:3", "--engine", "4x32"]) == 2
    assert "parameter memory" in capsys.readouterr().err
    with pytest.raises(TaskError, match="did you mean burgers"):
        load_task("burger")
    assert {"hjb", "black-scholes", "burgers"} <= set(task_names())


@pytest.mark.parametrize("name", ["hjb", "black-scholes", "burgers", "poisson"])
def test_held_out_points_are_fixed(name: str) -> None:
    task = load_task(name)
    assert isinstance(task, EquationTask)
    other = load_task(name)
    assert isinstance(other, EquationTask)
    assert task.samples == {"train": 0, "test": 10_000}
    assert np.array_equal(task.test_points, other.test_points)
    assert task.metric.lower
    trained = task.batches(task.recipe).take(0, 3)[0].reshape(-1, task.model.inputs)
    assert not set(map(tuple, trained)) & set(map(tuple, task.test_points))
