"""The interface that every machine implements: golden machine, simulated RTL and board."""

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
    """Outputs and counters of one run of a program."""

    outputs: list[NDArray[np.int64]]
    """Received values: one int64 array of shape (words, slots) for each expected segment."""
    counters: Mapping[str, int]
    """Counter values by name, as in :data:`dither.arch.regmap.COUNTERS`."""


class Device(Protocol):
    """A machine that executes programs; its memories keep their contents from run to run."""

    name: str
    """Name of the machine for messages, such as ``golden``."""
    config: EngineConfig
    """Configuration of the machine's engine."""

    def write_program(self, words: Sequence[int]) -> None:
        """Writes 32-bit instruction words into the program memory, from word 0 on.

        :raises DeviceError: if they do not fit.
        """

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` until it reaches HALT.

        :param inputs: segments for the program's LOADs and PULLs, in order.
        :param expects: segments that the program sends by STORE and EMIT, in order.
        :raises DeviceError: if the program faults, leaves some of ``inputs`` or sends anything but
            what is expected.
        """

    def close(self) -> None:
        """Releases what the device holds: threads, processes, ports."""
