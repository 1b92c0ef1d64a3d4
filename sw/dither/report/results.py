"""The page of recorded results: all records of a folder, side by side.

Nothing is written down here but words: every number comes from a record's ``result.json`` or
``curve.csv``.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, TemplateError

from ..recipe import ESTIMATORS
from ..runs import RunError
from ..runs.metrics import ACCURACY, RELATIVE_L2, Metric
from ..tools.files import AnyPath
from .records import FIRST_ORDER, GROUPS, MILESTONES, load_record
from .text import count, thousands
from .yardsticks import Yardstick

__all__ = [
    "BUDGETS",
    "Point",
    "Record",
    "at_cost",
    "best_baseline",
    "load_records",
    "render_results",
    "side_by_side",
    "yardsticks",
]

BUDGETS = {"10⁶": 10**6, "10⁷": 10**7}
"""Numbers of image forwards at which recipes are compared, by their names on the page."""
NETWORK_KEYS = {"test_accuracy": ACCURACY, "relative_l2": RELATIVE_L2}
"""Keys of ``result.json`` that hold a network's final metric, and which metric it is."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a recorded curve."""

    step: int
    """Number of optimiser steps done."""
    forwards: int
    """Number of samples that went through the network so far."""
    macs: int | None
    """Number of multiply-accumulates so far; None for first-order baselines."""
    metric: float
    """Value of the record's metric on held-out data."""
    train_loss: float = math.nan
    """Mean training loss of the steps since the last line; NaN where there was none."""
    loss: float = math.nan
    """Mean loss on held-out data."""


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded result: the contents of a record's folder."""

    name: str
    """Name of the folder."""
    values: Mapping[str, Any]
    """Content of the record's ``result.json``."""
    curve: tuple[Point, ...]
    """Lines of the record's ``curve.csv``."""
    note: str
    """Content of the record's ``note.md``; empty if there is none."""

    @property
    def title(self) -> str:
        """Title of the record, one line for people."""
        return str(self.values.get("title", self.name))

    @property
    def first_order(self) -> bool:
        """Whether back-propagation made it."""
        return self.values.get("kind") == FIRST_ORDER

    @property
    def group(self) -> str:
        """Name of the record's group, one of :data:`~dither.report.records.GROUPS`."""
        return "baseline" if self.first_order else str(self.values["group"])

    @property
    def metric(self) -> Metric:
        """Metric that :attr:`final` is a value of."""
        return next(metric for name, metric in NETWORK_KEYS.items() if name in self.values)

    @property
    def final(self) -> float:
        """Value of the metric after the last step."""
        return float(next(self.values[name] for name in NETWORK_KEYS if name in self.values))

    @property
    def forwards(self) -> int:
        """Number of samples that went through the network in training."""
        return int(self.values.get("image_forwards", self.values.get("network_evaluations", 0)))

    @property
    def recipes(self) -> list[Mapping[str, Any]]:
        """Recipes of all phases, as in ``result.json``."""
        settings = self.values["settings"]
        return [phase["recipe"] for phase in settings.get("phases") or ()] or [settings["recipe"]]

    @property
    def estimator(self) -> str:
        """Names of the estimators of all layers and phases, for people."""
        if self.first_order:
            by = f"; derivatives by {self.values['derivatives']}" if self.metric is RELATIVE_L2 else ""
            return f"{self.values['method']}{by}"
        return " → ".join(_estimator(recipe) for recipe in self.recipes)

    @property
    def batch(self) -> int:
        """Number of samples in an optimiser step."""
        return int(self.values["batch"] if self.first_order else self.recipes[0]["batch"])

    @property
    def hours(self) -> float:
        """Wall time of training in hours."""
        return float(self.values["seconds"] / 3600 if self.first_order else self.values["hours"])

    def text(self, value: float) -> str:
        """Returns a value of the record's metric as people read it."""
        return self.metric.text(value)


