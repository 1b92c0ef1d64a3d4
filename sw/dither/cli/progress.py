"""What long work tells people: how far it is, how long it takes, and what to do about that."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..report.text import duration
from ..train.loop import Progress as Standing

__all__ = ["LINE_SECONDS", "LONG", "Display", "announce", "interruptions", "telling"]

LONG = 120.0
"""Seconds beyond which work says beforehand how long it takes."""

ANNOUNCE_SECONDS = 1.0
"""Seconds of training by which its length is judged, or one chunk if that takes longer."""
LINE_SECONDS = 10.0
"""Least seconds between two lines without a terminal; the end always has one."""


@contextmanager
def interruptions(says: str) -> Iterator[list[int]]:
    """Collects the first Ctrl-C, which ends work in its own time, and lets the second one through.

    :param says: what the first one tells people, a few words.
    """
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        print(f"\ndither: {says}", file=sys.stderr)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def announce(console: Console, seconds: float, shorter: str) -> None:
    """Says how long work takes and how to make it short, if it takes longer than :data:`LONG`.

    :param shorter: what makes it short, as an advice.
    """
    if seconds > LONG:
        console.print(f"this takes about {duration(seconds)}; {escape(shorter)}", highlight=False)


@contextmanager
def telling(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Shows what is going on, a spinner in a terminal and a line for each change elsewhere.

    :param text: what is going on at first; no line of its own elsewhere.
    """
    last = text

    def tell(text: str) -> None:
        nonlocal last
        if text == last:
            return
        last = text
        if console.is_terminal:
            status.update(escape(text))
        else:
            console.print(escape(text), highlight=False)

    with console.status(escape(text)) as status:
        yield tell


class Display:
    """Shows the progress of a training run; a context manager.

    :param console: where to show it; it decides whether there is a terminal.
    :param begun: step that training begins with, other than 0 after a resumption.
    """

    def __init__(self, console: Console, begun: int = 0) -> None:
        self.console = console
        self._begun = begun
        self._entered = time.monotonic()
        self._announced = False
        self._bar: Progress | None = None
        self._last_line = time.monotonic()
        self._rate: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._entered = time.monotonic()
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
        at = "" if row.step == standing.step else f" at step {row.step}"
        left = self._left(now, standing)
        text = f"step {standing.step}/{standing.steps}  loss {standing.train_loss:.4f}  {figure}{at}  {speed}"
        if not self._announced and now - self._entered > ANNOUNCE_SECONDS:
            self._announced = True
            few = max(1, round((standing.step - self._begun) * LONG / (now - self._entered)))
            shorter = f"--steps {self._begun + few} takes two minutes; Ctrl-C loses nothing, --resume goes on"
            announce(self.console, left, shorter)
        if self._bar is not None:
            bar, task = self._bar, self._bar.task_ids[0]
            if first:
                # Steps done before a resumption must not count for the speed of this session.
                bar.reset(task, total=standing.steps, completed=standing.step)
            bar.update(task, description=text, completed=standing.step)
        elif now - self._last_line >= LINE_SECONDS or standing.step == standing.steps:
            self._last_line = now
            more = f"  {duration(left)} left" if standing.step < standing.steps else ""
            self.console.print(f"{text.rstrip()}{more}", highlight=False)

    def _left(self, now: float, standing: Standing) -> float:
        """Returns about how many seconds the rest takes, at the speed since training began."""
        return (now - self._entered) / (standing.step - self._begun) * (standing.steps - standing.step)

    def _speed(self, now: float, forwards: int) -> str:
        """Returns the sample forwards per second since the first call, in words."""
        if self._rate is None:
            self._rate = (now, forwards)
        begun, before = self._rate
        if now <= begun:
            return ""
        speed = (forwards - before) / (now - begun)
        return f"{speed / 1000:.1f} k forwards/s" if speed >= 1000 else f"{speed:.0f} forwards/s"
