"""Accuracies that were reached before: recorded results in short, as the package carries them.

``dither results`` writes the file; the package has it as ``records.json``.
"""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ..nn.models import Model
from ..recipe.phases import Phase
from ..recipe.recipe import Recipe
from ..report.results import load_records
from ..runs.metrics import METRICS, Metric
from ..tools.files import AnyPath
from ..train.experiment import Experiment

__all__ = ["FILE", "Known", "known_results", "plain_options", "recording", "summary"]

FILE = "records.json"
"""Name of the file, in a folder of records and in this package."""
_NOT_COMPARED = ("seed",)
"""Fields of a recipe that make no other recipe."""
_NO_RECIPE = ("--device", "--engine", "--board", "--log-every")
"""Options of a recorded command that change nothing of what is learned."""
_NUMERICS = ("width", "table_bits")


@dataclass(frozen=True, slots=True)
class Known:
    """One recorded result, as far as it says what a training reaches."""

    name: str
    """Name of the record's folder."""
    title: str
    """One line for people."""
    task: str
    """Name of the task."""
    stencil: str | None
    """Name of the stencil; None for the task's own."""
    options: tuple[str, ...]
    """Words behind ``dither train`` that make the same run again, on any engine."""
    model: Model
    """Model that was trained."""
    phases: tuple[Phase, ...]
    """Recipes of all phases, one at least."""
    numerics: tuple[int, ...]
    """Width and binary logarithm of table segments of the engine."""
    steps: int
    """Number of steps of the whole run."""
    metric: Metric
    """Figure of merit that the curve has values of."""
    curve: tuple[tuple[int, float], ...]
    """Steps and values of the metric on held-out data."""

    @property
    def final(self) -> float:
        """Value of the metric after the last step."""
        return self.curve[-1][1]

    def first(self, level: float) -> int | None:
        """Returns the first logged step at which the metric was at least as good as ``level``."""
        lower = self.metric.lower
        return next((step for step, value in self.curve if (value <= level if lower else value >= level)), None)

    def settles(self, experiment: Experiment) -> bool:
        """Whether the record tells what an experiment reaches: all is the same but the seed."""
        return (
            self.alike(experiment)
            and self.model == experiment.model
            and [_plain(phase) for phase in self.phases] == [_plain(phase) for phase in experiment.course]
        )

    def alike(self, experiment: Experiment) -> bool:
        """Whether task, derivatives and number formats are an experiment's."""
        numerics = tuple(getattr(experiment.engine, name) for name in _NUMERICS)
        return (self.task, self.stencil, self.numerics) == (experiment.task, experiment.stencil, numerics)


def _plain(phase: Phase) -> dict[str, Any]:
    values = phase.to_dict()
    return values | {"recipe": {name: each for name, each in values["recipe"].items() if name not in _NOT_COMPARED}}


def summary(folder: AnyPath) -> str:
    """Returns the text of :data:`FILE` for a folder of records.

    :raises RunError: if a record is damaged.
    """
    kept = []
    for record in load_records(folder):
        if record.first_order or record.values.get("settings") is None:
            continue
        settings = record.values["settings"]
        kept.append(
            {
                "name": record.name,
                "title": record.title,
                "metric": record.metric.name,
                "curve": [[point.step, round(point.metric, 6)] for point in record.curve],
                **{name: settings.get(name) for name in ("task", "stencil", "model", "steps")},
                "options": plain_options(record.values.get("command", "")),
                "phases": settings.get("phases") or [Phase(Recipe.from_dict(settings["recipe"])).to_dict()],
                "numerics": [settings["engine"][name] for name in _NUMERICS],
            }
        )
    # A line a record: long enough for a diff to show which one has changed, and no more.
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in kept)
    return f"[\n{lines}\n]\n"


def plain_options(command: str) -> list[str]:
    """Returns a command's words without its name, device, engine and lines of its log."""
    words, kept = iter(shlex.split(command)[2:]), []
    for word in words:
        if word in _NO_RECIPE:
            next(words)
        else:
            kept.append(word)
    return kept


@functools.cache
def known_results() -> tuple[Known, ...]:
    """Returns the recorded results that come with the package."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return tuple(_known(entry) for entry in json.loads(text))


def _known(entry: Mapping[str, Any]) -> Known:
    phases = tuple(Phase.from_dict(phase) for phase in entry["phases"])
    return Known(
        name=entry["name"],
        title=entry["title"],
        task=entry["task"],
        stencil=entry["stencil"],
        options=tuple(entry["options"]),
        model=Model.from_dict(entry["model"]),
        phases=phases,
        numerics=tuple(entry["numerics"]),
        steps=entry["steps"],
        metric=METRICS[entry["metric"]],
        curve=tuple((step, value) for step, value in entry["curve"]),
    )


def recording(experiment: Experiment) -> Known | None:
    """Returns the recorded result that tells what an experiment reaches; None if there is none.

    Of records that differ in their seeds alone, the one with the middle result stands for them.
    """
    found = sorted((each for each in known_results() if each.settles(experiment)), key=lambda each: each.final)
    return found[len(found) // 2] if found else None
