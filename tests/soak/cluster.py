"""Runs whose workers are killed at random instants, again and again: not a bit changes.

``python -m tests.soak.cluster``, or ``make soak-cluster``. Kills go on, over as many runs as it
takes, until there were so many.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from dither.cluster.session import prepare_shared
from dither.runs import RunFolder
from dither.train.experiment import Experiment
from dither.train.prepared import Prepared, prepare

RECIPES = {
    "digits": {
        "seeds and scalars": {"estimator": "layerwise", "probes": (4, 16)},
        "gradient sums": {"estimator": ("mirror", "exact"), "probes": 1},
    },
    "mnist": {
        "seeds and scalars": {"estimator": "tensorwise", "probes": 10},
        "gradient sums": {},
    },
}
STEPS = {"digits": 60, "mnist": 24}
WORKERS, PAUSE, A_RUN = 3, 0.7, 25
"""Workers of a run, the mean seconds between two kills, and the most kills of a run."""


class Killer(threading.Thread):
    """Kills workers at random instants: as they begin, are opened, in a step, or between two.

    :ivar killed: how many there were, by what they were at.
    """

    def __init__(self, prepared: Prepared, random: np.random.Generator, pause: float, most: int) -> None:
        super().__init__(daemon=True)
        self.crew, self.random, self.pause, self.most = prepared.session.crew, random, pause, most
        self.over = threading.Event()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        """Kills until it is told to end, or there were enough."""
        while self.killed.total() < self.most and not self.over.wait(self.random.exponential(self.pause)):
            processes = self.crew.office.processes()
            if not processes:
                continue
            name = str(self.random.choice(sorted(processes)))
            peers = [peer for peer in list(self.crew.peers.values()) if peer.name == name]
            job = peers[0].job if peers else None
            try:
                os.kill(processes[name], signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed[job.kind if job else "at rest" if peers else "beginning"] += 1


def main() -> int:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the instants")
    parser.add_argument("--task", choices=RECIPES, default="digits", help="what is trained (default digits)")
    chosen = parser.parse_args()
    return soak(chosen.task, chosen.kills, chosen.seed)


def soak(task: str, kills: int, seed: int) -> int:
    """Trains a task, kills so many workers, and returns how many runs had other bits than one
    device alone.
    """
    random, killed, different, runs = np.random.default_rng(seed), Counter(), 0, 0
    with tempfile.TemporaryDirectory(prefix="dither-soak-") as folder:
        while killed.total() < kills:
            for exchange, recipe in RECIPES[task].items():
                if killed.total() == kills:
                    break
                runs += 1
                chosen = Experiment.of_task(
                    task, device="golden", recipe=recipe, steps=STEPS[task], log_every=4, checkpoint_every=20
                )
                begun, path = time.monotonic(), Path(folder, str(runs))
                prepared = prepare_shared(
                    Experiment.of_choices({**chosen.choices(), "devices": ["golden"] * WORKERS}, None),
                    say=lambda text: None,
                )
                assert prepared.session.facts()["shared"]["exchange"] == exchange
                killer = Killer(prepared, random, PAUSE, min(A_RUN, kills - killed.total()))
                killer.start()
                found = finish(prepared, path / "shared")
                killer.over.set()
                same = found == finish(prepare(chosen), path / "alone")
                killed, different = killed + killer.killed, different + (not same)
                print(
                    f"{task}, {exchange}, {STEPS[task]} steps in {time.monotonic() - begun:.0f} s: "
                    f"{killer.killed.total()} killed ({killed.total()} in all), {'same' if same else 'OTHER'} bits",
                    flush=True,
                )
    said = ", ".join(f"{count} {what}" for what, count in killed.most_common())
    print(f"{killed.total()} workers killed in {runs} runs ({said}); {different} runs have other bits than one device")
    return different


def result(run: RunFolder) -> tuple[str, bytes, dict[str, int]]:
    """Returns all that a run's bits show in: its curve, its masters, its counters."""
    return (
        (run.path / "curve.csv").read_text(),
        (run.path / "history").read_bytes(),
        run.load_checkpoint().meta["counters"],
    )


def finish(prepared: Prepared, folder: Path, resume: bool = False) -> tuple[str, bytes, dict[str, int]]:
    """Trains a prepared experiment to its end, and returns its :func:`result`."""
    try:
        if resume:
            run = RunFolder.open(folder, writing=True)
            trainer = prepared.trainer(run)
            trainer.resume()
        else:
            run = RunFolder.create(folder, prepared.describe())
            trainer = prepared.trainer(run)
            trainer.start()
        assert trainer.train(report=lambda progress: None, stop=lambda: False)
        run.close()
        return result(run)
    finally:
        prepared.close()


if __name__ == "__main__":
    sys.exit(main())
