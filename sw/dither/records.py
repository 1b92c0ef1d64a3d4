"""Recorded results: what is kept of a finished run, and whether its first steps still give the same bits.

A record is a folder with ``result.json`` (how it was made and what came out), ``curve.csv`` and ``curve.svg``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .engine import EngineConfig
from .experiment import Experiment
from .metrics import ACCURACY
from .models import Model
from .phases import Phase
from .recipe import Recipe
from .runs import RunError, RunFolder, parameter_digest

__all__ = ["FIRST_STEPS", "Check", "check_record", "first_digests", "load_record", "write_record"]

FIRST_STEPS = 2
"""Training steps that a check repeats."""
MILESTONES = (0.90, 0.95, 0.96, 0.97)
"""Accuracies whose price is recorded."""
_SETTINGS = ("task", "model", "recipe", "engine", "steps", "log_every", "checkpoint_every", "stencil", "phases")


def first_digests(experiment: Experiment, steps: int = FIRST_STEPS, status: Callable[[str], None] = lambda text: None,
                  ) -> list[str]:  # fmt: skip
    """Digests of all parameters behind each of the first training steps.

    :raises TaskError: if the data cannot be had.
    :raises DeviceError: if the device fails.
    """
    prepared = experiment.prepare(status=status)
    try:
        session = prepared.session
        session.load(prepared.initial)
        batches = prepared.task.batches(experiment.recipe)
        found = []
        for step in range(steps):
            session.train(step, *batches.take(step, 1))
            found.append(parameter_digest(session.masters()))
        return found
    finally:
        prepared.close()


def write_record(run: RunFolder, folder: Path, title: str) -> dict[str, Any]:
    """Records a finished run.

    :param title: one line for people.
    :returns: the content of ``result.json``.
    :raises RunError: if the run is not finished or lacks something.
    """
    experiment = replace(Experiment.of_run(run), device="golden")
    description, rows = run.description, run.curve()
    run.require(bool(rows) and rows[-1].step == experiment.steps, "is not finished; resume it first")
    last, progress = rows[-1], description["progress"]
    counters = progress["counters"]
    metric = run.metric
    images = metric is ACCURACY
    cycles = sum(value for name, value in counters.items() if name.startswith("cycles_"))
    macs = {"evaluation": _evaluation_macs(experiment)}
    places = {name.removeprefix("saturations_"): value for name, value in counters.items() if "saturations" in name}
    result: dict[str, Any] = {
        "title": title,
        "command": description["command"],
        "seed": experiment.recipe.seed,
        "test_accuracy" if images else metric.name: last.metric,
        "loss": last.loss,
        "steps": last.step,
        "image_forwards" if images else "network_evaluations": last.forwards,
        "mac": last.macs,
        "forward_equivalents": round(last.macs / macs["evaluation"]),
        "saturations": sum(places.values()),
        "saturations_by_place": places,
        "multiplier_utilisation": counters["row_steps"] / (cycles * experiment.engine.rows),
        "cycles": cycles,
        "hours": progress["seconds"] / 3600,
        "parameters": experiment.model.parameter_count,
        "milestones": _milestones(run, progress["seconds"]) if images else [],
        "digest": last.digest,
        "first_digests": first_digests(experiment),
        "settings": {name: description.get(name) for name in _SETTINGS},
        "versions": description.get("versions"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    shutil.copyfile(run.path / "curve.csv", folder / "curve.csv")
    _draw(run, folder / "curve.svg", title)
    return result


def _evaluation_macs(experiment: Experiment) -> int:
    from .compiler.planner import plan_layers

    return sum(plan.macs for plan in plan_layers(experiment.model))


def _milestones(run: RunFolder, seconds: float) -> list[dict[str, Any]]:
    """What it took to reach round accuracies for the first time; hours in proportion to multiply-accumulates."""
    rows = run.curve()
    found = []
    for level in MILESTONES:
        row = next((row for row in rows if row.metric >= level), None)
        if row is not None:
            hours = seconds / 3600 * row.macs / max(1, rows[-1].macs)
            found.append({"accuracy": level, "step": row.step, "image_forwards": row.forwards, "mac": row.macs,
                          "hours": hours})  # fmt: skip
    return found


def _draw(run: RunFolder, path: Path, title: str) -> None:
    from .report.plots import learning_curves, save_figure

    save_figure(learning_curves([(title, run.curve())], run.metric), path)


def load_record(folder: Path) -> dict[str, Any]:
    """The content of a record's ``result.json``.

    :raises RunError: if there is none.
    """
    try:
        content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no recorded result: {error}") from None
    return content


@dataclass(frozen=True, slots=True)
class Check:
    """The first steps of a recorded run, repeated."""

    recorded: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether all digests agree."""
        return self.found == self.recorded[: len(self.found)]


def recorded_experiment(record: Mapping[str, Any]) -> Experiment:
    """The experiment that a record was made with.

    :raises RunError: if the record lacks something.
    """
    try:
        values = record["settings"]
        return Experiment(
            task=values["task"], model=Model.from_dict(values["model"]), recipe=Recipe.from_dict(values["recipe"]),
            engine=EngineConfig.from_dict(values["engine"]), device="golden", steps=values["steps"],
            log_every=values["log_every"], checkpoint_every=values["checkpoint_every"],
            stencil=values.get("stencil"), phases=tuple(Phase.from_dict(each) for each in values.get("phases") or ()),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the record does not describe a run: {error}") from None


def check_record(
    folder: Path, device: str = "golden", steps: int = FIRST_STEPS, status: Callable[[str], None] = lambda text: None
) -> Check:
    """Repeats a recorded run's first steps.

    :param device: a machine's name.
    :raises RunError: if the record cannot be read.
    """
    record = load_record(folder)
    experiment = replace(recorded_experiment(record), device=device)
    found = first_digests(experiment, min(steps, len(record["first_digests"])), status)
    return Check(tuple(record["first_digests"]), tuple(found))
