"""A run's report: one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ..runs import RunError, RunFolder
from ..tools.files import AnyPath, write_atomically
from .facts import collect
from .pages import render
from .plots import inline_svg, learning_curves

__all__ = ["render_report", "write_report"]


def render_report(run: RunFolder) -> str:
    """Returns a run's report as HTML: styles and plots inside, no links to anything outside.

    :raises RunError: if the run's files are missing or damaged, or nothing has been logged yet.
    """
    facts = collect(run)
    figure = learning_curves([(facts.name, facts.rows)], facts.metric)
    curves = inline_svg(figure, f"loss and {facts.metric.title} over steps")
    return render("page.html", facts=facts, curves=Markup(curves))


def write_report(run: RunFolder, out: AnyPath | None = None) -> Path:
    """Writes a run's report and returns its path, by default ``report.html`` in the folder.

    :raises RunError: as :func:`render_report`, or if the file cannot be written.
    """
    path = Path(out or run.path / "report.html")
    text = render_report(run)
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another --out") from None
    return path
