"""Learning curves, as figures for files and as inline SVG that follows the page's colours.

Matplotlib takes a second to import, so only functions that draw import it.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..runs.metrics import ACCURACY, Metric
from ..tools.files import AnyPath
from .colors import KINDS
from .text import count, number, power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "Mark", "Row", "comparison", "cost_curves", "inline_svg", "learning_curves", "panels", "save_figure"]

INK, FAINT, SOFT = "#1a1b26", "#c8c9d1", "#63656f"
SERIES = ("#2f5fd0", "#d0602f")
"""Colours of the first and the second run; on the page each stands for a style-sheet variable."""
_VARIABLES = {
    INK: "--ink",
    FAINT: "--rule",
    SOFT: "--soft",
    SERIES[0]: "--blue",
    SERIES[1]: "--orange",
    **{color: f"--c{number}" for number, color in enumerate(KINDS)},
}
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dither",
}
_NEAR = 0.9
"""Accuracy from which on the share of errors says more than the accuracy does."""
_FEW = 12
"""Number of points up to which each of them is marked."""


class Row(Protocol):
    """What is drawn of one logged step, be it of the engine's run or of a baseline."""

    @property
    def step(self) -> int:
        """Number of optimiser steps done."""

    @property
    def train_loss(self) -> float:
        """Mean loss of the steps since the last row; NaN where there was none."""

    @property
    def loss(self) -> float:
        """Mean loss on held-out data."""

    @property
    def metric(self) -> float:
        """Figure of merit on held-out data."""


Run = tuple[str, Sequence[Row]]
"""A run's label and its logged rows."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value to compare a curve with, drawn as a line across the panel."""

    label: str
    """Words that say what reached the value."""
    value: float
    """Value of the metric."""


@dataclass(frozen=True, slots=True)
class Line:
    """An experiment in a picture that sets experiments side by side by what they cost."""

    label: str
    """Name of the experiment, as the legend has it."""
    curves: Sequence[Sequence[tuple[int, float]]]
    """Each of its runs' points: cost, and value of the metric at it."""
    rival: str | None = None
    """Label of the experiment that it is a yardstick for, whose colour it then has, but dashed; it
    is grey where it is the only yardstick. None of experiments themselves.
    """


@dataclass(frozen=True, slots=True)
class _View:
    """How a metric is drawn: as it is, or as the share of errors where that says more."""

    title: str
    value: Callable[[float], float]
    percent: bool
    logarithmic: bool

    @classmethod
    def of(cls, metric: Metric, values: Iterable[float]) -> _View:
        if metric.lower:
            return cls(metric.title, lambda value: value, False, True)
        if max(values, default=0.0) >= _NEAR:
            return cls("errors", lambda value: 1 - value, True, True)
        return cls(metric.title, lambda value: value, True, False)

    @property
    def heading(self) -> str:
        return f"{self.title[0].upper()}{self.title[1:]} on held-out data"


def _style() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    settings: Any = _STYLE  # matplotlib types the keys one by one
    return rc_context(settings)


def panels(rows: Sequence[Row], metric: Metric, mark: Mark | None = None) -> tuple[Figure, Figure]:
    """Draws what :func:`learning_curves` does as two figures, for pages that put them as they fit.

    :param rows: the logged rows of one run.
    """
    from matplotlib.figure import Figure

    with _style():
        losses, metrics = (Figure(figsize=(4.6, 3.4), layout="constrained") for _ in range(2))
        _losses(losses.subplots(), [("", rows)], metric)
        _metrics(metrics.subplots(), [("", rows)], metric, mark)
    return losses, metrics


def learning_curves(runs: Sequence[Run], metric: Metric = ACCURACY, mark: Mark | None = None) -> Figure:
    """Draws loss and metric over steps, side by side, for one or two runs.

    :param runs: a label and the logged rows of each; training losses are drawn thin.
    :param metric: what the rows' metric is. Errors are drawn on a logarithmic axis; accuracies that
        come near 100 % as the share of errors, on such an axis too.
    :param mark: a value of the metric to compare with.
    """
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        losses, metrics = figure.subplots(1, 2)
        _losses(losses, runs, metric)
        _metrics(metrics, runs, metric, mark)
    return figure


