"""Watching a run: the page follows it, ends with it, and is in nobody's way."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dither.cli import main
from dither.report.watch import REFRESH, watch
from dither.runs import RunError, RunFolder
from tests.unit.test_report import add, make

MARK = f'<meta http-equiv="refresh" content="{REFRESH}">'


class Life:
    """A run that does one thing each time the watcher waits."""

    def __init__(self, run: RunFolder, *deeds: str) -> None:
        self.run, self.deeds = run, list(deeds)
        self.pages: list[bool | None] = []

    def __call__(self, seconds: float) -> None:
        page = self.run.path / "report.html"
        self.pages.append(MARK in page.read_text() if page.exists() else None)
        match self.deeds.pop(0):
            case "log":
                add(self.run, len(self.run.curve()))
            case "end":
                self.run.close()
            case "interrupt":
                raise KeyboardInterrupt


def test_the_page_follows_the_run_and_ends_with_it(tmp_path: Path) -> None:
    run = make(tmp_path / "run", rows=0)
    life = Life(run, "nothing", "log", "nothing", "log", "end")
    seen: list[int] = []
    path = watch(run.path, seen=lambda run: seen.append(len(run.curve())), wait=life)
    assert life.pages == [None, None, True, True, True]
    assert seen == [1, 2, 2]
    assert path == run.path / "report.html"
    assert MARK not in path.read_text()
    assert "Under way" not in path.read_text()
    assert life.deeds == []


def test_an_interrupted_watch_leaves_a_page_that_stands_still(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    path = watch(run.path, tmp_path / "page.html", wait=Life(run, "log", "interrupt"))
    assert MARK not in path.read_text()
    assert run.busy


def test_a_killed_run_is_not_waited_for(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.close()
    (run.path / "lock").write_text('{"process": 1, "host": "here", "since": "then"}')
    assert not run.busy
    assert MARK not in watch(run.path, wait=Life(run)).read_text()


def test_asking_takes_no_lock_that_a_writer_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path / "run")
    other = RunFolder.open(run.path)
    assert other.busy
    run.close()
    taken: list[int] = []
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, kind: taken.append(kind))
    assert not other.busy
    watch(run.path, wait=Life(run))
    assert taken == []


def test_what_stays_wrong_ends_the_watch(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    life = Life(run, "nothing", "nothing", "nothing")
    os.truncate(run.path / "history", 7)
    with pytest.raises(RunError, match="truncated"):
        watch(run.path, wait=life)
    assert life.deeds == ["nothing", "nothing"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "run", rows=2)
    deeds = Life(run, "nothing", "end")
    monkeypatch.setattr(time, "sleep", deeds)
    assert main(["report", str(run.path), "--watch"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("watching ")
    assert said[1] == "step 10: loss 1, accuracy 10.00%"
    assert said[-1] == f"report: {run.path / 'report.html'}"
    assert main(["report", str(tmp_path), "--watch"]) == 2


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What event files say, by tag and step."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in folder.iterdir():
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            data = data[16 + size :]
    return found


def test_event_files_follow_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboardX")
    run = make(tmp_path / "run", rows=2)
    monkeypatch.setattr(time, "sleep", Life(run, "log", "end"))
    command = ["report", str(run.path), "--tensorboard", str(tmp_path / "events")]
    assert main([*command, "--watch"]) == 0
    expected = {
        (name, row.step): np.float32(value)
        for row in run.curve()
        for name, value in (("loss/held-out", row.loss), ("loss/training", row.train_loss), ("accuracy", row.metric))
    }
    assert len(expected) == 9
    assert scalars(tmp_path / "events" / "run") == expected
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "again")]) == 0
    assert scalars(tmp_path / "again" / "run") == expected
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main([*command[:-1], str(tmp_path / "never")]) == 2
    assert "pip install tensorboardX" in capsys.readouterr().err
