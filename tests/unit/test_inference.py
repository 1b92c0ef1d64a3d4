"""Trained networks at work: the same bits as in training, on any device, and in other formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

import dither
from dither import RNN, Conv2d, Dense, Labelled, Model, Network, Recipe, RunFolder, TensorTrain, compile, engine
from dither.arch.device import DeviceError
from dither.arch.fixedpoint import FixedPoint
from dither.cli import main
from dither.compiler import CompileError, compile_inference, formats_from_dict, formats_to_dict
from dither.data import Scaling
from dither.golden import GoldenMachine
from dither.inference import Bundle, BundleError, Predictor, probabilities
from dither.inference.onnx import to_onnx
from dither.train.experiment import Experiment
from dither.train.prepared import prepare
from dither.train.session import Session, unpack_state
from tests.doubles.board import BoardModel, PseudoTerminal
from tests.unit.test_own_tasks import HEAT

MODELS = {
    "dense": Model((Dense(6, 8, "relu"), Dense(8, 3))),
    "without bias": Model((Dense(6, 8, "relu", bias=False), Dense(8, 3))),
    "tables": Model((Dense(6, 8, "sine"), Dense(8, 4, "tanh"), Dense(4, 3))),
    "train": Model((TensorTrain((2, 3), (4, 2), 2, "relu"), TensorTrain((2, 4), (1, 3), 2, "none"))),
    "convolution": Model((Conv2d((2, 6, 6), 3, 3, stride=2, padding=1), Dense(27, 3))),
    "recurrence": Model((RNN(3, 8, 4), Dense(8, 3))),
    "all states": Model((RNN(3, 8, 4, output="all"), Dense(32, 3))),
    "stacked": Model((RNN(3, 8, 4, output="all"), RNN(8, 4, 4, output="all"), RNN(4, 5, 4), Dense(5, 3))),
    "values": Model((Dense(6, 8, "tanh"), Dense(8, 2)), "squared_error"),
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> dither.Run:
    """A short run with texts as labels."""
    bunch = load_iris()
    names = bunch.target_names[bunch.target]
    folder = tmp_path_factory.mktemp("iris") / "run"
    return dither.train(bunch.data, names, steps=60, log_every=30, out=folder, name="iris")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The complaint, which must be one line."""
    error = capsys.readouterr().err
    assert error.startswith("dither: ")
    assert error.count("\n") == 1
    return error


# Bits


@pytest.mark.parametrize("kind", MODELS)
def test_forward_programs_give_the_bits_of_training_programs(kind: str) -> None:
    model, rng = MODELS[kind], np.random.default_rng(1)
    inputs = rng.uniform(-1, 1, (21, model.inputs))
    values = model.loss == "squared_error"
    targets = rng.uniform(-1, 1, (21, model.outputs)) if values else rng.integers(0, model.outputs, 21)
    parameters = model.initial_parameters(1)
    recipe = Recipe(batch=16, tile=16, rate=0.01)
    compiled = compile(model, Labelled(inputs, targets), recipe, engine("2x16"), parameters)
    session = Session(GoldenMachine(compiled.engine), compiled)
    session.load(compiled.commands.initial_state(parameters))
    wanted = session.evaluate(inputs).integers
    state = session.state()
    formats = formats_from_dict(json.loads(json.dumps(formats_to_dict(compiled.formats))))
    for geometry in ("1x8", "2x16", "4x32"):
        held = compile_inference(model, formats, engine(geometry), state.master)
        assert len(held.program) < len(compiled.program)
        with Predictor(Bundle(held, kind)) as predictor:
            assert (predictor.integers(inputs) == wanted).all()


def test_a_run_s_predictions_are_those_of_its_engine(iris: dither.Run) -> None:
    experiment = Experiment.of_run(iris)
    prepared = prepare(experiment)
    prepared.session.load(unpack_state(iris.load_checkpoint().arrays))
    x = load_iris().data
    found = prepared.session.evaluate(iris.scaling(x))
    assert (iris.outputs(x) == found.outputs).all()
    assert (iris.predict(x) == np.array(["setosa", "versicolor", "virginica"])[found.integers.argmax(axis=1)]).all()
    assert np.allclose(iris.probabilities(x).sum(axis=1), 1)
    assert (probabilities(np.array([[1e4, 0.0]])) == [[1, 0]]).all()
    task = experiment.load()
    held_out = np.array(iris.classes)[task.test.labels]  # type: ignore[attr-defined]
    with Predictor(replace(iris.bundle(), scaling=Scaling())) as predictor:
        right = predictor.classes(predictor.outputs(task.test.inputs)) == held_out  # type: ignore[attr-defined]
    assert np.mean(right) == iris.accuracy


