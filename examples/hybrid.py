"""Random directions, coordinates, or one after the other: which learns most for so many forwards?

The task is MNIST averaged to 8 × 8 pixels, the network that of the digits. For every cost in image
forwards and every strategy, settings are chosen on a sixth of the training images; then five other
seeds train on all of them, and the test images judge. Everything goes to a file, a line a run, and
the same command goes on where it was stopped:

    python examples/hybrid.py hybrid.csv
"""

from __future__ import annotations

import csv
import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import mean, stdev

from dither import Experiment, RunFolder, engine, prepare
from dither.train.task import Split, Task
from dither.train.tasks import load_task

COSTS = (300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
"""Image forwards that a run may take."""
SHARES = (1.0, 0.5, 0.25, 0.0)
"""Part of them that goes to random directions; coordinates get the rest."""
ENGINE = engine("2x8")
"""It decides nothing here but which batches are possible."""
SEEDS = (1, 2, 3, 4, 5)
STUDENT = 2.776
"""Student's t for 95 % and as many seeds."""


@dataclass(frozen=True)
class Choice:
    """Settings to choose from, and the seeds by which they are compared."""

    batches: tuple[int, ...]
    probes: tuple[int, ...]
    random_rates: tuple[float, ...]
    coordinate_rates: tuple[float, ...]
    seeds: tuple[int, ...]


WIDE = Choice((8, 16, 32), (1, 4, 16), (2**-8, 2**-7, 2**-6, 2**-5), (0.02, 0.05, 0.1, 0.2), (101, 102))
NARROW = Choice((8, 16), (1, 4), (2**-9, 2**-8, 2**-7), (0.02, 0.05), (101,))
"""Around what is best for less; for runs of :data:`LONG` forwards and more."""
LONG = 10_000_000


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
            experiment = Experiment.of_task(task, device="native", engine=ENGINE, recipe={**common, **recipe})
            figures = experiment.compile(task, experiment.machine).figures
            return max(1, round(cost / figures.step_evaluations))

        first = steps(random, run.cost * run.share) if run.share else 0
        second = steps(exact, run.cost * (1 - run.share)) if run.share < 1 else 0
        begin, rest = (random, first) if first else (exact, second)
        then = f"after={first},estimator=coordinate,probes=1,rate={run.coordinate_rate},schedule_steps={second}"
        experiment = Experiment.of_task(
            task,
            device="native",
            engine=ENGINE,
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

    def best(self, candidates: list[Run], seeds: tuple[int, ...]) -> Run:
        """Returns the settings that are best in the mean over some seeds."""

        def score(candidate: Run) -> float:
            return mean(self.run(replace(candidate, purpose="tuning", seed=seed)).accuracy for seed in seeds)

        return max(candidates, key=score)

    def compare(self, cost: int, choice: Choice) -> Iterator[list[Run]]:
        """Yields the test runs of each strategy, all seeds of its best settings."""
        blank = Run("", cost, 0.0, 0, 1, 0.0, 0.0, 0)
        random, exact = {}, {}
        for batch in choice.batches:
            settings = itertools.product(choice.probes, choice.random_rates)
            wanted = [
                replace(blank, share=1.0, batch=batch, probes=probes, random_rate=rate) for probes, rate in settings
            ]
            random[batch] = self.best(wanted, choice.seeds)
            wanted = [replace(blank, batch=batch, coordinate_rate=rate) for rate in choice.coordinate_rates]
            exact[batch] = self.best(wanted, choice.seeds)
        for share in SHARES:
            mixed = [
                replace(first, share=share, coordinate_rate=exact[batch].coordinate_rate)
                for batch, first in random.items()
            ]
            candidates = list(exact.values()) if share == 0 else list(random.values()) if share == 1 else mixed
            chosen = self.best(candidates, choice.seeds)
            yield [self.run(replace(chosen, purpose="test", seed=seed)) for seed in SEEDS]


def main(path: Path) -> None:
    """Makes all runs that are missing, and prints what all of them show."""
    study = Study(path)
    print("| forwards | random first | batch | probes | rates | accuracy | ± 95 % |\n|--:|--:|--:|--:|---|--:|--:|")
    for cost in COSTS:
        for runs in study.compare(cost, NARROW if cost >= LONG else WIDE):
            accuracies, first = [run.accuracy for run in runs], runs[0]
            half = STUDENT * stdev(accuracies) / len(runs) ** 0.5
            rates = [f"{rate:g}" for rate in (first.random_rate, first.coordinate_rate) if rate]
            print(
                f"| {cost:,} | {first.share:.0%} | {first.batch} | {first.probes if first.share else '–'} | "
                f"{', '.join(rates)} | {mean(accuracies):.2%} | {half:.2%} |"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
