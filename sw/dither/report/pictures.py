"""Pictures of the page of recorded results: every record's curves, and records side by side."""

from __future__ import annotations

import io
from pathlib import Path

from ..tools.files import AnyPath
from .plots import Line, Mark, cost_curves, learning_curves, save_figure
from .results import Record, best_baseline, load_records, side_by_side
from .yardsticks import BACK_PROPAGATION

__all__ = ["draw_results"]


def draw_results(folder: AnyPath) -> dict[Path, bytes]:
    """Returns all pictures that the page of results shows, as SVG by their paths.

    :param folder: holds a folder for each record.
    :raises RunError: if a record is damaged or belongs to no group.
    """
    folder, records = Path(folder), load_records(folder)
    figures = {}
    for record in records:
        other = None if record.first_order else best_baseline(record, records)
        mark = Mark(BACK_PROPAGATION, other.final) if other else None
        curves = [(record.title, record.curve)]
        figures[folder / record.name / "curve.svg"] = learning_curves(curves, record.metric, mark)
    for name, chosen in side_by_side(records).items():
        unit = "network evaluations in training" if chosen[0].metric.lower else "sample forwards in training"
        figures[folder / name] = cost_curves(_lines(chosen), chosen[0].metric, unit)
    found = {}
    for path, figure in figures.items():
        picture = io.BytesIO()
        save_figure(figure, picture)
        found[path] = picture.getvalue()
    return found


def _lines(records: list[Record]) -> list[Line]:
    """Returns one line for each experiment; runs that differ by their seeds are one experiment."""
    alike: dict[str, list[Record]] = {}
    for record in records:
        name = f"{BACK_PROPAGATION}, {record.values['task']}" if record.first_order else record.title
        alike.setdefault(name.partition("; seed")[0], []).append(record)
    labels = {name: f"{name}: {', '.join(each.text(each.final) for each in group)}" for name, group in alike.items()}
    of_network: dict[tuple[str, str], str] = {}
    for name, (first, *_) in alike.items():
        of_network.setdefault((first.values["task"], first.values["network"]), labels[name])
    return [
        Line(
            labels[name],
            [[(point.forwards, point.metric) for point in record.curve] for record in group],
            of_network[first.values["task"], first.values["network"]] if first.first_order else None,
        )
        for name, group in alike.items()
        for first in group[:1]
    ]