def test_fixed_point_is_near_to_floating_point(iris: dither.Run) -> None:
    x = load_iris().data
    floating = iris.network()(iris.scaling(x))
    assert np.abs(iris.outputs(x) - floating).max() < 2**-9


def test_runs_of_older_versions_predict_too(iris: dither.Run) -> None:
    x = load_iris().data
    wanted = iris.outputs(x)
    description = dict(iris.description)
    del description["forward"]
    assert (dither.Run(iris.path, description).outputs(x) == wanted).all()


def test_the_project_s_own_tasks_predict_from_samples_as_they_are() -> None:
    from sklearn.datasets import load_digits

    assert main(["train", "digits", "--steps", "8", "--out", "run"]) == 0
    run = dither.load_run("run")
    x, y = load_digits(return_X_y=True)
    assert run.scaling(x).max() == 1
    assert set(run.predict(x)) <= set(range(10))
    np.savez("digits.npz", x=x, y=y)
    assert main(["predict", "run", "digits.npz", "--out", "found.npz"]) == 0
    assert (np.load("found.npz")["class"] == run.predict(x)).all()


def test_solutions_of_equations() -> None:
    Path("heat.py").write_text(HEAT)
    run = dither.train("heat.py", steps=3, log_every=1)
    points = np.array([[0.5, 0.0], [0.25, 0.5], [0.0, 0.7]])
    found = run.predict(points)
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[2] == pytest.approx(0, abs=1e-12)
    assert run.classes is None
    with pytest.raises(RuntimeError, match="has no classes"):
        run.probabilities(points)
    np.savetxt("points.csv", points, delimiter=",")
    assert main(["predict", str(run.path), "points.csv", "--out", "u.csv"]) == 0
    rows = list(csv.DictReader(Path("u.csv").read_text().splitlines()))
    assert [float(row["solution"]) for row in rows] == found.tolist()
    assert main(["predict", str(run.path)]) == 0


def test_narrow_engines_are_refused(iris: dither.Run) -> None:
    with pytest.raises(CompileError, match=r"18 bits, the engine's 16; take an engine of 18 bits"):
        iris.bundle(engine("1x8-compact"))
    formats = formats_to_dict(compile_formats())
    model, small = MODELS["dense"], replace(engine("1x8"), parameter_depth=16)
    masters = {name: np.zeros(shape, np.int64) for name, shape in model.parameter_shapes().items()}
    with pytest.raises(CompileError, match="parameter memory"):
        compile_inference(model, formats_from_dict(formats), small, masters)


def compile_formats() -> Any:
    model = MODELS["dense"]
    inputs, labels = np.zeros((8, 6)), np.zeros(8, int)
    recipe = Recipe(batch=8, tile=8)
    return compile(model, Labelled(inputs, labels), recipe, engine("1x8"), model.initial_parameters(1)).formats


@pytest.mark.parametrize(
    "values", [{}, {"width": 18, "tensors": [], "layers": []}, {"width": "x", "tensors": {"a": 1}, "layers": []}]
)
def test_odd_formats(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"number formats|width"):
        formats_from_dict(values)


def test_formats_of_another_network() -> None:
    formats = compile_formats()
    model = MODELS["train"]
    with pytest.raises(ValueError, match="of another network"):
        compile_inference(model, formats, engine("1x8"), {})
    with pytest.raises(ValueError, match=r"values of 0\.weight are missing"):
        compile_inference(MODELS["dense"], formats, engine("1x8"), {})


@pytest.mark.parametrize(
    "change",
    [
        lambda forward: forward.clear(),
        lambda forward: forward["layers"].pop(),
        lambda forward: forward.update(layers=3),
        lambda forward: forward["tensors"].update({"0.weight": "a"}),
        lambda forward: forward["layers"][0].update(shifts=[1 << 40]),
        lambda forward: forward["layers"][0].update(shifts=["a"]),
        lambda forward: forward["layers"][0].update(constant=1 << 20),
    ],
)
def test_odd_formats_in_run_json(change: Callable[[Any], object], iris: dither.Run) -> None:
    description = json.loads(json.dumps(iris.description))
    change(description["forward"])
    with pytest.raises((RuntimeError, ValueError)) as caught:
        dither.Run(iris.path, description).outputs(load_iris().data)
    assert "\n" not in str(caught.value)


# Bundles


