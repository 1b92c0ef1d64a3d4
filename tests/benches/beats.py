"""A source and a sink of stream beats, with patterns of pauses, and a check of stream rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

__all__ = ["PATTERNS", "Sink", "Source"]

PATTERNS = ("always", "often", "rarely", "bursts", "alternate")
"""Names of the patterns by which a source offers beats or a sink is ready.

A sink also knows ``reluctant``: it becomes ready some cycles after a beat shows.
"""

_RELUCTANCE = 4


def _pattern(name: str, random: Random) -> Iterator[bool]:
    match name:
        case "always":
            while True:
                yield True
        case "often" | "rarely":
            chance = {"often": 0.8, "rarely": 0.15}[name]
            while True:
                yield random.random() < chance
        case "bursts":
            while True:
                for willing in (True, False):
                    for _ in range(random.randint(1, 9)):
                        yield willing
        case "alternate":
            while True:
                yield True
                yield False
        case _:
            raise ValueError(f"unknown pattern {name!r}")


class Source:
    """Sends beats into the component's stream ``name``; between them the payload is noise.

    :param pattern: one of :data:`PATTERNS`.
    """

    def __init__(self, dut: Any, name: str, pattern: str, random: Random) -> None:
        self.valid, self.ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
        self.payload = getattr(dut, f"{name}__payload")
        self.beats: deque[int] = deque()
        """Beats not yet taken."""
        self._random = random
        self._pattern = _pattern(pattern, random)
        self._offering = False

    def send(self, beats: Iterable[int]) -> None:
        self.beats += beats

    def drive(self) -> None:
        """Call at the beginning of every cycle."""
        self._offering = bool(self.beats) and (self._offering or next(self._pattern))
        self.valid.value = self._offering
        self.payload.value = self.beats[0] if self._offering else self._random.getrandbits(len(self.payload))

    def settle(self) -> None:
        """Call when the cycle has settled."""
        if self._offering and int(self.ready.value):
            self.beats.popleft()
            self._offering = False


class Sink:
    """Takes beats from the component's stream ``name``, and checks that a beat that is not taken
    stays as it is.

    :param pattern: one of :data:`PATTERNS` or ``reluctant``.
    """

    def __init__(self, dut: Any, name: str, pattern: str, random: Random) -> None:
        self.valid, self.ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
        self.payload = getattr(dut, f"{name}__payload")
        self.beats: list[int] = []
        """Beats taken."""
        self._pattern = None if pattern == "reluctant" else _pattern(pattern, random)
        self._held: int | None = None
        self._held_for = 0
        self._willing = False

    def drive(self) -> None:
        """Call at the beginning of every cycle."""
        self._willing = self._held_for >= _RELUCTANCE if self._pattern is None else next(self._pattern)
        self.ready.value = self._willing

    def settle(self) -> None:
        """Call when the cycle has settled."""
        payload = int(self.payload.value) if int(self.valid.value) else None
        assert self._held is None or payload == self._held, f"a beat that was not taken became {payload}: {self._held}"
        if payload is None or self._willing:
            if payload is not None:
                self.beats.append(payload)
            self._held, self._held_for = None, 0
        else:
            self._held, self._held_for = payload, self._held_for + 1
