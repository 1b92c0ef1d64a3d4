"""Runs whose steps many devices share: the bits of one device, whoever computes, comes or dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="install dither[cluster]")

from dither.cluster.session import prepare
from dither.runs import RunFolder
from dither.train.experiment import Experiment, Prepared

PROBES = {"estimator": "layerwise", "probes": (4, 16)}
MIRROR = {"estimator": ("mirror", "exact"), "probes": 1}
SHORT = {"steps": 8, "log_every": 2, "checkpoint_every": 4}


def experiment(recipe: dict, task: str = "digits", **settings) -> Experiment:
    return Experiment.of_task(task, device="golden", recipe=recipe, **(SHORT | settings))


def result(run: RunFolder) -> tuple[str, bytes, dict]:
    """All that a run's bits show in: its curve, its masters, its counters."""
    return (
        (run.path / "curve.csv").read_text(),
        (run.path / "history").read_bytes(),
        run.load_checkpoint().meta["counters"],
    )


def finish(prepared: Prepared, folder: Path, resume: bool = False) -> tuple[str, bytes, dict]:
    """Trains a prepared experiment to its end."""
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


def alone(chosen: Experiment, folder: Path) -> tuple[str, bytes, dict]:
    return finish(replace(chosen, devices=()).prepare(), folder)


def shared(chosen: Experiment, *devices: str, said: list[str] | None = None, **settings) -> Prepared:
    say = (said if said is not None else []).append
    return prepare(replace(chosen, devices=devices), say=say, **settings)


class Killer(threading.Thread):
    """Kills workers at random instants, until it is told to end."""

    def __init__(self, prepared: Prepared, seed: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.office, self.random, self.pause = prepared.session.crew.office, np.random.default_rng(seed), pause
        self.kills = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.random.exponential(self.pause)):
            there = list(self.office.processes().values())
            if there:
                os.kill(int(self.random.choice(there)), signal.SIGKILL)
                self.kills += 1


@pytest.mark.parametrize(("name", "recipe"), [("probes", PROBES), ("mirror", MIRROR)])
def test_two_devices_give_the_bits_of_one(tmp_path, name, recipe):
    chosen = experiment(recipe)
    prepared = shared(chosen, "golden", "golden")
    assert prepared.session.facts()["shared"]["exchange"] == {"probes": "seeds and scalars", "mirror": "gradient sums"}[name]
    assert finish(prepared, tmp_path / "shared") == alone(chosen, tmp_path / "alone")


def test_a_killed_device_changes_nothing(tmp_path):
    chosen = experiment(PROBES, steps=24)
    said: list[str] = []
    prepared = shared(chosen, "golden", "golden", said=said)
    killer = Killer(prepared, 1, 1.0)
    killer.start()
    found = finish(prepared, tmp_path / "shared")
    killer.over.set()
    assert killer.kills
    assert found == alone(chosen, tmp_path / "alone")