def test_bundles_need_nothing_but_their_file(iris: dither.Run, capsys: pytest.CaptureFixture[str]) -> None:
    bunch = load_iris()
    path = iris.export("net.bundle", engine("1x8"))
    bundle = Bundle.load(path)
    assert bundle.classes == ("setosa", "versicolor", "virginica")
    with Predictor(bundle) as predictor:
        assert (predictor.outputs(bunch.data) == iris.outputs(bunch.data)).all()
    np.savetxt("x.csv", bunch.data, delimiter=",")
    assert main(["predict", "net.bundle", "x.csv", "--out", "y.csv", "--probabilities"]) == 0
    rows = list(csv.DictReader(Path("y.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == iris.predict(bunch.data).tolist()
    likely = [[float(row[f"p_{name}"]) for name in bundle.classes] for row in rows]
    assert (np.array(likely) == iris.probabilities(bunch.data)).all()
    assert "bit for bit" in capsys.readouterr().out
    assert main(["predict", "net.bundle"]) == 2
    assert "which samples?" in said(capsys)


def test_a_board_runs_bundles_for_its_engine(iris: dither.Run, capsys: pytest.CaptureFixture[str]) -> None:
    config = engine("1x8")
    iris.export("net.bundle", config)
    iris.export("other.bundle", engine("2x16"))
    x = load_iris().data[:20]
    np.savetxt("x.csv", x, delimiter=",")
    board = BoardModel(config)
    try:
        with PseudoTerminal(board) as line:
            words = ["x.csv", "--device", line.path]
            assert main(["predict", "net.bundle", *words, "--out", "y.npz"]) == 0
            capsys.readouterr()
            assert main(["predict", "other.bundle", *words]) == 2
            assert "asked for a 2×16 engine" in said(capsys)
    finally:
        board.close()
    assert (np.load("y.npz")["class"] == iris.predict(x)).all()


def spoiled(path: Path, **arrays: Any) -> Path:
    with np.load(path) as held:
        content = dict(held)
    np.savez(
        "spoiled.bundle.npz", **{name: array for name, array in {**content, **arrays}.items() if array is not None}
    )
    return Path("spoiled.bundle.npz").rename("spoiled.bundle")


def meta(path: Path, **changes: Any) -> np.ndarray:
    with np.load(path) as held:
        values = json.loads(held["bundle"].tobytes())
    return np.frombuffer(json.dumps(values | changes).encode(), np.uint8)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: spoiled(path, program=None), "KeyError"),
        (lambda path: spoiled(path, bundle=np.frombuffer(b"[]", np.uint8)), "object"),
        (lambda path: spoiled(path, bundle=np.frombuffer(b"[" * 9999, np.uint8)), "RecursionError|usable"),
        (lambda path: spoiled(path, bundle=meta(path, format=2)), "format"),
        (lambda path: spoiled(path, bundle=meta(path, classes=["a"])), "1 classes and 3 outputs"),
        (lambda path: spoiled(path, bundle=meta(path, engine={"lanes": 17})), "lanes"),
        (lambda path: spoiled(path, bundle=meta(path, source={"width": 99, "frac": 1})), "width"),
        (lambda path: spoiled(path, bundle=meta(path, scaling={"centre": [0, 0], "reach": [1, 1]})), "scaling for 2"),
        (lambda path: spoiled(path, masters=np.zeros((4, 3), np.int32)), "masters has the type"),
        (lambda path: spoiled(path, program=np.zeros(4)), "program has the type float64"),
        (lambda path: path.write_bytes(b"no archive") and path, "no .npz file"),
        (lambda path: Path("nowhere.bundle"), "there is no bundle"),
    ],
)
def test_odd_bundles(spoil: Callable[[Path], Path], message: str, iris: dither.Run, capsys: Any) -> None:
    path = spoil(iris.export("net.bundle"))
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)
    Path("x.csv").write_text("1,2,3,4\n")
    assert main(["predict", str(path), "x.csv"]) == 2
    said(capsys)


@pytest.mark.parametrize("words", [np.zeros(1, np.uint32), np.full(8, 0xFFFFFFFF, np.uint32)])
def test_odd_programs_are_refused_by_the_machine(words: np.ndarray, iris: dither.Run) -> None:
    path = spoiled(iris.export("net.bundle"), program=words)
    with pytest.raises(DeviceError):
        Predictor(Bundle.load(path))


# Other formats