def _estimator(recipe: Mapping[str, Any]) -> str:
    """Returns a recipe's estimators by layer and, where they matter, its probes and sides."""
    names = recipe["estimator"] if isinstance(recipe["estimator"], list) else [recipe["estimator"]]
    text = ", ".join(names)
    if not any(ESTIMATORS[name].probes for name in names):
        return text
    probes = recipe["probes"] if isinstance(recipe["probes"], list) else [recipe["probes"]]
    sides = ", two sides" if recipe["sides"] == "two" else ""
    return f"{text} (N = {', '.join(map(str, probes))}{sides})"


def at_cost(curve: Sequence[Point], cost: int, of: str = "forwards") -> Point | None:
    """Returns the last logged point that cost no more than a budget; None if there is none.

    The point before the first step does not count.

    :param of: kind of cost, ``forwards`` or ``macs``.
    """
    return max(
        (point for point in curve if point.step and getattr(point, of) <= cost),
        key=lambda point: point.step,
        default=None,
    )


def _curve(folder: Path) -> tuple[Point, ...]:
    file = folder / "curve.csv"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        name = next((name for name in (ACCURACY.name, RELATIVE_L2.name) if rows and name in rows[0]), "")
        return tuple(
            Point(
                int(row["step"]),
                int(row["forwards"]),
                int(row["macs"]) if "macs" in row else None,
                float(row[name]),
                float(row["train_loss"]),
                float(row["loss"]),
            )
            for row in rows
        )
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {error!r}") from None


def load_records(folder: AnyPath) -> list[Record]:
    """Reads all records directly below a folder, in the order of their groups and names.

    :raises RunError: if one is damaged, belongs to no group, or is a link to somewhere else.
    """
    folder, found = Path(folder), []
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if not (path / "result.json").is_file():
            continue
        note = path / "note.md"
        for file in (path / "result.json", path / "curve.csv", note):
            if not file.resolve().is_relative_to(folder.resolve()):
                raise RunError(f"{file} is a link that leads out of {folder}; put a copy there instead")
        try:
            text = note.read_text("utf-8").strip() if note.is_file() else ""
        except (OSError, ValueError) as error:
            raise RunError(f"{note} cannot be read: {error}") from None
        record = Record(path.name, load_record(path), _curve(path), text)
        if not record.first_order and record.values.get("group") not in GROUPS:
            raise RunError(f"{path} belongs to no group; record it again with --group {'|'.join(GROUPS)}")
        if not any(name in record.values for name in NETWORK_KEYS):
            raise RunError(f"{path / 'result.json'} has neither {' nor '.join(NETWORK_KEYS)}")
        found.append(record)
    return sorted(found, key=lambda record: (GROUPS.index(record.group), record.name))


@dataclass(frozen=True, slots=True)
class Price:
    """Cost at which a record reached an accuracy first."""

    record: Record
    """Record that reached the accuracy."""
    forwards: int
    """Number of samples that had gone through the network."""
    macs: int
    """Number of multiply-accumulates done."""
    equivalents: int
    """Number of forward passes of one sample that take as many multiply-accumulates."""
    hours: float
    """Wall time of training in hours."""


def _prices(records: Iterable[Record], level: float) -> list[Price]:
    """Returns the prices of an accuracy, the cheapest first."""
    found = []
    for record in records:
        for each in record.values.get("milestones", ()):
            if each["accuracy"] == level:
                equivalents = round(each["mac"] / record.values["mac_per_forward"])
                found.append(Price(record, each["image_forwards"], each["mac"], equivalents, each["hours"]))
    return sorted(found, key=lambda price: price.macs)


@dataclass(frozen=True, slots=True)
class Duel:
    """Records of one task, compared at the cost of the cheapest of them."""

    task: str
    """Name of the task that all records have."""
    records: tuple[Record, ...]
    """Records that are compared with each other."""

    @property
    def forwards(self) -> int:
        """The smallest number of sample forwards that one of the records has."""
        return min(record.forwards for record in self.records)

    @property
    def macs(self) -> int:
        """The smallest number of multiply-accumulates that one of the records has."""
        return min(int(record.values["mac"]) for record in self.records)


def _duels(records: Iterable[Record]) -> list[Duel]:
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record.values["task"], []).append(record)
    return [Duel(task, tuple(found)) for task, found in tasks.items()]


