"""Recorded results: what is kept of a finished run, and checks that it still repeats.

A record is a folder with ``result.json`` (how it was made and what came out), ``curve.csv`` and
``curve.svg``. A check repeats the first steps and compares their bits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.config import EngineConfig, engine_name
from ..arch.regmap import all_cycles
from ..compiler import plan_layers
from ..nn.models import Model
from ..recipe import Recipe
from ..recipe.phases import Phase
from ..runs import RunError, RunFolder, parameter_digest
from ..runs.metrics import ACCURACY
from ..tools.files import AnyPath, make_folders, require_folder, write_atomically
from ..tools.forms import COUNT, POSITIVE, misfit
from ..train.equations import EquationTask
from ..train.experiment import Experiment
from ..train.prepared import prepare
from .yardsticks import mark

__all__ = [
    "FIRST_ORDER",
    "FIRST_STEPS",
    "GROUPS",
    "Check",
    "add_check",
    "check_record",
    "first_digests",
    "forward_macs",
    "load_record",
    "recorded_experiment",
    "write_record",
]

FIRST_STEPS = 2
"""Number of optimiser steps that a check repeats."""
FIRST_ORDER = "first-order"
"""Value of ``kind`` in records that back-propagation made, in floating point.

They have no bits to repeat.
"""
GROUPS = ("mnist", "published", "hybrid", "boards", "equations", "projection", "tasks", "baseline", "sweep")
"""Names of the groups within which records are compared with each other."""
MILESTONES = (0.90, 0.95, 0.96, 0.97)
"""Accuracies for which a record says what it took to reach them first."""
_NUMBERS = ("mac_per_forward", "forward_equivalents", "cycles", "parameters", "nodes", "steps", "batch", "seed")
_FORM = {
    "title?": str,
    "group?": str,
    "kind?": str,
    "task?": str,
    "network?": str,
    "command?": str,
    "method?": str,
    "derivatives?": (None, str),
    "stencil?": (None, str),
    "digest?": str,
    "test_accuracy?": float,
    "relative_l2?": float,
    "relative_l2_of_zero?": float,
    "loss?": float,
    "multiplier_utilisation?": float,
    "hours?": float,
    "seconds?": float,
    "image_forwards?": COUNT,
    "network_evaluations?": COUNT,
    "mac?": (None, COUNT),
    "saturations?": (None, COUNT),
    **{f"{name}?": COUNT for name in _NUMBERS},
    "saturations_by_place?": {str: COUNT},
    "milestones?": [{"accuracy": float, "step": COUNT, "image_forwards": COUNT, "mac": COUNT, "hours": float}],
    "first_digests?": [str],
    "rtl?": [{"engine": str, "steps": COUNT, "identical": bool}],
    "settings?": {
        "task?": str,
        "model?": dict,
        "recipe?": dict,
        "engine?": {str: int},
        "steps?": POSITIVE,
        "log_every?": POSITIVE,
        "checkpoint_every?": POSITIVE,
        "stencil?": (None, str),
        "phases?": (None, [{"recipe": dict}]),
    },
    "versions?": (None, {str: str}),
}
"""What ``result.json`` may hold, in the terms of :func:`~dither.tools.forms.misfit`."""
_SETTINGS = ("task", "model", "recipe", "engine", "steps", "log_every", "checkpoint_every", "stencil", "phases")


def first_digests(
    experiment: Experiment,
    steps: int = FIRST_STEPS,
    status: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Trains the first steps and returns the digest of all parameters behind each of them.

    :param steps: number of steps; only the first phase's are done.
    :param status: called with what is going on, for people.
    :raises TaskError: if the data cannot be had.
    :raises DeviceError: if the device fails.
    """
    prepared = prepare(experiment, status=status)
    steps = min(steps, experiment.course[0].steps or steps)
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