@pytest.mark.parametrize("kind", MODELS)
def test_onnx(kind: str) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model, rng = MODELS[kind], np.random.default_rng(2)
    network = Network(model, model.initial_parameters(3))
    samples = rng.uniform(-3, 3, (200, model.inputs)).astype(np.float32)
    scaling = Scaling((0.25,), (2.0,))
    names = None if model.loss == "squared_error" else [f"class {number}" for number in range(model.outputs)]
    made = onnx.load_from_string(to_onnx(network, scaling, names).SerializeToString())
    onnx.checker.check_model(made, full_check=True)
    names_found = [output.name for output in made.graph.output]
    found = dict(zip(names_found, ReferenceEvaluator(made).run(None, {"samples": samples}), strict=True))
    wanted = network(np.clip((samples.astype(np.float64) - 0.25) / 2, -1, 1))
    assert np.abs(found["outputs"] - wanted).max() < 1e-5
    if names is not None:
        assert (found["labels"] == np.array(names)[wanted.argmax(axis=1)]).all()
        assert np.abs(found["probabilities"] - probabilities(wanted)).max() < 1e-5


def test_onnx_keeps_trains_small() -> None:
    pytest.importorskip("onnx")
    model = dither.nn.models.named_model("mnist")
    network = Network(model, model.initial_parameters(1))
    assert len(to_onnx(network).SerializeToString()) < 3 * 4 * model.parameter_count


def test_exported_files(iris: dither.Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    assert main(["export", str(iris.path), "net.npz", "net.onnx", "net.bundle", "--engine", "1x8"]) == 0
    shown = capsys.readouterr().out
    assert "each of 4 features by its own range" in shown or "by (x -" in shown
    x = iris.scaling(load_iris().data)
    assert (Network.load("net.npz")(x) == iris.network()(x)).all()
    assert Bundle.load("net.bundle").inference.engine == engine("1x8")


def test_pytorch(iris: dither.Run) -> None:
    torch = pytest.importorskip("torch")
    assert main(["export", str(iris.path), "net.pt"]) == 0
    module = dither.to_torch(iris.network())
    module.load_state_dict(torch.load("net.pt", weights_only=True))
    x = iris.scaling(load_iris().data)
    assert np.abs(module(torch.from_numpy(x)).detach().numpy() - iris.network()(x)).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "RUN", "net.foo"], "must end in one of .npz, .pt, .onnx, .bundle"),
        (["export", "RUN", "nowhere/net.npz"], "cannot write nowhere/net.npz"),
        (["export", "RUN", "net.bundle", "--engine", "1x8-compact"], "take an engine of 18 bits"),
        (["export", "RUN", "net.bundle", "--engine", "1x8", "--board", "icebreaker"], "not both"),
        (["export", "nowhere", "net.npz"], "not a run folder"),
        (["predict", "RUN", "nowhere.csv"], "there is no nowhere.csv"),
        (["predict", "RUN", "wide.csv"], "has 7 columns, but the network takes 4 features"),
        (["predict", "RUN", "numbers.csv"], "texts on one side"),
        (["predict", "RUN", "x.csv", "--out", "y.txt"], "must end in .csv or .npz"),
        (["predict", "RUN", "x.csv", "--out", "nowhere/y.csv"], "cannot write nowhere/y.csv"),
        (["predict", "RUN", "x.csv", "--device", "/dev/ttyS99"], "a board runs a program for its own engine"),
        (["predict", "nowhere", "x.csv"], "not a run folder"),
    ],
)
def test_odd_requests(arguments: list[str], message: str, iris: dither.Run, capsys: Any) -> None:
    Path("x.csv").write_text("1,2,3,4\n")
    Path("wide.csv").write_text("1,2,3,4,5,6,7\n")
    Path("numbers.csv").write_text("1,2,3,4,0\n2,3,4,5,1\n")
    assert main([str(iris.path) if word == "RUN" else word for word in arguments]) == 2
    assert message in said(capsys)


def test_samples_out_of_range_are_counted(iris: dither.Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.csv").write_text("1,2,3,400,setosa\n5,3,1,0.2,setosa\n5,3,1,0.2,unknown\n")
    assert main(["predict", str(iris.path), "x.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["clipped"]) == (3, 1)
    assert found["accuracy"] <= 2 / 3


def test_run_json_s_scaling_may_be_missing(iris: dither.Run) -> None:
    description = {name: value for name, value in iris.description.items() if name not in ("scaling", "classes")}
    old = dither.Run(iris.path, description)
    assert old.scaling.trivial
    assert old.classes == (0, 1, 2)
    assert isinstance(old, RunFolder)


def test_a_format_holds_what_it_says() -> None:
    assert formats_from_dict(formats_to_dict(compile_formats())).input == FixedPoint(18, 17)
