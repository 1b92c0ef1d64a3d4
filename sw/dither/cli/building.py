"""Display of a build's progress: live lines in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..report.text import duration

__all__ = ["BuildDisplay"]

_DONE = Text("✓", style="green")
LINE_SECONDS = 30.0
"""Least seconds between two lines about one tool, without a terminal.

A tool's beginning and end always have a line.
"""


class Standing(Protocol):
    """State of one of several tasks of a build, as :class:`dither_hw.build.Standing`."""

    @property
    def task(self) -> str:
        """Name of the task."""

    @property
    def text(self) -> str:
        """What the task is doing, for people."""

    @property
    def seconds(self) -> float:
        """Seconds since the task began."""

    @property
    def done(self) -> bool:
        """Whether the task has ended."""


@dataclass(slots=True)
class _Line:
    begun: float
    text: str = ""
    took: float | None = None
    """Seconds that the task took, once it is done."""
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))
    told: float = float("-inf")
    """Time at which the line was last printed, without a terminal."""


class BuildDisplay:
    """Shows what a build's tools are doing; a context manager that takes news from any thread.

    :param console: where to show it; it decides whether there is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def listen(self, standing: Standing) -> None:
        """Takes note of a task's state and shows it."""
        now = time.monotonic()
        with self._lock:
            line = self._lines.setdefault(standing.task, _Line(now - standing.seconds))
            line.text, line.took = standing.text, standing.seconds if standing.done else None
            if not self.console.is_terminal and (standing.done or now - line.told >= LINE_SECONDS):
                line.told = now
                took = f"  {duration(standing.seconds)}" if standing.seconds >= 0.1 else ""
                self.console.print(f"{standing.task}: {standing.text}{took}", highlight=False)

    def _table(self) -> Table:
        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for task, line in self._lines.items():
                sign, seconds = (line.spinner, now - line.begun) if line.took is None else (_DONE, line.took)
                table.add_row(sign, task, line.text, duration(seconds))
        return table
