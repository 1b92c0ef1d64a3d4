"""The command line: exit codes, one line for every mistake, and runs that nothing disturbs."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dither import devices
from dither.arch.device import DeviceError
from dither.cli import main
from dither.cli.progress import Display
from dither.runs import CurveRow, RunFolder, parameter_digest
from dither.train import tasks
from dither.train.loop import Progress
from dither.train.tasks import Split, Task
from tests.conftest import QUICK

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, for tests that do harm."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.startswith("dither: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_train_writes_a_run_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "run.json",
        "curve.csv",
        "history",
        "checkpoints",
        "lock",
        "report.html",
        "run.toml",
    }
    opened = RunFolder.open(finished)
    assert [row.step for row in opened.curve()] == [0, 2, 4]
    assert opened.description["engine"]["rows"] == 1
    assert "http" not in (finished / "report.html").read_text()


def test_command_in_the_run_makes_the_same_run(finished: Path) -> None:
    command = RunFolder.open(finished).description["command"].split()
    assert command[0] == "dither"
    assert main([*command[1:], "--out", "again"]) == 0
    assert main(["compare", str(finished), "again", "--no-plot"]) == 0


def test_default_folders_count_up() -> None:
    for _ in range(2):
        assert main(["train", "digits", *QUICK]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-golden-1", "digits-golden-2"]


def test_output_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "step 4/4" in lines[1]
    assert lines[2].startswith("done: accuracy")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "which task?"),
        (["train", "digit"], "unknown task 'digit'; did you mean digits?"),
        (["train", "digits", "--device", "rtk"], "unknown device 'rtk'; did you mean rtl?"),
        (["train", "digits", "--engine", "2x61"], "61 lanes"),
        (["train", "digits", "--engine", "3x16"], "rows must be one of"),
        (["train", "digits", "--engine", "fast"], "unknown engine 'fast'; known: 1x8"),
        (["train", "digits", "--batch", "100"], "must divide batch (100)"),
        (["train", "digits", "--mu", "nan"], "mu must be a positive number"),
        (["train", "digits", "--mu", "1e-9"], "use more"),
        (["train", "digits", "--rate", "1e9"], "too large"),
        (["train", "digits", "--probes", "many"], "must be a number"),
        (["train", "digits", "--probes", "1,2,3"], "3 entries"),
        (["train", "digits", "--steps", "0"], "--steps"),
        (["train", "digits", "--stpes", "4"], "--steps"),
        (["train", "digits", "--waves", "file"], "FILE:FIRST-LAST"),
        (["train", "digits", "--waves", "file.fst:5-2"], "FILE:FIRST-LAST"),
        (["train", "digits", "--waves", "file.fst:4-4"], "no waveforms"),
        (["train", "--resume", "nowhere"], "no run.json"),
        (["train", "--probes", "2", "--resume", "nowhere"], "leave out"),
        (["tarin"], "did you mean train?"),
        (["compare", "a", "b"], "a is not a run folder"),
        (["report", "nowhere"], "not a run folder"),
        (["disassemble", "digits", "--engine", "0x0"], "rows must be"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in complaint(capsys)
    assert not list(Path().iterdir())


def test_existing_folder_is_refused_untouched(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(run)
    assert main(["train", "digits", *QUICK, "--out", str(run)]) == 2
    assert "exists already" in complaint(capsys)
    assert content(run) == before


def test_unwritable_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("in the way")
    assert main(["train", "digits", *QUICK, "--out", "file/run"]) == 2
    assert "choose another --out" in complaint(capsys)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "truncated or not a dither checkpoint"),
        (lambda path: path.write_bytes(b"something else"), "truncated or not a dither checkpoint"),
        (lambda path: np.savez(path, other=np.zeros(3)), "truncated or not a dither checkpoint"),
        (lambda path: path.rename(path.with_name("step-000000009.npz")), "holds step 4"),
    ],
)
def test_unusable_checkpoint(run: Path, damage: Any, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage(sorted((run / "checkpoints").iterdir())[-1])
    before = content(run)
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    assert message in complaint(capsys)
    assert content(run) == before


def test_checkpoint_of_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", *QUICK, "--seed", "2", "--out", "other"]) == 0
    name = "checkpoints/step-000000004.npz"
    shutil.copy(Path("other") / name, run / name)
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    assert "belongs to another run" in complaint(capsys)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_data(value: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = tasks.load_task("digits")

    def broken() -> Task:
        inputs = good.train.inputs.copy()
        inputs[7, 3] = value
        return Task(
            name="digits",
            title="",
            classes=10,
            train=Split(inputs, good.train.labels),
            test=good.test,
            model=good.model,
            recipe=good.recipe,
            steps=1,
        )

    monkeypatch.setitem(tasks.TASKS, "digits", broken)
    assert main(["train", "digits", *QUICK]) == 2
    assert "NaN or infinite values, the first in sample 7" in complaint(capsys)


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(*_: Any) -> Any:
        raise DeviceError("no C++ compiler found: install one, e.g. apt-get install g++")

    monkeypatch.setitem(devices.DEVICES, "rtl", missing)
    assert main(["train", "digits", *QUICK, "--device", "rtl"]) == 2
    assert "apt-get install g++" in complaint(capsys)
    assert not Path("runs").exists()


def test_resume_with_more_steps(run: Path) -> None:
    assert main(["train", "--resume", str(run), "--steps", "7"]) == 0
    assert "--steps 7" in RunFolder.open(run).description["command"]
    longer = [word for word in QUICK if word != "4"]
    assert main(["train", "digits", *longer, "7", "--out", "whole"]) == 0
    assert main(["compare", str(run), "whole", "--no-plot"]) == 0


def test_resume_with_fewer_steps(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(run)
    assert main(["train", "--resume", str(run), "--steps", "3"]) == 2
    assert "is at step 4 already" in complaint(capsys)
    assert content(run) == before


def test_interrupted_run_says_how_to_resume_and_resumes_exactly() -> None:
    arguments = [sys.executable, "-c", "from dither.cli import main; raise SystemExit(main())", "train", "digits"]
    endless = [word for word in QUICK if word != "4"] + ["1000000", "--schedule", "constant", "--out", "run"]
    process = subprocess.Popen(
        arguments + endless,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    curve = Path("run/curve.csv")
    deadline = time.monotonic() + 60
    while not (curve.exists() and curve.read_text().count("\n") > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: dither train --resume run" in error
    assert "Traceback" not in error
    assert Path("run/report.html").exists()

    opened = RunFolder.open(Path("run"))
    steps = str(opened.load_checkpoint().step + 3)
    assert main(["train", "--resume", "run", "--steps", steps]) == 0
    whole = [word for word in endless if word not in ("1000000", "run")]
    whole.insert(whole.index("--steps") + 1, steps)
    assert main(["train", "digits", *whole, "whole"]) == 0
    assert main(["compare", "run", "whole", "--no-plot"]) == 0


def test_compare_identical_different_and_unusable(
    run: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(run), str(finished)]) == 0
    assert "identical: 3 logged steps" in capsys.readouterr().out
    assert Path("compare.png").read_bytes().startswith(b"\x89PNG")

    # A bit of one parameter of the last step changes, and the digest with it: as if another machine
    # had got it wrong.
    opened = RunFolder.open(run)
    rows, history = opened.curve(), opened.history(opened.curve()).copy()
    history[2, 5] ^= 1
    opened.truncate(2)
    opened.append(replace(rows[2], digest=parameter_digest(history[2])), history[2])
    assert main(["compare", str(finished), str(run), "--plot", "curves.svg"]) == 1
    said = capsys.readouterr().out
    tensor = opened.tensors[0]
    index = ", ".join(str(i) for i in np.unravel_index(5, tensor.shape))
    assert f"step 4, tensor {tensor.name}[{index}]: {history[2, 5] ^ 1} against {history[2, 5]}" in said
    assert "<svg" in Path("curves.svg").read_text()

    (run / "history").write_bytes(b"")
    assert main(["compare", str(finished), str(run), "--no-plot"]) == 2
    assert "truncated" in complaint(capsys)


def test_compare_plot_that_cannot_be_drawn(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for plot in ("nowhere/plot.png", "plot.sound"):
        assert main(["compare", str(finished), str(finished), "--plot", plot]) == 2
        assert "choose another --plot" in complaint(capsys)


def test_report_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").read_text().replace("copy", "run") == before
    assert main(["report", str(run), "--out", "nowhere/page.html"]) == 2


def test_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", "--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    assert main(["docs"]) == 0
    assert main(["docs", "--check"]) == 0
    with Path("docs/isa.md").open("a") as page:
        page.write("edited")
    assert main(["docs", "--check"]) == 1


def test_info_and_disassemble(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for word in ("1x8", "2x16", "4x32", "digits", "Verilator", "numpy"):
        assert word in said
    assert main(["disassemble", "digits", "--engine", "1x8"]) == 0
    said = capsys.readouterr().out
    assert "train:" in said
    assert "CONTRACT" in said


def test_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with Display(console) as display:
        for step in (10, 20):
            row = CurveRow(step, step * 64, step * 640, 1.0, 0.5, 0.75, "")
            display.show(Progress(step, 40, step * 64, 0.6, row, 1.0))
            time.sleep(0.15)
    assert "step 20/40" in screen.getvalue()
    assert "accuracy 75.00%" in screen.getvalue()


@pytest.mark.parametrize("command", [[], ["train"], ["compare"], ["report"], ["info"], ["docs"], ["disassemble"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Usage: dither" in capsys.readouterr().out


def test_nothing_asked_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "\nBoards:\n" in capsys.readouterr().out
