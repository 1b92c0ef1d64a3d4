"""Yardsticks: what back-propagation reaches with the same network on the same task.

They are part of the package, so that a report has them wherever it is made; ``dither results
--yardsticks`` takes them from the recorded first-order baselines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..nn.models import Model
from ..runs.metrics import Metric
from .plots import Mark

__all__ = ["BACK_PROPAGATION", "FILE", "Yardstick", "mark", "render_yardsticks", "yardstick"]

BACK_PROPAGATION = "back-propagation"
"""What pictures call the yardstick."""
FILE = "yardsticks.json"
"""Name of the file, beside this module."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The best recorded result of back-propagation for one network and task."""

    task: str
    """Name of the task."""
    network: str
    """Network as text, as ``str`` gives of a model."""
    metric: str
    """Name of the metric."""
    value: float
    """Value of the metric after the last step."""
    record: str
    """Name of the record."""


@cache
def _all() -> tuple[Yardstick, ...]:
    return tuple(Yardstick(**each) for each in json.loads(files(__package__).joinpath(FILE).read_text("utf-8")))


def yardstick(description: Mapping[str, Any], metric: Metric) -> Yardstick | None:
    """Returns the yardstick for a run or a record, or None if there is none.

    :param description: what holds ``task`` and ``model``, such as a ``run.json``.
    """
    model = description.get("model")
    wanted = description.get("task"), str(Model.from_dict(model)) if model else None, metric.name
    return next((each for each in _all() if (each.task, each.network, each.metric) == wanted), None)


def mark(description: Mapping[str, Any], metric: Metric) -> Mark | None:
    """Returns the yardstick of a run or a record as pictures of its curve show it.

    :param description: as of :func:`yardstick`.
    """
    best = yardstick(description, metric)
    return Mark(BACK_PROPAGATION, best.value) if best else None


def render_yardsticks(found: Iterable[Yardstick]) -> str:
    """Returns the text of :data:`FILE`."""
    return json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False) + "\n"
