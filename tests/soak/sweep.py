"""A sweep of 225 trials, undisturbed and then with workers and schedulers killed: the same table.

``python -m tests.soak.sweep [FOLDER]``, or ``make soak-sweep``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dither.cluster.office import Office
from dither.cluster.places import LOOPBACK
from dither.sweep.course import TABLE, Sweep, _Job, load_rows
from dither.sweep.plan import Plan

FILE = """\
task = "digits"
steps = 240
log_every = 20
target = 0.8
objectives = ["merit", "seconds", "multipliers"]
halving = 3
[vary]
engine = ["1x8", "2x8", "2x16", "4x16", "4x32"]
ranks = [2, 3, 4]
rate = [0.004, 0.01, 0.02]
probes = [[1, 4], [2, 8], [4, 16], [2, 16], [1, 16]]
"""
WORKERS, SEED = 2, 1
KILLS = {"a worker": 6, "the scheduler": 3}
_EMPTY_JOBS = 400


def main() -> None:
    """Makes both sweeps and compares them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="dither-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "digits.toml"
    file.write_text(FILE)
    begun = time.monotonic()
    quiet = start(file, folder / "quiet")
    assert quiet.wait() == 0
    seconds = time.monotonic() - begun
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    kills = disturbed(file, folder / "loud", seconds)
    same = (folder / "quiet" / TABLE).read_bytes() == (folder / "loud" / TABLE).read_bytes()
    rows = load_rows(folder / "quiet")
    states = [row["state"] for row in rows]
    print(f"{len(rows)} trials: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}")
    trainings, best = {row["run"] for row in rows if row["run"]}, [row for row in rows if row["front"] == "True"]
    print(f"{len(trainings)} trainings, {len(best)} on the front")
    print(f"killed: {', '.join(f'{what} {kills.count(what)} times' for what in KILLS)}")
    begun = time.monotonic()
    assert start(file, folder / "quiet").wait() == 0
    print(f"once more, with everything done: {1e3 * (time.monotonic() - begun) / len(rows):.1f} ms a trial")
    print(f"scheduling: {1e3 * overhead(file, folder / 'empty'):.1f} ms a job")
    print(f"tables are {'the same' if same else 'DIFFERENT'}")
    sys.exit(not same)


def start(file: Path, out: Path) -> subprocess.Popen[bytes]:
    """Begins a sweep, or goes on with it."""
    words = ["sweep", str(file), "--out", str(out), "--workers", str(WORKERS)]
    code = f"import sys; from dither.cli import main; sys.exit(main({words!r}))"
    return subprocess.Popen([sys.executable, "-c", code])


def disturbed(file: Path, out: Path, seconds: float) -> list[str]:
    """Lets a sweep come to its end in spite of kills at random instants; returns who was killed.

    :param seconds: how long it takes undisturbed.
    """
    random, done = np.random.default_rng(SEED), []
    left = [what for what, count in KILLS.items() for _ in range(count)]
    random.shuffle(left)
    process, pause = start(file, out), 0.7 * seconds / len(left)
    while left:
        try:
            process.wait(random.exponential(pause))
            break
        except subprocess.TimeoutExpired:
            workers = list(children(process.pid))
        if left[-1] == "the scheduler":
            process.kill()
            process.wait()
            process = start(file, out)
        elif workers:
            os.kill(random.choice(workers), signal.SIGKILL)
        else:
            continue
        done.append(left.pop())
        print(f"killed {done[-1]}", flush=True)
    assert process.wait() == 0
    return done


def children(number: int) -> Iterator[int]:
    """Process numbers of a sweep's workers."""
    for each in Path(f"/proc/{number}/task").glob("*/children"):
        for child in each.read_text().split():
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                yield int(child)


def overhead(file: Path, folder: Path) -> float:
    """Seconds that a job takes that has nothing to do, by as many workers as the sweep has."""
    sweep = Sweep(Plan.read(file), folder, WORKERS, lambda standing: None, lambda: False)
    office = Office(["golden"] * WORKERS, LOOPBACK, None, None)
    try:
        for count in (WORKERS, _EMPTY_JOBS):  # The first ones wait for workers to be there.
            begun = time.monotonic()
            sweep._work(
                office, "nothing", {str(number): _Job("", int, (number,)) for number in range(count)}, print_not
            )
        return (time.monotonic() - begun) / _EMPTY_JOBS
    finally:
        office.close()


def print_not(name: str, found: int) -> None:
    """Takes a result that nobody wants."""


if __name__ == "__main__":
    main()
