"""Display of a run's progress: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..train.loop import Progress as Standing

__all__ = ["Display"]

LINE_SECONDS = 10.0
"""Least seconds between two lines without a terminal; the end always has one."""


class Display:
    """Shows the progress of a training run; a context manager.

    :param console: where to show it; it decides whether there is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._last_line = time.monotonic()
        self._rate: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self.console, transient=True, expand=True)
            self._bar.add_task("training", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, standing: Standing) -> None:
        """Takes note of a run's progress and shows it."""
        now = time.monotonic()
        first = self._rate is None
        row, metric, speed = standing.row, standing.metric, self._speed(now, standing.forwards)
        figure = f"{metric.title} {metric.text(row.metric)}"
        text = f"step {standing.step}/{standing.steps}  loss {row.loss:.4f}  {figure}  {speed}"
        if self._bar is not None:
            bar, task = self._bar, self._bar.task_ids[0]
            if first:
                # Steps done before a resumption must not count for the speed of this session.
                bar.reset(task, total=standing.steps, completed=standing.step)
            bar.update(task, description=text, completed=standing.step)
        elif now - self._last_line >= LINE_SECONDS or standing.step == standing.steps:
            self._last_line = now
            self.console.print(text.rstrip(), highlight=False)

    def _speed(self, now: float, forwards: int) -> str:
        """Returns the sample forwards per second since the first call, in words."""
        if self._rate is None:
            self._rate = (now, forwards)
        begun, before = self._rate
        if now <= begun:
            return ""
        speed = (forwards - before) / (now - begun)
        return f"{speed / 1000:.1f} k forwards/s" if speed >= 1000 else f"{speed:.0f} forwards/s"
