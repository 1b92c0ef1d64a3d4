"""Learning curves, as figures for files and as inline SVG that follows the page's colours.

Matplotlib takes a second to import, so only functions that draw import it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..runs import CurveRow
from ..runs.metrics import ACCURACY, Metric
from ..tools.files import AnyPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["inline_svg", "learning_curves", "save_figure"]

INK, FAINT = "#1a1b26", "#c8c9d1"
SERIES = ("#2f5fd0", "#d0602f")
"""Colours of the first and the second run; on the page each stands for a style-sheet variable."""
_VARIABLES = {INK: "--ink", FAINT: "--rule", SERIES[0]: "--blue", SERIES[1]: "--orange"}
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


def _style() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    settings: Any = _STYLE  # matplotlib types the keys one by one
    return rc_context(settings)


def learning_curves(runs: Sequence[tuple[str, Sequence[CurveRow]]], metric: Metric = ACCURACY) -> Figure:
    """Draws loss and metric over steps, side by side, for one or two runs.

    :param runs: a label and the logged rows of each; training losses are drawn thin.
    :param metric: what the rows' metric is; errors are drawn on logarithmic axes.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    with _style():
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        losses, metrics = figure.subplots(1, 2)
        for number, (label, rows) in enumerate(runs):
            color = SERIES[number % len(SERIES)]
            # The second run is dashed: where runs are identical both stay visible.
            style = "-" if number == 0 else (0, (4, 3))
            steps = [row.step for row in rows]
            losses.plot(
                steps, [row.train_loss for row in rows], color=color, linewidth=0.8, alpha=0.45, linestyle=style
            )
            losses.plot(steps, [row.loss for row in rows], color=color, label=label, linestyle=style)
            metrics.plot(steps, [row.metric for row in rows], color=color, label=label, linestyle=style)
        _finish(losses, "Loss on held-out data (thin: training)", [row.loss for _, rows in runs for row in rows])
        title = f"{metric.title[0].upper()}{metric.title[1:]} on held-out data"
        _finish(metrics, title, [])
        if metric.lower:
            for axes in (losses, metrics):
                axes.set_yscale("log")
        else:
            metrics.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            metrics.set_ylim(0, 1)
        if len(runs) > 1:
            metrics.legend(loc="upper right" if metric.lower else "lower right")
    return figure


def _finish(axes: Axes, title: str, positive: list[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(length=0)
    axes.set_axisbelow(True)
    if positive and min(positive) >= 0:
        axes.set_ylim(bottom=0)


def save_figure(figure: Figure, path: AnyPath) -> None:
    """Writes a figure as the kind of file that its name says (.png, .svg, .pdf).

    :raises ValueError: on a suffix that is no picture's.
    :raises OSError: if the file cannot be written.
    """
    with _style():
        figure.savefig(path, dpi=160)


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
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()