def write_record(
    run: RunFolder, folder: AnyPath, title: str, group: str, data: AnyPath | None = None
) -> dict[str, Any]:
    """Records a finished run in a folder and returns the content of ``result.json``.

    :param title: one line for people.
    :param group: one of :data:`GROUPS`.
    :param data: the folder of the task's files, for a task that has any.
    :raises RunError: if the run is not finished or lacks something, began with parameters from a
        file, was made by a version that trains otherwise, or is being written.
    """
    folder = Path(folder)
    if group not in GROUPS:
        raise RunError(f"unknown group {group!r}; known: {', '.join(GROUPS)}")
    if folder.resolve() == run.path.resolve():
        raise RunError(f"{folder} is the run itself; give the record a folder of its own")
    try:
        require_folder(folder)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
    with run.reading():
        try:
            return _record(run, folder, title, group, data)
        except (LookupError, ArithmeticError) as error:
            raise RunError(f"{run.path / 'run.json'} lacks what a record needs: {error!r}") from None


def _record(run: RunFolder, folder: Path, title: str, group: str, data: AnyPath | None) -> dict[str, Any]:
    experiment = replace(Experiment.of_run(run, data=data), device="golden")
    description, rows = run.description, run.curve()
    run.require(bool(rows) and rows[-1].step == experiment.steps, "is not finished; resume it first")
    run.require(experiment.parameters is None, "began with parameters from a file, which a record does not hold")
    run.require(not experiment.data_of, "trains on data of several owners, which a record does not hold")
    run.require(not run.description.get("source"), "trains a task of one's own, which a record does not hold")
    first = first_digests(experiment)
    logged = {row.step: row.digest for row in rows}
    good = all(logged.get(step, digest) == digest for step, digest in enumerate(first, start=1))
    run.require(good, "has other parameters behind its first steps than training gives now; make it again")
    last, progress = rows[-1], description["progress"]
    counters = progress["counters"]
    metric = run.metric
    images = metric is ACCURACY
    cycles = all_cycles(counters)
    once = forward_macs(experiment.model)
    places = {name.removeprefix("saturations_"): value for name, value in counters.items() if "saturations" in name}
    result: dict[str, Any] = {
        "title": title,
        "group": group,
        "kind": "engine",
        "task": experiment.task,
        "network": str(experiment.model),
        "command": description["command"],
        "seed": experiment.recipe.seed,
        "test_accuracy" if images else metric.name: last.metric,
        "loss": last.loss,
        "steps": last.step,
        "image_forwards" if images else "network_evaluations": last.forwards,
        "mac": last.macs,
        "mac_per_forward": once,
        "forward_equivalents": round(last.macs / once),
        "saturations": sum(places.values()),
        "saturations_by_place": places,
        "multiplier_utilisation": counters["row_steps"] / (cycles * experiment.engine.rows),
        "cycles": cycles,
        "hours": progress["seconds"] / 3600,
        "parameters": experiment.model.parameter_count,
        "milestones": _milestones(run, progress["seconds"]) if images else [],
        **_equation(experiment),
        "digest": last.digest,
        "first_digests": first,
        "rtl": _kept_checks(folder, first),
        "settings": {name: description.get(name) for name in _SETTINGS},
        "versions": description.get("versions"),
    }
    curve = (run.path / "curve.csv").read_bytes()
    _save(folder, result, {"curve.csv": curve, "curve.svg": _drawn(run, title)})
    return result


def _save(folder: Path, result: Mapping[str, Any], others: Mapping[str, bytes] | None = None) -> None:
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    try:
        make_folders(folder)
        for name, content in {**(others or {}), "result.json": text.encode()}.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}") from None


def _kept_checks(folder: Path, digests: list[str]) -> list[dict[str, Any]]:
    """Returns the checks of a record that is written again, if it begins with the same bits."""
    try:
        before = load_record(folder)
    except RunError:
        return []
    return list(before.get("rtl", ())) if before.get("first_digests") == digests else []


def _equation(experiment: Experiment) -> dict[str, Any]:
    """Returns what else a record says of a differential equation."""
    task = experiment.load()
    if not isinstance(task, EquationTask):
        return {}
    nothing = np.zeros(len(task.test_points))
    return {
        "stencil": task.stencil.name,
        "nodes": task.stencil.nodes,
        "relative_l2_of_zero": task.problem.relative_error(task.test_points, nothing),
    }


def forward_macs(model: Model) -> int:
    """Returns the multiply-accumulates that one sample takes to go through a network.

    Tensor trains are contracted in the compiler's order.
    """
    return sum(plan.macs for plan in plan_layers(model))


