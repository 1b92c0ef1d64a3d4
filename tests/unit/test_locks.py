"""Locks of run folders: two processes, one folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dither.cli import main
from dither.runs import RunError, RunFolder
from tests.unit.test_runs import DESCRIPTION, fill

DITHER = [sys.executable, "-c", "from dither.cli import main; raise SystemExit(main())"]
RUN = ["train", "digits", "--engine", "1x8", "--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "4"]
RUN += ["--checkpoint-every", "4", "--schedule", "constant"]


def dither(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DITHER, *words], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A process that trains into the folder ``run``; it stands still after a few steps, so that it
    does not run away.
    """
    monkeypatch.chdir(tmp_path)
    words = [*RUN, "--steps", "1000000", "--out", "run"]
    with subprocess.Popen([*DITHER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(Path("run").glob("checkpoints/step-*8.npz")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


def test_who_resumes_a_run_at_work_is_refused(training: subprocess.Popen[str]) -> None:
    refused = dither("train", "--resume", "run")
    assert refused.returncode == 2
    assert re.fullmatch(
        rf"dither: run is in use: process {training.pid} on \S+ has been writing it since [-\d]+ [:\d]+ \S+; "
        "end that first, or wait for it\n",
        refused.stderr,
    )
    # The first one is unharmed, and what it leaves is what an undisturbed run leaves.
    training.send_signal(signal.SIGINT)
    training.send_signal(signal.SIGCONT)
    assert training.wait(60) == 130
    step = RunFolder.open(Path("run")).load_checkpoint().step
    assert main([*RUN, "--steps", str(step), "--out", "alone"]) == 0
    assert main(["train", "--resume", "run", "--steps", str(step)]) == 0
    assert main(["compare", "run", "alone", "--no-plot"]) == 0


def test_reports_are_made_of_a_run_at_work_but_no_records(training: subprocess.Popen[str]) -> None:
    assert main(["report", "run"]) == 0
    assert main(["record", "run", "record", "--title", "t", "--group", "mnist"]) == 2
    assert not Path("record").exists()
    assert training.poll() is None


def test_death_gives_the_lock_back(training: subprocess.Popen[str]) -> None:
    training.kill()
    training.wait(60)
    assert Path("run/lock").read_text()  # Whoever died could not say goodbye.
    step = RunFolder.open(Path("run")).load_checkpoint().step
    assert main(["train", "--resume", "run", "--steps", str(step + 1)]) == 0


def test_one_writer(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", DESCRIPTION)
    fill(run, 20)
    for other in (RunFolder.open(run.path), None):
        with pytest.raises(RunError, match=rf"is in use: process {os.getpid()} on "):
            RunFolder.open(run.path, writing=True) if other is None else other.truncate(1)
    with pytest.raises(RunError, match="is in use"), RunFolder.open(run.path).reading():
        pass
    assert len(RunFolder.open(run.path).logged()[0]) == 3
    run.close()
    with (
        RunFolder.open(run.path).reading(),
        RunFolder.open(run.path).reading(),
        pytest.raises(RunError, match="is in use: another process uses it"),
    ):
        RunFolder.open(run.path, writing=True)
    RunFolder.open(run.path, writing=True).truncate(1)
    with RunFolder.open(run.path).reading():  # Gone with the object that held it.
        pass


def test_a_folder_that_somebody_is_making_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found it empty."""
    monkeypatch.setattr(RunFolder, "refuse_used", staticmethod(lambda path: None))
    first = RunFolder.create(tmp_path / "run", DESCRIPTION)
    with pytest.raises(RunError, match="is in use"):
        RunFolder.create(tmp_path / "run", DESCRIPTION)
    assert first.curve() == []


def test_the_lock_follows_no_link(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", DESCRIPTION)
    run.close()
    (tmp_path / "precious").write_text("kept")
    (run.path / "lock").unlink()
    (run.path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="cannot write to"):
        RunFolder.open(run.path, writing=True)
    with RunFolder.open(run.path).reading():
        assert (tmp_path / "precious").read_text() == "kept"


def test_strange_words_in_a_lock_are_not_repeated(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", DESCRIPTION)
    for text in ("{", '{"process": "1"}', "[1]"):
        (run.path / "lock").write_text(text)
        with pytest.raises(RunError, match="another process uses it"):
            RunFolder.open(run.path, writing=True)
