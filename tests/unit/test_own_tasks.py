"""One's own arrays, files and equations: trained, resumed, compared; and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine

import dither
from dither import Dense, Model, Network, RunFolder, engine
from dither.cli import main
from dither.data import Samples
from dither.runs import RunError
from dither.runs.compare import compare
from dither.tools import trust
from dither.train.own import content_digest, equation_task, labelled_task, settled
from dither.train.source import Source
from dither.train.tasks import TaskError, load_task
from tests.doubles.board import BoardModel, PseudoTerminal

HEAT = """
import math
import numpy as np
from dither import Problem
from dither.physics import sin

print("run as", __name__)


class Heat(Problem):
    name, title = "heat", "heat on a rod"
    lower, upper = (0.0, 0.0), (1.0, 1.0)
    magnitude = 4.0

    def ansatz(self, f, x):
        return sin(math.pi * x[0]) + x[1] * x[0] * (1 - x[0]) * f

    def residual(self, u, x):
        return u.d(1) - 0.1 * u.dd(0)

    def solution(self, points):
        return np.sin(np.pi * points[:, 0]) * np.exp(-0.1 * np.pi**2 * points[:, 1])
"""
CLASSES = """
import numpy as np
from dither import Dense, Model, Recipe, Task
from dither.train.task import Split

x = np.random.default_rng(0).uniform(-1, 1, (80, 3))
split = Split(x, (x[:, 0] > 0).astype(int))


def make():
    return Task(name="halves", title="halves", classes=2, train=split, test=split, model=Model((Dense(3, 2),)),
                recipe=Recipe(batch=32, tile=32, estimator="exact", rate=0.02), steps=20)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_here", set())


