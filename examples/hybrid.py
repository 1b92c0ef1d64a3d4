"""Random directions, coordinates, or one after the other: which learns most for so many forwards?

The task is MNIST averaged to 8 × 8 pixels, the network that of the digits. For every cost in image
forwards and every strategy, settings are chosen on a sixth of the training images, by two seeds;
then five other seeds train on all of them, and the test images judge. Everything goes to a file, a
line a run, and the same command goes on where it was stopped:

    python examples/hybrid.py hybrid.csv
"""

from __future__ import annotations

import csv
import itertools
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import mean

from dither import Experiment, RunFolder, prepare
from dither.train.task import Split, Task
from dither.train.tasks import load_task

COSTS = (300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
"""Image forwards that a run may take."""
SHARES = (1.0, 0.5, 0.25, 0.0)
"""Part of them that goes to random directions; coordinates get the rest."""
BATCHES, PROBES = (16, 32), (1, 4, 16)
RANDOM_RATES, COORDINATE_RATES = (2**-8, 2**-7, 2**-6, 2**-5), (0.01, 0.02, 0.03, 0.05)
TUNING_SEEDS, SEEDS = (101, 102), (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Run:
    """A run: what it is asked for, and how well it does."""

    purpose: str
    """``tuning`` or ``test``."""
    cost: int
    share: float
    batch: int
    probes: int
    random_rate: float
    coordinate_rate: float
    seed: int
    forwards: int = 0
    accuracy: float = 0.0

    @property
    def settings(self) -> Run:
        """The run without purpose, seed and results."""
        return replace(self, purpose="", seed=0, forwards=0, accuracy=0.0)


def tuning() -> Task:
    """Returns the task with every sixth training image as test image."""
    whole = load_task("mnist-8x8")
    assert isinstance(whole, Task)
    train, part = whole.train, range(len(whole.train))
    held = [index for index in part if index % 6 == 0]
    rest = [index for index in part if index % 6]
    return replace(
        whole,
        name="tuning",
        train=Split(train.inputs[rest], train.labels[rest]),
        test=Split(train.inputs[held], train.labels[held]),
    )


class Study:
    """All runs, those that were made before read from the file.

    :param path: file with a line for each run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tasks = {"tuning": tuning(), "test": load_task("mnist-8x8")}
        self._done: dict[Run, Run] = {}
        if path.exists():
            types = {"purpose": str, "share": float, "random_rate": float, "coordinate_rate": float, "accuracy": float}
            for row in csv.DictReader(path.open()):
                run = Run(**{field.name: types.get(field.name, int)(row[field.name]) for field in fields(Run)})
                self._done[replace(run, forwards=0, accuracy=0.0)] = run

    def run(self, wanted: Run) -> Run:
        """Returns a run with its results, which is made unless it is in the file."""
        if wanted not in self._done:
            done = self._done[wanted] = self._make(wanted)
            new = not self.path.exists()
            with self.path.open("a", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(Run)])
                if new:
                    writer.writeheader()
                writer.writerow(asdict(done))
            print(
                f"{done.purpose}  {done.cost:>10,} forwards  {done.share:4.0%} random  {done.accuracy:.2%}", flush=True
            )
        return self._done[wanted]

    def _make(self, run: Run) -> Run:
        task = self._tasks[run.purpose]
        random = {"estimator": "tensorwise", "probes": run.probes, "rate": run.random_rate}
        exact = {"estimator": "coordinate", "probes": 1, "rate": run.coordinate_rate}
        common = {"batch": run.batch, "tile": run.batch, "seed": run.seed, "schedule": "cosine"}

        def steps(recipe: dict[str, object], cost: float) -> int:
            experiment = Experiment.of_task(task, device="native", recipe={**common, **recipe})
            figures = experiment.compile(task, experiment.machine).figures
            return max(1, round(cost / figures.step_evaluations))

        first = steps(random, run.cost * run.share) if run.share else 0
        second = steps(exact, run.cost * (1 - run.share)) if run.share < 1 else 0
        begin, rest = (random, first) if first else (exact, second)
        then = f"after={first},estimator=coordinate,probes=1,rate={run.coordinate_rate},schedule_steps={second}"
        experiment = Experiment.of_task(
            task,
            device="native",
            recipe={**common, **begin, "schedule_steps": rest},
            steps=first + second,
            log_every=first + second,
            checkpoint_every=first + second,
            then=[then] if first and second else [],
        )
        prepared = prepare(experiment)
        with (
            tempfile.TemporaryDirectory() as folder,
            closing(RunFolder.create(Path(folder) / "run", prepared.describe())) as made,
        ):
            trainer = prepared.trainer(made)
            trainer.start()
            trainer.train(report=lambda progress: None, stop=lambda: False)
            accuracy = made.curve()[-1].metric
        prepared.close()
        return replace(run, forwards=trainer.forwards, accuracy=accuracy)

    def best(self, candidates: list[Run]) -> Run:
        """Returns the settings that are best in the mean over the seeds for tuning."""

        def score(candidate: Run) -> float:
            return mean(self.run(replace(candidate, purpose="tuning", seed=seed)).accuracy for seed in TUNING_SEEDS)

        return max(candidates, key=score)


def main(path: Path, costs: tuple[int, ...] = COSTS) -> None:
    """Makes all runs that are missing."""
    study = Study(path)
    for cost in costs:
        blank = Run("", cost, 0.0, 0, 1, 0.0, 0.0, 0)
        random = {
            batch: study.best(
                [
                    replace(blank, share=1.0, batch=batch, probes=probes, random_rate=rate)
                    for probes, rate in itertools.product(PROBES, RANDOM_RATES)
                ]
            )
            for batch in BATCHES
        }
        exact = {
            batch: study.best([replace(blank, batch=batch, coordinate_rate=rate) for rate in COORDINATE_RATES])
            for batch in BATCHES
        }
        for share in SHARES:
            candidates = [
                random[batch]
                if share == 1
                else replace(
                    exact[batch],
                    share=share,
                    **({"probes": random[batch].probes, "random_rate": random[batch].random_rate} if share else {}),
                )
                for batch in BATCHES
            ]
            chosen = study.best(candidates)
            for seed in SEEDS:
                study.run(replace(chosen, purpose="test", seed=seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
