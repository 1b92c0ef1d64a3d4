"""Whole sweeps on workers: killed and begun again, they end as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="install distributed")

from dither.cli import main
from dither.cluster.office import Office
from dither.sweep.course import Sweep, load_rows
from dither.sweep.page import write_page
from dither.sweep.plan import Plan

FILE = """
task = "digits"
steps = 12
log_every = 4
target = 0.12
objectives = ["merit", "seconds", "multipliers"]
halving = 2
[vary]
engine = ["1x8", "2x16", "1x8@64"]
batch = 32
rate = [0.004, 0.02, 0.03]
ranks = [2, 4]
probes = [[1, 2]]
"""


def sweep(folder: Path, text: str = FILE, stop=lambda: False) -> Sweep:
    folder.parent.mkdir(exist_ok=True, parents=True)
    path = folder.with_suffix(".toml")
    path.write_text(text)
    return Sweep(Plan.read(path), folder, 2, lambda standing: None, stop)


def table(folder: Path) -> list[dict[str, str]]:
    return load_rows(folder)


def test_a_sweep_finds_its_front(tmp_path, capsys):
    found = sweep(tmp_path / "one")
    assert found.run()
    rows = table(tmp_path / "one")
    assert len(rows) == 18
    assert {row["state"] for row in rows} == {"done", "stopped", "does not fit"}
    assert all("parameter_depth" in row["reason"] for row in rows if row["engine"] == "1x8@64")
    # Two geometries share each of six trainings; half of them are ended early, or fewer.
    assert len({row["run"] for row in rows if row["run"]}) == 6 == len([*(tmp_path / "one/runs").iterdir()])
    by_run: dict[str, set[str]] = {}
    for row in rows:
        if row["run"]:
            by_run.setdefault(row["run"], set()).add(row["digest"])
    assert all(len(digests) == 1 for digests in by_run.values())
    best = [row for row in rows if row["front"] == "True"]
    assert best
    for row in best:
        assert float(row["seconds"]) == pytest.approx(int(row["cycles"]) / 50e6)

    page = write_page(found).read_text()
    assert not re.search(r"(?:src|href)=|https?://(?!www\.w3\.org/2000/svg)|url\(|@import|fetch\(", page)
    assert all(row["command"] in page for row in best)

    assert main(["sweep", str(tmp_path / "one.toml"), "--out", str(tmp_path / "one"), "--best"]) == 0
    assert capsys.readouterr().out.splitlines() == [row["command"] for row in best]

    # Every trial that was trained to the end can be repeated.
    record = tmp_path / "one/records" / Path(best[0]["run"]).name
    assert main(["repeat", str(record)]) == 0

    # Once more, with other costs: the trainings are there.
    again = sweep(tmp_path / "one", FILE.replace('"1x8@64"', '"4x32"'))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "one/runs").rglob("*.npz")}
    assert again.run()
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "one/runs").rglob("*.npz")}


@pytest.mark.slow
def test_a_killed_sweep_goes_on(tmp_path, monkeypatch):
    assert sweep(tmp_path / "quiet").run()

    submit, kills, random = Office.submit, [], np.random.default_rng(1)

    def disturbed(self, worker, function, *values):
        task = submit(self, worker, function, *values)
        if worker is not None and len(kills) < 6 and random.random() < 0.5:
            number = self.processes().get(self.workers().get(worker))
            if number is not None:
                kills.append(number)
                threading.Timer(random.exponential(0.3), lambda: kill(number)).start()
        return task

    monkeypatch.setattr(Office, "submit", disturbed)
    calls = iter(range(10**9))
    assert not sweep(tmp_path / "loud", stop=lambda: next(calls) > 60).run()
    assert sweep(tmp_path / "loud").run()
    assert kills
    assert (tmp_path / "loud/trials.csv").read_bytes() == (tmp_path / "quiet/trials.csv").read_bytes()


def kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


@pytest.mark.slow
def test_a_sweep_whose_scheduler_is_killed_goes_on(tmp_path):
    assert sweep(tmp_path / "quiet").run()
    sweep(tmp_path / "loud")  # writes the file
    words = ["sweep", str(tmp_path / "loud.toml"), "--out", str(tmp_path / "loud"), "--workers", "2"]
    code = f"import sys; from dither.cli import main; sys.exit(main({words!r}))"
    runs = tmp_path / "loud/runs"
    for wanted in (1, 4):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        while process.poll() is None and (not runs.exists() or len([*runs.iterdir()]) < wanted):
            time.sleep(0.05)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert sweep(tmp_path / "loud").run()
    assert (tmp_path / "loud/trials.csv").read_bytes() == (tmp_path / "quiet/trials.csv").read_bytes()


@pytest.mark.slow
def test_budgets_and_optuna(tmp_path):
    pytest.importorskip("optuna", reason="install optuna pyarrow")
    text = FILE.replace("halving = 2", 'search = "tpe"\ntrials = 6\ngeneration = 3\nbudget = { trainings = 3 }')
    found = sweep(tmp_path / "one", text)
    assert found.run()
    assert len(found.trials) == 6
    assert len([*(tmp_path / "one/runs").iterdir()]) <= 3
    assert sweep(tmp_path / "two", text).run()
    assert (tmp_path / "one/trials.csv").read_bytes() == (tmp_path / "two/trials.csv").read_bytes()