def _milestones(run: RunFolder, seconds: float) -> list[dict[str, Any]]:
    """Returns what it took to reach round accuracies for the first time.

    Hours are in proportion to multiply-accumulates.
    """
    rows = run.curve()
    found = []
    for level in MILESTONES:
        row = next((row for row in rows if row.metric >= level), None)
        if row is not None:
            hours = seconds / 3600 * row.macs / max(1, rows[-1].macs)
            found.append(
                {"accuracy": level, "step": row.step, "image_forwards": row.forwards, "mac": row.macs, "hours": hours}
            )
    return found


def _drawn(run: RunFolder, title: str) -> bytes:
    from .plots import learning_curves, save_figure

    picture = io.BytesIO()
    save_figure(learning_curves([(title, run.curve())], run.metric, mark(run.description, run.metric)), picture)
    return picture.getvalue()


def load_record(folder: AnyPath) -> dict[str, Any]:
    """Returns the content of a record's ``result.json``.

    :raises RunError: if there is none, or it is damaged.
    """
    file = Path(folder) / "result.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{folder} holds no recorded result: {error}") from None
    if trouble := misfit(content, _FORM):
        raise RunError(f"{file} is no recorded result: {trouble}")
    return content


@dataclass(frozen=True, slots=True)
class Check:
    """Result of repeating the first steps of a recorded run."""

    recorded: tuple[str, ...]
    """Digests in the record."""
    found: tuple[str, ...]
    """Digests found now, of as many steps as were repeated."""
    engine: EngineConfig
    """Engine that repeated the steps."""

    @property
    def identical(self) -> bool:
        """Whether all digests agree, and there are any."""
        return bool(self.found) and self.found == self.recorded[: len(self.found)]


def recorded_experiment(record: Mapping[str, Any]) -> Experiment:
    """Returns the experiment that a record was made with.

    :raises RunError: if the record lacks something.
    """
    try:
        values = record["settings"]
        return Experiment(
            task=values["task"],
            model=Model.from_dict(values["model"]),
            recipe=Recipe.from_dict(values["recipe"]),
            engine=EngineConfig.from_dict(values["engine"]),
            device="golden",
            steps=values["steps"],
            log_every=values["log_every"],
            checkpoint_every=values["checkpoint_every"],
            stencil=values.get("stencil"),
            phases=tuple(Phase.from_dict(each) for each in values.get("phases") or ()),
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"the record does not describe a run: {error}") from None


def check_record(
    folder: AnyPath,
    device: str = "golden",
    steps: int = FIRST_STEPS,
    status: Callable[[str], None] = lambda text: None,
    engine: EngineConfig | None = None,
    data: AnyPath | None = None,
) -> Check:
    """Repeats a recorded run's first steps and compares their digests.

    :param device: a machine's name.
    :param engine: another geometry than the record's; the bits must be the same.
    :param data: the folder of the task's files, for a task that has any.
    :raises RunError: if the record cannot be read, or holds nothing to repeat.
    :raises TaskError: if the data cannot be had.
    :raises DeviceError: if the device fails.
    :raises ValueError: if the engine does not suit the record.
    """
    record = load_record(folder)
    if not record.get("first_digests"):
        raise RunError(f"{folder} holds no digests of its first steps; record the run again")
    experiment = replace(recorded_experiment(record), device=device, data=None if data is None else Path(data))
    experiment = replace(experiment, engine=engine or experiment.engine)
    found = first_digests(experiment, min(steps, len(record["first_digests"])), status)
    return Check(tuple(record["first_digests"]), tuple(found), experiment.engine)


def add_check(folder: AnyPath, check: Check) -> None:
    """Writes the result of a check on the RTL into the record's ``result.json``.

    It replaces an earlier check on the same engine.

    :raises RunError: if the record cannot be read or written.
    """
    record = load_record(folder)
    name = engine_name(check.engine)
    others = [entry for entry in record.get("rtl", ()) if entry["engine"] != name]
    entry = {"engine": name, "steps": len(check.found), "identical": check.identical}
    _save(Path(folder), record | {"rtl": [*others, entry]})