def comparison(first: Run, second: Run, metric: Metric = ACCURACY) -> Figure:
    """Draws two runs' curves as :func:`learning_curves` does, and their differences below.

    Differences are the second run's values less the first's, at the steps that both have.
    """
    from matplotlib.figure import Figure

    runs, theirs = (first, second), {row.step: row for row in second[1]}
    pairs = [(row, theirs[row.step]) for row in first[1] if row.step in theirs]
    steps = [row.step for row, _ in pairs]
    with _style():
        figure = Figure(figsize=(9.2, 5.2), layout="constrained")
        (losses, metrics), (of_loss, of_metric) = figure.subplots(2, 2, height_ratios=(3, 1.3), sharex="col")
        _losses(losses, runs, metric)
        view = _metrics(metrics, runs, metric, None)
        _difference(of_loss, steps, [b.loss - a.loss for a, b in pairs], percent=False)
        between = [view.value(b.metric) - view.value(a.metric) for a, b in pairs]
        _difference(of_metric, steps, between, percent=view.percent)
    return figure


def cost_curves(lines: Sequence[Line], metric: Metric, unit: str) -> Figure:
    """Draws a metric over its cost on logarithmic axes, one line for each experiment.

    :param unit: what is counted as cost.
    """
    from matplotlib.figure import Figure

    points = [point for line in lines for curve in line.curves for point in curve if point[0]]
    view = _View.of(metric, [value for _, value in points])
    colors = dict(zip((line.label for line in lines if line.rival is None), KINDS, strict=False))
    alone = sum(line.rival is not None for line in lines) == 1
    with _style():
        figure = Figure(figsize=(9.2, 4.0 + 0.2 * len(lines)), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            look: dict[str, Any] = {"color": SOFT if line.rival and alone else colors[line.rival or line.label]}
            if line.rival:
                look |= {"linestyle": (0, (4, 3)), "linewidth": 1.2, "marker": ""}
            for number, curve in enumerate(line.curves):
                drawn = [(cost, view.value(value)) for cost, value in curve if cost]
                label = "_" if number else _plain(line.label)  # The legend has an experiment once.
                axes.plot(*zip(*drawn, strict=True), label=label, **_marked(drawn) | look)
        _frame(axes, view.heading)
        axes.set_xlabel(unit)
        axes.set_xscale("log")
        _logarithmic(axes.xaxis, [cost for cost, _ in points], _power)
        _scale(axes, [view.value(value) for _, value in points], view.percent, view.logarithmic)
        long = max(len(line.label) for line in lines) > 52
        figure.legend(loc="outside lower left", ncols=1 if long else 2, fontsize=9)
    return figure


def _losses(axes: Axes, runs: Sequence[Run], metric: Metric) -> None:
    """Draws losses: on a logarithmic axis for equations, and where they fall by a decade."""
    for (name, rows), look in zip(runs, _looks(), strict=False):
        steps = [row.step for row in rows]
        axes.plot(steps, [row.train_loss for row in rows], **look | {"linewidth": 0.8, "alpha": 0.55})
        axes.plot(steps, [row.loss for row in rows], label=_plain(name), **_marked(rows), **look)
    _frame(axes, "Loss on held-out data (thin: training)")
    seen = [value for _, rows in runs for row in rows for value in (row.loss, row.train_loss) if math.isfinite(value)]
    positive = [value for value in seen if value > 0]
    falls = bool(positive) and max(positive) > 10 * min(positive)
    _scale(axes, seen, percent=False, logarithmic=metric.lower or falls)


def _metrics(axes: Axes, runs: Sequence[Run], metric: Metric, mark: Mark | None) -> _View:
    seen = [row.metric for _, rows in runs for row in rows] + ([mark.value] if mark else [])
    view = _View.of(metric, seen)
    for (name, rows), look in zip(runs, _looks(), strict=False):
        axes.plot(
            [row.step for row in rows],
            [view.value(row.metric) for row in rows],
            label=_plain(name) if len(runs) > 1 else "",
            **_marked(rows),
            **look,
        )
    _frame(axes, view.heading)
    _scale(axes, [view.value(value) for value in seen], view.percent, view.logarithmic)
    if mark:
        height = view.value(mark.value)
        label = f"{_plain(mark.label)}, {_formatter(view.percent)(height, None)}"
        axes.axhline(height, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)), label=label)
    if mark or len(runs) > 1:
        axes.legend(loc="upper right" if metric.lower or view.logarithmic else "lower right")
    return view