def wine(path: str = "wine.npz") -> str:
    x, y = load_wine(return_X_y=True)
    np.savez(path, x=x, y=y)
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The complaint, which must be one line."""
    error = capsys.readouterr().err
    assert error.startswith("dither: ")
    assert error.count("\n") == 1
    return error


# Arrays


def test_five_lines() -> None:
    x, y = load_iris(return_X_y=True)
    run = dither.train(x, y)
    assert run.path == Path("runs/arrays-golden-1")
    assert run.accuracy >= 0.9
    assert run.loss < 0.3
    assert run.report.read_text().startswith("<!DOCTYPE html>")
    assert run.plot("curve.png").axes
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    assert dither.load_run(run.path).accuracy == run.accuracy
    with pytest.raises(RunError, match=r"ask for \.accuracy"):
        _ = run.error


def test_a_run_of_arrays_needs_nothing_but_its_folder(tmp_path: Path) -> None:
    bunch = load_iris()
    names = bunch.target_names[bunch.target]
    whole = dither.train(bunch.data, names, steps=20, log_every=5, out="whole", name="iris")
    dither.train(bunch.data, names, steps=10, log_every=5, out="half", name="iris")
    shutil.move("half", "elsewhere")
    assert main(["train", "--resume", "elsewhere", "--steps", "20"]) == 0
    resumed = RunFolder.open("elsewhere")
    assert compare(whole, resumed).identical
    assert resumed.description["classes"] == ["setosa", "versicolor", "virginica"]
    assert main(["train", "elsewhere/data.npz", "--steps", "20", "--log-every", "5", "--out", "again"]) == 0
    assert compare(whole, RunFolder.open("again")).identical


def test_what_models_can_be() -> None:
    x, y = load_iris(return_X_y=True)
    few: dict[str, Any] = {"steps": 2, "log_every": 1}
    sizes = dither.train(x, y, model=(8,), out="sizes", **few)
    model = Model((Dense(4, 8, "relu"), Dense(8, 3)))
    assert compare(sizes, dither.train(x, y, model=model, out="model", **few)).identical
    network = Network(model, model.initial_parameters(5))
    network.save("net.npz")
    given = dither.train(x, y, model=network, out="network", **few)
    assert compare(given, dither.train(x, y, model="net.npz", out="file", **few)).identical
    assert given.curve()[0].digest != sizes.curve()[0].digest
    with pytest.raises(TaskError, match="the model takes 5 inputs"):
        dither.train(x, y, model=Model((Dense(5, 3),)), **few)


def test_recipes_and_engines() -> None:
    x, y = load_iris(return_X_y=True)
    run = dither.train(x, y, steps=1, rate=0.002, seed=7, engine="1x8", recipe={"batch": 32, "tile": 32})
    recipe = run.description["recipe"]
    assert (recipe["rate"], recipe["seed"], recipe["batch"], run.description["engine"]["lanes"]) == (0.002, 7, 32, 8)
    with pytest.raises(ValueError, match="unknown recipe fields: rat"):
        dither.train(x, y, rat=1)


def test_a_board_trains_one_s_own_samples() -> None:
    x, y = load_iris(return_X_y=True)
    np.savez("iris.npz", x=x, y=y)
    board = BoardModel(engine("1x8"))
    few: dict[str, Any] = {"steps": 2, "log_every": 1, "model": (8,)}
    try:
        with PseudoTerminal(board) as line:
            there = dither.train(x, y, device=line.path, out="there", **few)
            assert main(["train", "iris.npz", "--device", line.path, "--steps", "1", "--model", "8", "--out", "b"]) == 0
    finally:
        board.close()
    assert there.description["engine"]["lanes"] == 8
    assert compare(there, dither.train(x, y, out="here", **few)).identical
    assert main(["train", "--resume", "b", "--device", "golden", "--steps", "2"]) == 0
    assert RunFolder.open("b").curve()[-1].digest == there.last.digest


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    x, y = load_iris(return_X_y=True)
    run = dither.train(x, y, steps=6, log_every=2, show=lambda progress: seen.append(progress.step))
    assert seen[-1] == 6
    assert seen == sorted(seen)
    dither.train(x, y, steps=2)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(KeyboardInterrupt):
        dither.train(x, y, steps=6, log_every=2, checkpoint_every=2, out="cut", show=_interrupt)
    assert main(["train", "--resume", "cut"]) == 0
    assert compare(run, RunFolder.open("cut")).identical


def _interrupt(progress: Any) -> None:
    if progress.step >= 3:
        raise KeyboardInterrupt


def test_held_out_samples_are_the_same_for_every_seed_of_a_run() -> None:
    samples = Samples(*load_wine(return_X_y=True))
    task = labelled_task("wine", samples)
    again = labelled_task("other", samples)
    assert (task.test.inputs == again.test.inputs).all()
    assert np.bincount(task.test.labels).tolist() == [12, 14, 10]
    assert content_digest(task) == content_digest(again)
    run = dither.train(*load_wine(return_X_y=True), steps=1, split_seed=1, out="other")
    other = settled(samples, "wine", seed=1)
    assert run.description["source"]["digest"] == content_digest(labelled_task("wine", other))
    assert other.test is not None
    assert content_digest(labelled_task("wine", other)) != content_digest(task)


def test_given_held_out_samples_are_scaled_by_the_others() -> None:
    x, y = np.array([[0.0], [1.0], [2.0], [4.0]]), np.array([5, 7, 5, 7])
    task = labelled_task("few", Samples(x, y, Samples(np.array([[3.0], [9.0]]), np.array([7, 9]))))
    assert task.names == (5, 7, 9)
    assert task.train.inputs.ravel().tolist() == [-1, -0.5, 0, 1]
    assert task.test.inputs.ravel().tolist() == [0.5, 1]
    assert task.test.labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("x", "y", "more", "message"),
    [
        (np.zeros((4, 2)), None, {}, "y is missing"),
        (np.zeros((4, 2)), [0, 1, 0], {}, "one label a sample"),
        (np.zeros((4, 2)), [0.5, 1, 0, 1], {}, "classes are whole numbers"),
        (np.zeros((4, 2)), [1, 1, 1, 1], {}, "1 different labels"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {}, "too few samples of each label"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"held_out": 1.5}, "between 0 and 1"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"x_test": np.zeros((1, 2))}, "y_test is missing"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"x_test": np.zeros((1, 3)), "y_test": [0]}, "2 features to train"),
        (np.arange(2000.0)[:, None], np.arange(2000), {}, "2,000 different labels"),
        (np.zeros((4, 2)), [0, 1, 0, 1], {"x_test": np.zeros((1, 2)), "y_test": ["a"]}, "one kind"),
        (np.zeros((20, 2)), [0, 1] * 10, {"scaling": "log"}, "scaling must be one of"),
        (np.arange(40.0).reshape(20, 2), [0, 1] * 10, {"scaling": "none"}, "scale them"),
    ],
)
def test_odd_arrays(x: Any, y: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        dither.train(x, y, **more)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


# Files of samples


def test_a_file_of_samples(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--steps", "12", "--log-every", "4"]
    assert main(["train", wine(), *few]) == 0
    assert main(["train", "wine.npz", "--steps", "4", "--log-every", "4", "--out", "b"]) == 0
    run = RunFolder.open("runs/wine-golden-1")
    source = run.description["source"]
    assert source["path"] == str(Path("wine.npz").resolve())
    assert len(run.description["scaling"]["centre"]) == 13
    assert main(["train", "--resume", "b", "--steps", "12"]) == 0
    assert main(["compare", "runs/wine-golden-1", "b"]) == 0
    assert main(["report", "runs/wine-golden-1"]) == 0
    assert main(["disassemble", "wine.npz"]) == 0
    capsys.readouterr()
    Path("wine.npz").rename("moved.npz")
    assert main(["train", "--resume", "b", "--steps", "16"]) == 2
    assert "came from" in said(capsys)
    assert main(["train", "moved.npz", "--resume", "b", "--steps", "16"]) == 0
    assert RunFolder.open("b").description["source"]["path"].endswith("moved.npz")
    assert main(["train", "--resume", "b", "--steps", "17"]) == 0
    capsys.readouterr()
    x, y = load_wine(return_X_y=True)
    np.savez("moved.npz", x=x, y=np.roll(y, 1))
    assert main(["train", "--resume", "b", "--steps", "18"]) == 2
    assert "has changed since b began" in said(capsys)
    assert main(["train", "digits", "--resume", "b", "--steps", "18"]) == 2
    assert "has changed since b began" in said(capsys)


def test_all_forms_of_the_same_samples_are_one_task() -> None:
    x, y = load_iris(return_X_y=True)
    np.savez("iris.npz", x=x, y=y)
    np.savetxt("iris.csv", np.column_stack([x, y]), delimiter=",", fmt=["%.1f"] * 4 + ["%d"])
    Path("folder").mkdir()
    shutil.copy("iris.csv", "folder")
    forms = [load_task(name) for name in ("iris.npz", "iris.csv", "folder")]
    assert len({content_digest(task) for task in forms}) == 1
    assert [task.name for task in forms] == ["iris", "iris", "folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npz"], "there is no nowhere.npz"),
        (["nowhere"], "unknown task 'nowhere'"),
        (["digit"], "did you mean digits"),
        (["a/b"], "there is no a/b"),
        (["nowhere.py"], "cannot read nowhere.py"),
        (["run"], "run is a run's folder; --resume run goes on with it"),
        (["pipe.csv"], "pipe.csv is no file"),
        (["wine.npz", "--stencil", "central:1"], "leave the stencil out"),
        (["wine.npz", "--data", "."], "leave the data folder out"),
        (["wine.npz", "--model", "0"], "must be"),
        (["hjb", "--model", "64"], "make a network for classes"),
    ],
)
def test_odd_tasks(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    wine()
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    os.mkfifo("pipe.csv")
    assert main(["train", *arguments]) == 2
    assert message in said(capsys)
    assert not Path("runs").exists()


def test_what_names_a_file() -> None:
    assert Source.of("digits") is None
    assert Source.of("data.npz") == Source(Path("data.npz"))
    assert Source.of("a/b.py:make") == Source(Path("a/b.py"), "make")
    assert str(Source.of("a/b.py:make")) == "a/b.py:make"
    Path("here").mkdir()
    assert Source.of("here") == Source(Path("here"))


def test_a_large_first_layer_is_a_train() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (40, 3072))
    task = labelled_task("large", Samples(x, np.arange(40) % 4))
    assert task.model.layers[0].weight_shapes().keys() != {"weight"}
    assert task.model.parameter_count < 10_000


# Files of code


def test_an_equation_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("heat.py").write_text(HEAT)
    few = ["--log-every", "1", "--checkpoint-every", "1"]
    assert main(["train", "heat.py:Heat", "--steps", "2", *few]) == 0
    assert main(["train", "heat.py", "--steps", "1", "--out", "b", *few]) == 0
    assert main(["train", "--resume", "b", "--steps", "2"]) == 0
    assert main(["compare", "runs/heat-golden-1", "b"]) == 0
    run = dither.load_run("runs/heat-golden-1")
    assert run.error < 1
    with pytest.raises(RunError, match=r"ask for \.error"):
        _ = run.accuracy
    again = dither.train("heat.py", steps=2, log_every=1, checkpoint_every=1, out="c")
    assert compare(run, again).identical


def test_a_task_in_a_file() -> None:
    Path("halves.py").write_text(CLASSES)
    assert main(["train", "halves.py:make"]) == 0
    run = dither.load_run("runs/halves-golden-1")
    assert run.accuracy > 0.8
    assert compare(run, dither.train("halves.py:make", out="b")).identical


def test_objects_of_programs() -> None:
    names: dict[str, Any] = {"__name__": "here"}
    exec(HEAT + CLASSES, names)
    run = dither.train(names["Heat"](), steps=1, log_every=1)
    assert run.error < 1
    assert main(["train", "--resume", str(run.path), "--steps", "2"]) == 2
    halves = dither.train(names["make"](), steps=4, log_every=2)
    assert main(["train", "--resume", str(halves.path), "--steps", "8"]) == 0


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("x = 1 / 0", "bad.py", "bad.py failed in line 1: ZeroDivisionError"),
        ("def f(:", "bad.py", "bad.py failed in line 1: SyntaxError"),
        ("import nowhere", "bad.py", "ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1", "bad.py", "which task of bad.py? name it"),
        ("x = 1", "bad.py:x", "bad.py:x is of the type int"),
        ("x = 1", "bad.py:y", "bad.py defines no y"),
        ("def f():\n    return [][1]", "bad.py:f", "bad.py failed in line 2: IndexError"),
        ("def f(a):\n    pass", "bad.py:f", "TypeError"),
        (HEAT.replace("0.1 * u.dd(0)", "u.d(0).d(1)"), "bad.py", "Heat is no usable equation"),
        (HEAT.replace("name, title", "nom, title"), "bad.py", "Heat is no usable equation"),
        (HEAT.replace("(1.0, 1.0)", "(1.0, -1.0)"), "bad.py", "each lower one below"),
        (HEAT.replace('"heat", ', '"he\\nat", '), "bad.py", "texts of one line"),
        (HEAT + CLASSES + "task = make()\n", "bad.py", "it has Heat, task"),
    ],
)
def test_odd_code(code: str, name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.py").write_text(code)
    assert main(["train", name]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_neighbours_of_a_file_of_code_can_be_imported() -> None:
    Path("sub").mkdir()
    Path("sub/helper.py").write_text("N = 3\n")
    Path("sub/halves.py").write_text("from helper import N\n" + CLASSES.replace("(80, 3)", "(80, N)"))
    trust.allow("sub/halves.py")
    assert load_task("sub/halves.py:make").model.inputs == 3


def test_no_run_folder_runs_code_that_nobody_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if code and digest go together: both may come from whoever made the folder."""
    Path("heat.py").write_text(HEAT)
    assert main(["train", "heat.py", "--steps", "1", "--out", "run"]) == 0
    shutil.rmtree("state")
    monkeypatch.setattr(trust, "_here", set())
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--steps", "2"]) == 2
    captured = capsys.readouterr()
    assert "nobody has named here" in captured.err
    assert "run as" not in captured.out
    assert main(["train", "heat.py", "--resume", "run", "--steps", "2"]) == 0
    assert main(["train", "--resume", "run", "--steps", "3"]) == 0
    # Another comment is the same task, once somebody has looked at it; another equation is not.
    Path("heat.py").write_text(HEAT + "# the end\n")
    assert main(["train", "--resume", "run", "--steps", "4"]) == 2
    assert main(["train", "heat.py", "--resume", "run", "--steps", "4"]) == 0
    Path("heat.py").write_text(HEAT.replace("0.1 * u.dd", "0.2 * u.dd"))
    assert main(["train", "heat.py", "--resume", "run", "--steps", "5"]) == 2
    assert "has changed since run began" in capsys.readouterr().err


