"""A sweep's page: the front to point at, all trials as lines, and what mattered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..report.pages import render
from ..runs.metrics import Metric
from ..tools.files import write_atomically
from .analysis import importance
from .course import Sweep
from .plan import OBJECTIVES, Plan

__all__ = ["write_page"]


def write_page(sweep: Sweep) -> Path:
    """Writes ``report.html`` into a sweep's folder and returns its path.

    The page needs nothing else: no network, no other file.
    """
    path, rows = sweep.folder / "report.html", sweep.rows()
    titles = _titles(sweep.plan, sweep.metric)
    choices = [choice.name for choice in sweep.plan.varied]
    shown = [row for row in rows if row["state"] in ("done", "stopped", "dominated") and row["trained"]]
    data = {
        "rows": [{**row, "front": bool(row["front"])} for row in shown],
        "choices": choices,
        "objectives": list(sweep.plan.objectives),
        "titles": titles,
        "more": {name: _more(name, sweep.metric) for name in titles},
    }
    states = {
        state: sum(row["state"] == state for row in rows) for state in dict.fromkeys(row["state"] for row in rows)
    }
    text = render(
        "sweep.html",
        package="dither.sweep",
        name=sweep.folder.name,
        plan=sweep.plan,
        titles=titles,
        choices=choices,
        front=[row for row in rows if row["front"]],
        states=states,
        trainings=len({row["run"] for row in rows if row["run"]}),
        trials=len(rows),
        importance=_importance(sweep, choices),
        refused=[row for row in rows if row["state"] == "does not fit"],
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )
    write_atomically(path, text.encode())
    return path


def _titles(plan: Plan, metric: Metric) -> dict[str, str]:
    found = {name: OBJECTIVES[name].title for name in plan.objectives}
    return found | ({"merit": metric.title} if "merit" in found else {})


def _more(name: str, metric: Metric) -> bool:
    return not metric.lower if name == "merit" else OBJECTIVES[name].more


def _importance(sweep: Sweep, choices: Sequence[str]) -> dict[str, dict[str, float]]:
    """By objective and choice, over all trials whose training came to its end."""
    done = [trial for trial in sweep.trials if trial.rows and trial.rows[-1].step >= sweep.plan.steps]
    found: dict[str, dict[str, float]] = {}
    for name in sweep.plan.objectives:
        pairs: list[tuple[Any, float]] = []
        for trial in done:
            value = trial.figures(sweep.plan, sweep.metric)[name]
            if value is not None:
                pairs.append((trial.values, float(value)))
        if len(pairs) > 2:
            found[name] = importance([values for values, _ in pairs], [value for _, value in pairs], choices)
    return found