def _difference(axes: Axes, steps: list[int], values: list[float], percent: bool) -> None:
    """Draws what the second run has more than the first, about zero."""
    from matplotlib.ticker import MaxNLocator

    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.plot(steps, values, color=INK, **_marked(values))
    _frame(axes, "Second less first")
    farthest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    axes.set_ylim(*((-1.15 * farthest, 1.15 * farthest) if farthest else (-1, 1)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(_formatter(percent))
    if not farthest:
        axes.set_yticks([0])
        words = "equal at every step that both have" if values else "no step that both have"
        axes.annotate(words, (0.5, 0.75), xycoords="axes fraction", ha="center", va="center", color=SOFT, fontsize=9)


def _looks() -> list[dict[str, Any]]:
    # The second run is dashed: where runs are identical both stay visible.
    return [{"color": color, "linestyle": style} for color, style in zip(SERIES, ("-", (0, (4, 3))), strict=True)]


def _marked(points: Sequence[object]) -> dict[str, Any]:
    """Returns what marks the points of a curve that has but a few."""
    return {"marker": "o", "markersize": 3.5} if len(points) <= _FEW else {}


def _plain(label: str) -> str:
    return label.replace("$", r"\$")  # Not a formula.


def _frame(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    # Of panels that share their steps, only the lowest says so.
    place = axes.get_subplotspec()
    if place is None or place.is_last_row():
        axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: count(round(value)))
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def _scale(axes: Axes, values: Sequence[float], percent: bool, logarithmic: bool) -> None:
    """Chooses the vertical axis for the values on it: from zero, or logarithmic."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if logarithmic and positive:
        axes.set_yscale("log", nonpositive="clip")
        _logarithmic(axes.yaxis, positive, _formatter(percent))
        # What is exactly zero goes to the lower edge, which then is not the least value's.
        below = 2.0 if min(values) <= 0 else 1.15
        axes.set_ylim(min(positive) / below, max(positive) * 1.15)
        return
    axes.yaxis.set_major_formatter(_formatter(percent))
    if values and min(values) >= 0:
        axes.set_ylim(bottom=0)


def _logarithmic(axis: Any, values: Sequence[float], form: Callable[[float, object], str]) -> None:
    """Puts ticks on a logarithmic axis: few, and each with its number."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    ratio = max(values) / min(values)
    fine = LogLocator(subs=(1, 2, 5)) if ratio < 300 else LogLocator()
    axis.set_major_locator(MaxNLocator(5) if ratio < 4 else fine)
    axis.set_major_formatter(form)
    axis.set_minor_locator(NullLocator())


def _formatter(percent: bool) -> Callable[[float, object], str]:
    if percent:
        return lambda value, _: f"{100 * value:.3g}%".replace("-", "−")
    return lambda value, _: number(value)


def _power(value: float, _: object = None) -> str:
    if value <= 0:
        return ""
    exponent = math.floor(math.log10(value) + 1e-9)
    digit = round(value / 10.0**exponent)
    return power_of_ten(exponent) if digit == 1 else f"{digit} × {power_of_ten(exponent)}"


def save_figure(figure: Figure, path: AnyPath | IO[bytes]) -> None:
    """Writes a figure as the kind of file that its name says (.png, .svg, .pdf).

    An open file gets SVG. The same figure gives the same SVG on any day.

    :raises ValueError: on a suffix that is no picture's.
    :raises OSError: if the file cannot be written.
    """
    svg = not isinstance(path, (str, os.PathLike)) or Path(path).suffix == ".svg"
    with _style():
        figure.savefig(path, dpi=160, format="svg" if svg else None, metadata={"Date": None} if svg else None)


def inline_svg(figure: Figure, label: str) -> str:
    """Returns a figure as an SVG element for an HTML page.

    Nothing in it refers to anything outside; its colours are the page's variables, its text the
    page's font.

    :param label: what the figure shows, for readers who cannot see it.
    """
    buffer = io.StringIO()
    with _style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:\w+)?|width|height)="[^"]*"', "", text[: text.index(">")]) + text[text.index(">") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # Two figures on a page would have the same.
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()
