"""What the tools are doing, found in their output while they work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Listener", "Standing", "Teller", "nextpnr_phase", "yosys_phase"]

_PHASES = (
    (re.compile(r"Info: (?:Packing|Promoting|Constraining)"), "packing"),
    (re.compile(r"Info: Creating initial analytic placement"), "placing"),
    (re.compile(r"Info: .*wirelen solved = \d+.* legal = (\d+)"), "placing, wires {:,}"),
    (re.compile(r"Info:   at iteration #\d+: .*wirelen = (\d+)"), "refining, wires {:,}"),
    (re.compile(r"Info: Running (?:simulated annealing|SA) "), "refining"),
    (re.compile(r"Info: Routing globals"), "routing clocks"),
    (re.compile(r"Info: (?:Setting up routing queue|Routing \d+ arcs)"), "routing"),
    (re.compile(r"Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)"), "routing, {:,} wires left"),
    (re.compile(r"Info: Routing complete"), "timing"),
)
_YOSYS_PASS = re.compile(r"^\d+(?:\.\d+)*\. Executing (\w+)")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one of several tasks has come."""

    task: str
    """The task's name, such as ``synthesis`` or ``seed 3``."""
    text: str
    """What the task is doing, in a few words."""
    seconds: float
    """Seconds since the task began."""
    done: bool = False


Listener = Callable[[Standing], None]
"""A function that is called with every new standing, from several threads."""


def nextpnr_phase(line: str) -> str | None:
    """Returns what a line of nextpnr's log says about what it is doing; None if nothing."""
    for pattern, text in _PHASES:
        if match := pattern.match(line):
            return text.format(*(int(number) for number in match.groups()))
    return None


def yosys_phase(line: str) -> str | None:
    """Returns the pass that a line of Yosys' log says it executes; None if it says nothing."""
    match = _YOSYS_PASS.match(line)
    return match[1].lower() if match else None


class Teller:
    """Tells a listener about one task, with the time since it began; the same text only once.

    :param phase: returns what a line of the tool's output says about the task.
    """

    def __init__(self, listener: Listener, task: str, phase: Callable[[str], str | None]) -> None:
        self._listener = listener
        self._task = task
        self._phase = phase
        self._begun = time.monotonic()
        self._text = ""
        self.tell("starting")

    @property
    def seconds(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self._begun

    def line(self, line: str) -> None:
        """Reads a line of the tool's output, and tells the listener if it says something new."""
        if text := self._phase(line):
            self.tell(text)

    def tell(self, text: str, done: bool = False) -> None:
        """Tells the listener what the task is doing, unless it knows that already."""
        if text != self._text or done:
            self._text = text
            self._listener(Standing(self._task, text, self.seconds, done))
