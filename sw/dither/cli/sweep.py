"""The command ``dither sweep``: many trials, and the best compromises among them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from ..sweep.plan import Plan, SweepError
from . import INTERRUPTED
from .progress import LINE_SECONDS, interruptions
from .values import DASHBOARD

__all__ = ["sweep"]

ENDING = "ending; trainings under way go on where their checkpoints are"
"""What Ctrl-C says at first."""


@click.command(
    epilog="""\b
Examples:
  dither sweep digits.toml                     makes sweeps/digits; the same command goes on after Ctrl-C
  dither sweep digits.toml --workers 4
  dither sweep digits.toml --best              the commands of the best compromises so far
\b
A file:
  task = "digits"
  steps = 400
  objectives = ["merit", "seconds", "multipliers"]
  target = 0.8
  [vary]
  engine = ["1x8", "2x16", "4x32"]
  rate = { from = 0.002, to = 0.05, points = 5, log = true }
  ranks = [2, 3, 4]
""",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: sweeps/FILE's name]")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=os.cpu_count() or 1,
    show_default="one for each processor",
    help="Processes that train; results do not depend on it.",
)
@click.option("--dashboard", is_flag=True, help=DASHBOARD)
@click.option("--best", is_flag=True, help="Print the commands of the best compromises, and do nothing else.")
@click.pass_context
def sweep(context: click.Context, file: Path, out: Path | None, workers: int, dashboard: bool, best: bool) -> None:
    """Try the designs and recipes that FILE describes, and find the best compromises.

    What does not fit an engine, or is trained as another trial that costs less, is never trained;
    trials that differ in geometry alone share one training. In its folder: trials.csv, a run for
    each training, records that dither repeat repeats, and report.html.
    """
    folder = out or Path("sweeps", file.stem)
    try:
        if best:
            _print_best(folder)
            return
        plan = Plan.read(file)
        from ..sweep.course import Sweep
        from ..sweep.page import write_page

        console = Console(soft_wrap=True, highlight=False)
        with interruptions(ENDING) as interrupted, _Display(console) as display:
            tell = (lambda page: console.print(f"dashboard: {page}")) if dashboard else None
            course = Sweep(plan, folder, workers, display.show, lambda: bool(interrupted), tell)
            finished = course.run()
            page = write_page(course)
    except SweepError as error:
        raise click.UsageError(str(error)) from None
    if not finished:
        print(f"dither: interrupted; go on with: dither sweep {file}", file=sys.stderr)
        context.exit(INTERRUPTED)
    states = [trial.state for trial in course.trials]
    said = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"[bold green]done[/]: {len(states)} trials ({said}), {len(course.front())} on the front")
    console.print(f"report: {escape(str(page))}")


def _print_best(folder: Path) -> None:
    from ..sweep.course import load_rows

    rows = [row for row in load_rows(folder) if row["front"] == "True"]
    if not rows:
        raise SweepError(f"no trial of {folder} has all objectives yet; let the sweep go on")
    for row in rows:
        print(row["command"])


class _Display:
    """Shows how far a sweep is: a live line in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._last, self._begun = 0.0, (0.0, "")

    def __enter__(self) -> _Display:
        if self.console.is_terminal:
            self._live = Live(console=self.console, transient=True, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, standing: object) -> None:
        """Takes note of how far the sweep is, and shows it."""
        from ..sweep.course import Standing

        assert isinstance(standing, Standing)
        now = time.monotonic()
        if self._begun[1] != standing.doing:
            self._begun = (now, standing.doing)
        left = ""
        if 0 < standing.done < standing.total:
            seconds = (now - self._begun[0]) * (standing.total - standing.done) / standing.done
            left = f" · about {seconds / 60:.0f} min left" if seconds > 90 else f" · about {seconds:.0f} s left"
        best = f" · best {standing.best}" if standing.best else ""
        text = f"{standing.doing}: {standing.done} of {standing.total} done, {standing.running} running{best}{left}"
        if self._live is not None:
            self._live.update(Text(text))
        elif now - self._last >= LINE_SECONDS and standing.total:
            self._last = now
            self.console.print(text)
