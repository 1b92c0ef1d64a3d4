"""A run's report: one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateError
from markupsafe import Markup

from ..runs import RunError, RunFolder
from ..tools.files import AnyPath, write_atomically
from .facts import collect
from .pages import render
from .plots import inline_svg, panels
from .yardsticks import mark

__all__ = ["render_report", "write_report"]


def render_report(run: RunFolder, refresh: int | None = None) -> str:
    """Returns a run's report as HTML: styles and plots inside, no links to anything outside.

    :param refresh: seconds after which browsers show the page anew; None if it will not change.
    :raises RunError: if the run's files are missing or damaged, or nothing has been logged yet.
    """
    facts = collect(run)
    try:
        loss, metric = panels(facts.rows, facts.metric, mark(facts.description, facts.metric))
        curves = inline_svg(loss, "loss over steps"), inline_svg(metric, f"{facts.metric.title} over steps")
        return render("page.html", facts=facts, curves=[Markup(curve) for curve in curves], refresh=refresh)
    except (TemplateError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise RunError(f"{run.path} has a run.json that this version cannot report on ({error})") from None


def write_report(run: RunFolder, out: AnyPath | None = None, refresh: int | None = None) -> Path:
    """Writes a run's report and returns its path, by default ``report.html`` in the folder.

    :param refresh: as of :func:`render_report`.
    :raises RunError: as :func:`render_report`, or if the file cannot be written.
    """
    path = Path(out or run.path / "report.html")
    text = render_report(run, refresh)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another --out") from None
    return path
