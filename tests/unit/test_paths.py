"""Strings do wherever a path is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dither import Dense, Model, Network, RunFolder, board, load_run, load_task
from dither.boards import board_folder, load_board
from dither.cli import main
from dither.data import data_folder
from dither.report import write_report
from dither.report.plots import learning_curves, save_figure
from dither.report.records import add_check, check_record, load_record, write_record
from dither.report.results import render_results
from dither.runs import RunError, default_folder
from dither.runs.checkpoint import Checkpoint
from dither.train.experiment import Experiment
from dither.train.tasks import TaskError
from dither_sim.board import BoardSimulation
from dither_sim.verilated import TraceWindow
from tests.conftest import QUICK

NETWORK = Network(Model((Dense(64, 10),)), Model((Dense(64, 10),)).initial_parameters(1))


pytestmark = pytest.mark.usefixtures("own_folder")


def test_networks():
    NETWORK.save("net.npz")
    assert Network.load("net.npz").model == NETWORK.model
    assert Experiment.of_task("digits", device="golden", recipe={}, network="net.npz").network == "net.npz"
    assert Experiment.of_task("digits", device="golden", recipe={}, network=Path("net.npz")).network == "net.npz"


def test_run_folders():
    assert default_folder("digits", "golden", "some") == Path("some/digits-golden-1")
    made = RunFolder.create("run", {"tensors": []})
    assert made.path == RunFolder.open("run").path == load_run("run").path == Path("run")
    with pytest.raises(RunError, match="run exists already"):
        RunFolder.create("run", {"tensors": []})
    with pytest.raises(RunError, match="nowhere is not a run folder"):
        load_run("nowhere")
    checkpoint = Checkpoint("identity", 3, {}, {})
    checkpoint.save("checkpoint.npz")
    assert Checkpoint.load("checkpoint.npz", "identity") == checkpoint


def test_boards():
    path = board_folder() / "icebreaker.toml"
    assert load_board(str(path)) == board(str(path)) == board(path) == board("icebreaker")


def test_data(tmp_path: Path):
    assert data_folder("mnist", "files") == (Path("files"), True)
    with pytest.raises(TaskError, match="files holds neither"):
        load_task("mnist", data="files")


def test_reports_and_records():
    assert main(["train", "digits", *QUICK, "--out", "run"]) == 0
    run = load_run("run")
    assert run.network().model == load_task("digits").model
    assert write_report(run, "page.html") == Path("page.html")
    save_figure(learning_curves([("run", run.curve())]), "curve.svg")
    written = write_record(run, "records/mine", "a run", "hybrid")
    check = check_record("records/mine", steps=1)
    assert check.identical
    add_check("records/mine", check)
    assert load_record("records/mine") == written | {"rtl": [{"engine": "1x8", "steps": 1, "identical": True}]}
    assert "a run" in render_results("records")


def test_waveforms():
    assert TraceWindow(path="engine.vcd").path == "engine.vcd"
    with pytest.raises(ValueError, match=r"waveforms are written as .*, not 'engine.txt'"):
        TraceWindow(path="engine.txt")
    with pytest.raises(ValueError, match=r"waveforms are written as .*, not 'board.txt'"):
        BoardSimulation(board("icebreaker").engine, clock_hz=24_000_000, baud=3_000_000, waves="board.txt")