def best_baseline(record: Record, records: Iterable[Record]) -> Record | None:
    """Returns the best baseline of a record's network, task and metric, if there is one."""
    same = [
        each
        for each in records
        if each.first_order
        and each.metric is record.metric
        and all(each.values[key] == record.values[key] for key in ("task", "network"))
    ]
    return next(iter(_best_first(same)), None)


def yardsticks(records: Iterable[Record]) -> list[Yardstick]:
    """Returns what reports compare runs with: the best baseline of every network and task."""
    records = list(records)
    best = {found.name: found for record in records if (found := best_baseline(record, records))}
    return [
        Yardstick(record.values["task"], record.values["network"], record.metric.name, record.final, record.name)
        for record in sorted(best.values(), key=lambda record: record.name)
    ]


def side_by_side(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Returns the records of each picture that shows several, the best first, then baselines.

    :returns: by the picture's file name; the same network on MNIST, digits, equations.
    """
    engine = [record for record in records if not record.first_order and any(point.forwards for point in record.curve)]
    images = [record for record in engine if record.group in ("mnist", "published") and record.metric is ACCURACY]
    networks = {(record.values["task"], record.values["network"]) for record in images}
    chosen = {
        "mnist.svg": [each for each in engine if (each.values["task"], each.values["network"]) in networks],
        "hybrid.svg": [each for each in engine if each.group == "hybrid"],
        "equations.svg": [each for each in engine if each.group == "equations"],
    }
    found = {}
    for name, group in chosen.items():
        baselines = {each.name: each for record in group if (each := best_baseline(record, records))}
        if group:
            found[name] = [*_best_first(group), *baselines.values()]
    return found


def _best_first(records: Iterable[Record]) -> list[Record]:
    return sorted(
        records, key=lambda each: (each.metric.name, each.final if each.metric.lower else -each.final, each.name)
    )


def _best_of_tasks(records: Iterable[Record]) -> list[Record]:
    """Returns the best record of each task, in the order of the tasks' first ones."""
    best: dict[str, Record] = {}
    for record in records:
        now = best.setdefault(record.values["task"], record)
        if record.metric is now.metric and record.metric.better(record.final, now.final):
            best[record.values["task"]] = record
    return list(best.values())


def _text(text: str) -> str:
    """Returns any text as it stands in one line of Markdown or a table's cell, without markup."""
    return re.sub(r"[\\`*_\[\]<>|]", r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """Returns text as one line of a code block, which it does not end."""
    return " ".join(text.split()).replace("```", "'''")


def render_results(folder: AnyPath) -> str:
    """Returns the page of recorded results as Markdown.

    :param folder: holds a folder for each record.
    :raises RunError: if a record is damaged or belongs to no group.
    """
    records = load_records(folder)
    environment = Environment(
        loader=PackageLoader("dither.report", "."),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "text": lambda text: thousands(_text(text)), "code": _code, "url": quote}
    template = environment.get_template("results.md")
    try:
        return _rendered(template, records)
    except (TemplateError, LookupError, TypeError, ValueError, ArithmeticError, StopIteration) as error:
        raise RunError(f"a record in {folder} lacks something: {error}; record its run again") from None


def _rendered(template: Template, records: list[Record]) -> str:
    groups = {group: [record for record in records if record.group == group] for group in GROUPS}
    engine = [record for record in records if not record.first_order]
    digits = [record for record in (*groups["mnist"], *groups["published"]) if record.metric is ACCURACY]
    return template.render(
        records=records,
        engine=engine,
        groups=groups,
        mnist=_best_first(digits),
        equations=_best_first(groups["equations"]),
        baselines=_best_first(groups["baseline"]),
        **{
            name: [(record, best_baseline(record, records)) for record in _best_first(groups[name])]
            for name in ("projection", "tasks")
        },
        yardsticks={record.name: best_baseline(record, records) for record in engine},
        prices=[(level, _prices(digits, level)) for level in MILESTONES],
        budgets=BUDGETS,
        duels=_duels(groups["hybrid"]),
        at_cost=at_cost,
        best=[(record, best_baseline(record, records)) for record in _best_of_tasks(engine)],
    )
