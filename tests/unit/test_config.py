"""Configuration files: written by every run, taken again with the same bits, refused where odd."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

import dither
from dither import Dense, EngineConfig, Model, Network, RunFolder
from dither.cli import main
from dither.recipe import WORDS, Recipe
from dither.runs.compare import compare
from dither.tools import trust
from dither.train.config import read_config
from dither.train.tasks import TaskError
from tests.unit.test_own_tasks import CLASSES, HEAT


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_here", set())


def same(a: str, b: str) -> bool:
    """Whether two runs have the same bits, and the same identity."""
    first, second = RunFolder.open(a), RunFolder.open(b)
    return compare(first, second).identical and first.identity == second.identity


@pytest.mark.parametrize(
    "options",
    [
        ["digits", "--steps", "3"],
        ["digits", "--steps", "3", "--engine", "1x8@8192", "--seed", "9", "--probes", "2", "--rule", "sign"],
        pytest.param(["digits", "--steps", "6", "--then", "after=2,estimator=coordinate"], marks=pytest.mark.slow),
        ["digits", "--steps", "2", "--estimator", "mirror,exact", "--probes", "1", "--feedback-ranks", "2"],
        pytest.param(["black-scholes", "--steps", "1", "--stencil", "central:0.25"], marks=pytest.mark.slow),
        ["iris.npz", "--steps", "3", "--model", "16"],
        ["iris.npz", "--steps", "3", "--model", "net.npz"],
        ["halves.py:make", "--steps", "3"],
    ],
    ids=" ".join,
)
def test_a_run_s_file_gives_the_same_bits(options: list[str]) -> None:
    x, y = load_iris(return_X_y=True)
    np.savez("iris.npz", x=x, y=y)
    model = Model((Dense(4, 8, "tanh"), Dense(8, 3)))
    Network(model, model.initial_parameters(3)).save("net.npz")
    Path("halves.py").write_text(CLASSES)
    assert main(["train", *options, "--log-every", "1", "--out", "a"]) == 0
    assert main(["train", "a/run.toml", "--out", "b"]) == 0
    assert same("a", "b")
    assert Path("a/run.toml").read_text().count("#") > 20
    # What the file of a run from a file says is what the run's command says.
    words = shlex.split(RunFolder.open("a").description["command"])
    assert main([*words[1:], "--out", "c"]) == 0
    assert compare(RunFolder.open("a"), RunFolder.open("c")).identical


def test_runs_of_programs() -> None:
    x, y = load_iris(return_X_y=True)
    model = Model((Dense(4, 8, "tanh"), Dense(8, 3)))
    engine = EngineConfig(rows=2, lanes=8, parameter_depth=2048, activation_depth=2048)
    network = Network(model, model.initial_parameters(5))
    run = dither.train(x, y, model=network, engine=engine, steps=2, log_every=1, out="a", batch=32, tile=32)
    assert run.description["command"] == "dither train a/run.toml"
    assert main(["train", "a/run.toml", "--out", "b"]) == 0
    assert same("a", "b")
    assert tomllib.loads(Path("a/run.toml").read_text())["engine"]["activation_depth"] == 2048


def test_options_come_first() -> None:
    assert main(["train", "digits", "--steps", "2", "--log-every", "1", "--seed", "3", "--out", "a"]) == 0
    changes = ["--steps", "1", "--rate", "0.5", "--engine", "1x8"]
    assert main(["train", "--config", "a/run.toml", *changes, "--out", "b"]) == 0
    found = RunFolder.open("b").description
    assert (found["steps"], found["recipe"]["rate"], found["engine"]["lanes"], found["seed"]) == (1, 0.5, 8, 3)
    assert main(["train", "a/run.toml", "--seed", "1", "--model", "digits", "--out", "c"]) == 0
    assert RunFolder.open("c").description["seed"] == 1
    few = ["--steps", "1", "--estimator", "mirror,exact", "--probes", "1", "--model", "16"]
    x, y = load_iris(return_X_y=True)
    np.savez("iris.npz", x=x, y=y)
    assert main(["train", "iris.npz", "--config", "a/run.toml", *few, "--out", "d"]) == 0
    assert RunFolder.open("d").description["task"] == "iris"


def test_a_short_file_leaves_the_rest_to_the_task() -> None:
    Path("my.toml").write_text('task = "digits"\nsteps = 2\n[recipe]\nrate = 0.01\n')
    assert main(["train", "my.toml"]) == 0
    assert main(["train", "digits", "--steps", "2", "--rate", "0.01"]) == 0
    assert same("runs/digits-golden-1", "runs/digits-golden-2")


def test_a_network_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_iris(return_X_y=True)
    Path("sub").mkdir()
    np.savez("sub/iris.npz", x=x, y=y)
    layers = '[[model.layers]]\nkind = "dense"\ninputs = 4\noutputs = 6\nactivation = "relu"\n\n'
    layers += '[[model.layers]]\nkind = "dense"\ninputs = 6\noutputs = 3\n'
    Path("sub/my.toml").write_text(f'task = "iris.npz"\nsteps = 2\n[model]\nloss = "cross_entropy"\n{layers}')
    assert main(["train", "sub/my.toml"]) == 0
    assert RunFolder.open("runs/iris-golden-1").description["sizes"] == [4, 6, 3]


def test_no_file_runs_code_that_nobody_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("heat.py").write_text(HEAT)
    Path("my.toml").write_text('task = "heat.py"\nsteps = 1\n')
    assert main(["train", "my.toml"]) == 2
    captured = capsys.readouterr()
    assert "nobody has named here" in captured.err
    assert "run as" not in captured.out
    assert main(["train", "heat.py", "--config", "my.toml"]) == 0
    assert main(["train", "my.toml"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task is missing"),
        ("task = 1", "task must be text"),
        ('task = "digits"\ntask = "digits"', "no configuration of a run"),
        ('task = "digits"\nstep = 1', "unknown key 'step'"),
        ('task = "digits"\nsteps = 0', "steps must be a whole number from 1 on"),
        ('task = "digits"\nengine = "9x9x9"', "unknown engine"),
        ('task = "digits"\nengine = { lanes = 17 }', "lanes"),
        ('task = "digits"\nengine = { lane = 16 }', "unknown engine parameters"),
        ('task = "digits"\nrecipe = 1', "recipe must be"),
        ('task = "digits"\n[recipe]\nrate = -1', "rate must be"),
        ('task = "digits"\n[recipe]\nrates = 1', "unknown recipe fields: rates"),
        ('task = "digits"\n[recipe]\nprobes = [1, 2, 3]', "probes has 3 entries"),
        ('task = "digits"\n[recipe]\nrule = "best"', "rule must be one of"),
        ('task = "digits"\n[model]\nloss = "cross_entropy"\nlayers = []', "at least one layer"),
        (
            'task = "digits"\n[model]\nloss = "cross_entropy"\nlayers = [{ kind = "dense", inputs = 5, outputs = 10 }]',
            "5",
        ),
        ('task = "digits"\nthen = ["after=x"]', "says no end of a phase"),
        ('task = "nowhere.npz"', "there is no nowhere.npz"),
        ('task = "nowhere"', "unknown task"),
        ("[" * 5000, "no configuration of a run"),
        ("#" * (1 << 21), "too long"),
        ("task = '\x00'", "no configuration of a run"),
    ],
)
def test_odd_files(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text(text)
    assert main(["train", "my.toml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_files_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_bytes(b"\xff\xfe")
    for name in ("my.toml", "nowhere.toml"):
        with pytest.raises(TaskError):
            read_config(name)
    assert main(["train", "--config", "nowhere.toml"]) == 2


def test_every_field_of_the_recipe_has_words() -> None:
    assert set(WORDS) == set(Recipe().to_dict())