def test_names_of_code_are_kept_by_place_and_content(tmp_path: Path) -> None:
    Path("a.py").write_text("a")
    Path("b.py").write_text("a")
    trust.allow("a.py")
    trust.allow("a.py")
    assert len((tmp_path / "state/dither/named-code").read_text().splitlines()) == 1
    assert trust.allowed("a.py", b"a")
    assert not trust.allowed("a.py", b"b")
    assert not trust.allowed("b.py", b"a")


def test_where_nothing_can_be_written_a_name_counts_for_this_process(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    Path("a.py").write_text("a")
    trust.allow("a.py")
    assert trust.allowed("a.py", b"a")


def test_equations_of_several_dimensions() -> None:
    names: dict[str, Any] = {"__name__": "here"}
    exec(HEAT, names)
    task = equation_task(names["Heat"]())
    assert task.stencil.name == "central:0.125"
    assert equation_task(names["Heat"](), "central:0.25").stencil.name == "central:0.25"
    assert content_digest(task) != content_digest(equation_task(names["Heat"](), "central:0.25"))


def test_an_edited_source_is_another_run() -> None:
    dither.train(*load_iris(return_X_y=True), steps=1, out="run")
    path = Path("run/run.json")
    description = json.loads(path.read_text())
    before = RunFolder.open("run").identity
    description["source"]["digest"] = "0" * 16
    path.write_text(json.dumps(description))
    assert RunFolder.open("run").identity != before
    assert main(["train", "--resume", "run", "--steps", "2"]) == 2
