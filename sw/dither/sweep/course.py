"""The course of a sweep: trials of one generation after the other, trained on workers.

A sweep is a function of its file: which trials there are depends on results, but not on who was
ready when. All that it has done stands in its folder by what it is: costs by the choices of a
trial, trainings by a digest of all that their bits depend on. So whoever begins it again, after
whatever has happened, does what is left.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..arch.device import DeviceError
from ..cluster.office import Office
from ..cluster.places import LOOPBACK
from ..runs import RunError, RunFolder
from ..runs.lock import FolderLock
from ..runs.metrics import Metric
from ..tools import files
from ..tools.files import AnyPath
from ..train.tasks import load_task
from .analysis import dominates, front
from .halving import kept, rungs
from .jobs import costs, train
from .plan import OBJECTIVES, Plan, SweepError, Values
from .search import search_of
from .trial import Cost, Trial, experiment_of

__all__ = ["Standing", "Sweep", "load_rows"]

TABLE = "trials.csv"
"""Name of the file, in a sweep's folder, with a row for each trial."""
_COSTS = "costs.jsonl"
_TOGETHER = 8
"""Trials whose costs one worker finds out at once."""
_POLL_SECONDS = 0.2
_MOST_DEATHS = 5
"""Workers that may die over one job before that is given up."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a sweep is, for displays."""

    doing: str
    trials: int
    """Trials known so far."""
    done: int
    """Jobs done of this generation's work at hand."""
    total: int
    """Jobs of that work."""
    running: int
    best: str
    """The best figure of merit so far, in words."""


@dataclass(slots=True)
class _Job:
    name: str
    function: Callable[..., Any]
    values: tuple[Any, ...]
    deaths: int = 0


