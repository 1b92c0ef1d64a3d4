"""Power failures: a run's file operations are recorded, the power is cut behind every one of them,
and whatever the disk may then hold must be enough to go on with.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dither.cli import main
from dither.runs import RunError, RunFolder
from dither.runs.checkpoint import CheckpointError
from dither.runs.lock import LOCK
from dither.tools import files
from tests.doubles.disk import Disk, Operation, Recorder

STEPS = 24
INTERVAL = 4
LOG_EVERY = 3
"""Not a divisor of the interval: checkpoints lie between logged steps."""
TINY = ["--engine", "1x8", "--batch", "32", "--tile", "16", "--probes", "1", "--log-every", str(LOG_EVERY)]


@dataclass(frozen=True)
class Recording:
    """What a run did to its folder."""

    operations: list[Operation]
    saved: list[tuple[int, int]]
    """For each checkpoint, how many operations had been done when it counted as saved; its step."""
    folder: Path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A run of 14 steps, which is no logged step and no multiple of the interval, that is then
    taken further."""
    root = tmp_path_factory.mktemp("recorded")
    recorder, saved, path = Recorder(root), [], root / "run"
    save = RunFolder.save_checkpoint

    def note(run: RunFolder, step: int, *values: Any) -> Path:
        done = save(run, step, *values)
        saved.append((len(recorder.operations), step))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", recorder)
        patch.setattr(RunFolder, "save_checkpoint", note)
        begin = ["train", "digits", *TINY, "--checkpoint-every", str(INTERVAL), "--steps", "14", "--out", str(path)]
        assert main(begin) == 0
        assert main(["train", "--resume", str(path), "--steps", str(STEPS)]) == 0
    return Recording(recorder.operations, saved, path)


class Quick:
    """The module ``os`` for disks that hold for a moment only: nothing is synced."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Failure:
    """The power failed, and somebody wants to go on."""

    state: Path
    """The run's folder, as it was left and then taken up."""
    complaint: str | None
    """What was lost that must not be; None if nothing was."""
    resumed: bool


def failures(
    recording: Recording,
    place: Path,
    mixtures: int,
    only: Callable[[Operation], bool] = lambda operation: True,
) -> Iterator[Failure]:
    """Cuts the power behind every operation: nothing unsynced survives, all of it does, and
    ``mixtures`` of both. States that were there before are left out.

    :param only: which operations the disk is told of, at all.
    """
    disk = Disk()
    seen: set[tuple[object, ...]] = set()
    curve = (recording.folder / "curve.csv").read_text().splitlines()
    for done, operation in enumerate(recording.operations, start=1):
        if only(operation):
            disk.take(operation)
        newest = max((step for count, step in recording.saved if count <= done), default=None)
        for number in range(2 + mixtures):
            keep = (0.0, 1.0, 0.5, 0.8)[min(number, 2 + number % 2)]
            content = dict(disk.after_failure(random.Random(f"{done} {number}"), keep))
            if (key := (newest, *content.items())) in seen:
                continue
            seen.add(key)
            state = place / f"{done}-{number}"
            for path, held in content.items():
                if held is None:
                    (state / path).mkdir(parents=True)
                else:
                    (state / path).write_bytes(held)
            yield _taken_up(state / "run", newest, curve)


def _taken_up(state: Path, newest: int | None, curve: list[str]) -> Failure:
    try:
        run = RunFolder.open(state, writing=True)
        step = run.take_up(STEPS).step
        rows = run.logged()[0]
        run.close()
    except (RunError, CheckpointError) as error:
        return Failure(state, None if newest is None else str(error), False)
    assert [",".join(row.cells()) for row in rows] == curve[1 : 1 + len(rows)]
    assert rows[-1].step <= step < rows[-1].step + LOG_EVERY
    lost = newest is not None and step < newest
    return Failure(state, f"{state}: step {newest} was saved, {step} is left" if lost else None, True)


def test_the_recording_is_complete(recording: Recording) -> None:
    """Nothing changed the folder besides what was recorded."""
    disk = Disk()
    for operation in recording.operations:
        disk.take(operation)
    root = recording.folder.parent
    found = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    del found[Path("run", LOCK)]
    assert disk.whole() == found
    assert [step for _, step in recording.saved] == [0, 4, 8, 12, 14, 16, 20, 24]


@pytest.mark.parametrize(
    ("mixtures", "least"), [(1, 150), pytest.param(60, 1000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_power_failure_loses_more_than_an_interval(
    mixtures: int, least: int, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "os", Quick())
    states = list(failures(recording, tmp_path, mixtures))
    print(f"{len(recording.operations)} operations, {len(states)} different states behind them")
    assert len(states) >= least
    assert [each.complaint for each in states if each.complaint] == []
    # Whatever can be taken up ends alike; a few do so here.
    for each in random.Random(1).sample([each for each in states if each.resumed], 2 + mixtures // 10):
        assert main(["train", "--resume", str(each.state), "--steps", str(STEPS)]) == 0
        for name in ("curve.csv", "history"):
            assert (each.state / name).read_bytes() == (recording.folder / name).read_bytes()


@pytest.mark.parametrize(
    "what", ["curve.csv", "history", "checkpoints", ".step-", ".run.json"], ids=lambda what: what.strip(".-")
)
def test_a_missing_sync_is_found(
    what: str, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is worth something: without the syncs of one file or folder, something is lost."""

    def told(operation: Operation) -> bool:
        return not (operation.kind == "sync" and operation.path.name.startswith(what))

    monkeypatch.setattr(files, "os", Quick())
    assert any(failure.complaint for failure in failures(recording, tmp_path, 1, told))
