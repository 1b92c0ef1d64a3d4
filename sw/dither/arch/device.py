"""The one interface that every machine has: golden, simulated RTL, board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .config import EngineConfig
from .streams import Expect, Segment

__all__ = ["Device", "DeviceError", "RunResult"]


class DeviceError(RuntimeError):
    """A device could not be built, reached or trusted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one program run gave."""

    outputs: list[NDArray[np.int64]]
    """One array (beats, slots) for each expected segment."""
    counters: Mapping[str, int]
    """By the names of :data:`dither.arch.regmap.COUNTERS`."""


class Device(Protocol):
    """A machine that executes programs. Memories keep their contents from run to run."""

    name: str
    config: EngineConfig

    def write_program(self, words: Sequence[int]) -> None:
        """Loads the program memory from word 0.

        :raises DeviceError: if it does not fit.
        """

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` to its HALT.

        :raises DeviceError: if it faults, does not consume all of ``inputs`` or does not send just
            what is expected.
        """

    def close(self) -> None:
        """Gives back what the device holds."""