@dataclass(slots=True)
class Sweep:
    """A sweep in its folder.

    :ivar trials: all trials so far.
    """

    plan: Plan
    folder: Path
    workers: int
    report: Callable[[Standing], None]
    stop: Callable[[], bool]
    """Asked now and then; True ends the sweep early."""
    dashboard: Callable[[str], None] | None = None
    """Told where Dask's pages about itself are; there are none if None."""
    trials: list[Trial] = field(default_factory=list)
    metric: Metric = field(init=False)
    _costs: dict[str, Cost] = field(default_factory=dict)
    _planned: dict[str, int] = field(default_factory=dict)
    """Steps that the budget has allowed, by training."""
    _begun: float = field(default_factory=time.monotonic)

    def run(self) -> bool:
        """Makes all trials and returns whether the sweep came to its end.

        :raises SweepError: if the folder cannot be used.
        """
        self.metric = load_task(self.plan.task, None, self.plan.data).metric
        search = search_of(self.plan)
        lock = FolderLock(self.folder)
        try:
            files.make_folders(self.folder / "runs")
            alone = lock.take()
        except OSError as error:
            raise SweepError(f"cannot write to {self.folder}: {error.strerror}; choose another --out") from None
        if not alone:
            raise SweepError(f"{self.folder} is in use: {lock.holder}; end that first, or wait for it")
        self._load_costs()
        office = Office(["golden"] * self.workers, LOOPBACK, None, self.plan.data, self.dashboard is not None)
        try:
            if self.dashboard is not None:
                self.dashboard(str(office.dashboard))
            while asked := search.ask():
                generation = self._assess(office, asked)
                if generation is None:
                    return False
                self.trials += generation
                self._set_aside(generation)
                over = self._train(office, generation)
                self.write()
                if not over:
                    return False
                search.tell([self._result(trial) for trial in generation])
            return True
        finally:
            office.close()
            lock.release()

    # Costs

    def _load_costs(self) -> None:
        try:
            for line in (self.folder / _COSTS).read_text("utf-8").splitlines():
                key, said = json.loads(line)
                self._costs[key] = Cost(**said)
        except FileNotFoundError:
            files.write_atomically(self.folder / _COSTS, b"")
        except (ValueError, TypeError, OSError):
            # Cut off by a power failure, or of another version: what is missing is found again.
            files.write_atomically(self.folder / _COSTS, b"")

    def _cost_key(self, values: Values) -> str:
        plan = self.plan
        said = [plan.task, plan.steps, plan.log_every, str(plan.data), values]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def _assess(self, office: Office, asked: Sequence[Values]) -> list[Trial] | None:
        """The trials of a generation with their costs; None if somebody ended it."""
        missing = {key: values for values in asked if (key := self._cost_key(values)) not in self._costs}
        keys = list(missing)
        jobs = {}
        for number in range(0, len(keys), _TOGETHER):
            mine = keys[number : number + _TOGETHER]
            jobs[",".join(mine)] = _Job("costs", costs, (self.plan, [missing[key] for key in mine]))

        def took(name: str, found: list[Cost]) -> None:
            for key, cost in zip(name.split(","), found, strict=True):
                self._costs[key] = cost
                line = json.dumps([key, asdict(cost)])
                files.append(self.folder / _COSTS, f"{line}\n".encode())

        if not self._work(office, "finding out what trials cost", jobs, took):
            return None
        first = len(self.trials)
        return [
            Trial(first + number, values, self._costs[self._cost_key(values)]) for number, values in enumerate(asked)
        ]

    def _set_aside(self, generation: Sequence[Trial]) -> None:
        """Marks what need not be trained: what cannot be, and what others do at less cost."""
        best: dict[str, list[tuple[list[float], int]]] = {}
        for trial in self.trials:
            if trial.cost.trouble is None:
                best.setdefault(trial.cost.key, []).append((self._known(trial.cost), trial.number))
        for trial in generation:
            if trial.cost.trouble is not None:
                trial.state, trial.reason = "does not fit", trial.cost.trouble
                continue
            mine = self._known(trial.cost)
            for other, number in best[trial.cost.key]:
                if dominates(other, mine) or (other == mine and number < trial.number):
                    trial.state, trial.reason = "dominated", f"trial {number} is trained the same way and costs less"
                    if other == mine:
                        trial.reason = f"the same as trial {number}"
                    break

    def _known(self, cost: Cost) -> list[float]:
        """What the objectives say of a trial before it is trained, but for what all have that are
        trained the same way; less is better.
        """
        wanted = set(self.plan.objectives)
        found = [float(getattr(cost, name)) for name in ("multipliers", "memory") if name in wanted]
        return [*found, float(cost.cycles)] if wanted & {"cycles", "seconds"} else found

    # Trainings

    def _train(self, office: Office, generation: Sequence[Trial]) -> bool:
        """Trains what a generation needs; False if somebody ended it."""
        trials = {trial.cost.key: trial for trial in reversed(generation) if trial.state == "waiting"}
        going = list(reversed(trials))
        plan, over = self.plan, True
        levels = rungs(plan.steps, plan.log_every, plan.halving)
        troubles: dict[str, str] = {}

        def took(key: str, trouble: str | None) -> None:
            if trouble is not None:
                troubles[key] = trouble

        for level in levels:
            jobs = {}
            for key in list(going):
                if (complaint := self._too_much(key, level)) is not None:
                    going.remove(key)
                    troubles[key] = complaint
                    continue
                if self._done(key) >= level and (level < plan.steps or self._record(key).exists()):
                    continue
                chosen = experiment_of(plan, trials[key].values)
                record = self._record(key) if level == plan.steps else None
                jobs[key] = _Job("training", train, (chosen.choices(), self._run(key), plan.data, level, record))
            over = self._work(office, f"training to step {level}", jobs, took)
            going = [key for key in going if key not in troubles]
            if not over:
                break
            if level < levels[-1] and plan.halving is not None and going:
                stay = kept({key: self._curve(key, level) for key in going}, plan.halving, self.metric.lower)
                troubles |= {key: f"halving, at step {level}" for key in going if key not in stay}
                going = stay
        for trial in generation:
            key = trial.cost.key
            if trial.state == "does not fit":
                continue
            trial.rows = self._curve(key, plan.steps)
            if trial.state == "waiting":
                trial.state = "done" if key in going and over else "stopped"
                trial.reason = troubles.get(key, "" if key in going and over else "ended by Ctrl-C")
        return over

    def _too_much(self, key: str, level: int) -> str | None:
        """Why the budget does not allow a training to go on to a step; None if it does."""
        plan = self.plan
        before = sum(self._planned.values()) - self._planned.get(key, 0)
        if plan.trainings is not None and key not in self._planned and len(self._planned) >= plan.trainings:
            return f"the budget of {plan.trainings} trainings"
        if plan.total_steps is not None and before + level > plan.total_steps:
            return f"the budget of {plan.total_steps} steps"
        if plan.hours is not None and time.monotonic() - self._begun > 3600 * plan.hours:
            return f"the budget of {plan.hours:g} hours"
        self._planned[key] = max(level, self._planned.get(key, 0))
        return None

    def _run(self, key: str) -> Path:
        return self.folder / "runs" / key

    def _record(self, key: str) -> Path:
        return self.folder / "records" / key

    def _done(self, key: str) -> int:
        """Steps that a training has behind it."""
        rows = self._curve(key, self.plan.steps)
        return rows[-1].step if rows else -1

    def _curve(self, key: str, level: int) -> list[Any]:
        try:
            return [row for row in RunFolder.open(self._run(key)).curve() if row.step <= level]
        except RunError:
            return []

    def _work(self, office: Office, doing: str, jobs: dict[str, _Job], took: Callable[[str, Any], None]) -> bool:
        """Lets workers do jobs, each again if its worker dies; False if somebody ended it."""
        waiting, total = list(jobs), len(jobs)
        running: dict[int, tuple[str, str, Any]] = {}
        while waiting or running:
            if self.stop():
                return False
            there = office.workers()
            busy = {worker for worker, _, _ in running.values()}
            for worker in there:
                if worker not in busy and waiting:
                    name = waiting.pop(0)
                    task = office.submit(worker, jobs[name].function, *jobs[name].values)
                    running[id(task)] = (worker, name, task)
            self.report(
                Standing(
                    doing, len(self.trials), total - len(waiting) - len(running), total, len(running), self._best()
                )
            )
            task = office.next(_POLL_SECONDS)
            ended = [] if task is None or id(task) not in running else [id(task)]
            ended += [each for each, (worker, _, _) in running.items() if worker not in there and each not in ended]
            for each in ended:
                _, name, task = running.pop(each)
                if task.status == "finished":
                    took(name, task.result())
                    continue
                jobs[name].deaths += 1
                if jobs[name].deaths > _MOST_DEATHS:
                    raise DeviceError(f"{doing}: workers die of {name}; see its run folder in {self.folder}")
                waiting.insert(0, name)
        self.report(Standing(doing, len(self.trials), total, total, 0, self._best()))
        return True

    def _best(self) -> str:
        rows = [trial.rows[-1].metric for trial in self.trials if trial.rows]
        if not rows:
            return ""
        return f"{self.metric.title} {self.metric.text(min(rows) if self.metric.lower else max(rows))}"

    # Results

    def _result(self, trial: Trial) -> list[float] | None:
        """The objectives of a trial; None if it has not got all of them."""
        figures = trial.figures(self.plan, self.metric)
        found = [figures[name] for name in self.plan.objectives]
        return None if any(value is None for value in found) else [float(value or 0.0) for value in found]

    def front(self) -> list[int]:
        """Returns the numbers of the trials that are the best compromises."""
        points = {}
        for trial in self.trials:
            if trial.state == "done" and (result := self._result(trial)) is not None:
                signs = [-1.0 if OBJECTIVES[name].more else 1.0 for name in self.plan.objectives]
                points[trial.number] = [sign * value for sign, value in zip(signs, result, strict=True)]
        return front(points)

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each trial, as JSON data: choices, state, objectives, command."""
        best = set(self.front())
        found = []
        for trial in self.trials:
            figures = trial.figures(self.plan, self.metric)
            if self.metric.lower and figures["merit"] is not None:
                figures["merit"] = -figures["merit"]
            found.append(
                {
                    "trial": trial.number,
                    "state": trial.state,
                    "reason": trial.reason,
                    "front": trial.number in best,
                    **{choice.name: _cell(trial.values[choice.name]) for choice in self.plan.choices},
                    "run": f"runs/{trial.cost.key}" if trial.rows else "",
                    "trained": trial.rows[-1].step if trial.rows else 0,
                    **{name: value for name, value in figures.items() if trial.cost.trouble is None},
                    "cycles_per_step": trial.cost.cycles,
                    "digest": trial.rows[-1].digest if trial.rows else "",
                    "command": trial.cost.command,
                }
            )
        return found

    def write(self) -> None:
        """Writes the table of all trials: CSV, and Parquet if pyarrow is installed."""
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
        files.write_atomically(self.folder / TABLE, text.getvalue().encode())
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            return
        columns = {name: [row.get(name) for row in rows] for name in names}
        for name, values in columns.items():
            kinds = {type(value) for value in values if value is not None}
            if not kinds <= {int, float} and len(kinds) > 1:
                columns[name] = [None if value is None else str(value) for value in values]
        content = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), content)
        files.write_atomically(self.folder / "trials.parquet", content.getvalue().to_pybytes())


def _cell(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def load_rows(folder: AnyPath) -> list[dict[str, str]]:
    """Returns the rows of a sweep's table.

    :raises SweepError: if there is none.
    """
    try:
        with open(Path(folder) / TABLE, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError:
        raise SweepError(f"{folder} holds no {TABLE}; let the sweep make its first trials") from None
