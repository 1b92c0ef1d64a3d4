"""A line that misbehaves on purpose, at random but reproducibly, to test drivers and boards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..arch.device import DeviceError
from .transport import Transport

__all__ = ["LINE_FAULTS", "DriverKilled", "FaultyTransport"]

LINE_FAULTS: tuple[str, ...] = (
    "bit flipped",
    "byte lost",
    "byte added",
    "byte repeated",
    "bytes garbled",
    "frame lost",
    "frame repeated",
    "pause",
)
"""Names of the faults that a driver must survive: no run may notice any of them."""
_DIRECTIONS = ("to the board", "from the board")


class DriverKilled(BaseException):
    """Raised to end the driver here and now, as SIGKILL would."""


class FaultyTransport:
    """A line between the driver and another line, which spoils what passes at random.

    :param inner: the other line.
    :param random: decides which faults happen, and where.
    :param chance: probability of a fault, for each frame sent and each piece received.
    :param disasters: what else may happen to a frame to be sent, by name: functions without
        arguments, one of which is called in place of one fault in ``rare``. They may raise
        :class:`DriverKilled`, or :class:`~dither.arch.device.DeviceError` as a line that is gone
        does.
    :param rare: how many faults there are for a disaster, on average.
    :param pause: seconds that a pause lasts at most.
    :param counts: counts what happened, by name; given by the caller to count over several lines.
    """

    def __init__(
        self,
        inner: Transport,
        random: np.random.Generator,
        *,
        chance: float,
        disasters: Mapping[str, Callable[[], None]] | None = None,
        rare: float = 50.0,
        pause: float = 0.01,
        counts: Counter[str] | None = None,
    ) -> None:
        self.name = inner.name
        self.bauds: Sequence[int] = inner.bauds
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._inner = inner
        self._random = random
        self._chance = chance
        self._disasters = dict(disasters or {})
        self._rare = rare
        self._pause = pause
        self._gone = False

    @property
    def baud(self) -> int | None:
        """Bits a second of the inner line now; None where that means nothing."""
        return self._inner.baud

    def set_baud(self, baud: int) -> None:
        """Changes the inner line's baud rate."""
        self._inner.set_baud(baud)

    def unplug(self) -> None:
        """Cuts the line: from now on nothing goes through.

        :raises DeviceError: always, as the first to notice.
        """
        self._gone = True
        self._check()

    def write(self, data: bytes) -> None:
        """Sends bytes, or what a fault makes of them, or part of them and then a disaster.

        :raises DeviceError: if the line is gone.
        """
        self._check()
        if self._disasters and self._random.random() < self._chance / self._rare:
            name = str(self._random.choice(list(self._disasters)))
            self.counts[name] += 1
            # A part of the frame may have left before the disaster.
            self._inner.write(data[: int(self._random.integers(len(data)))])
            self._disasters[name]()
            return
        self._inner.write(self._spoilt(data, 0))

    def read(self, timeout: float) -> bytes:
        """Returns bytes that have come, or what a fault makes of them; none if none come in time.

        :param timeout: seconds to wait for the first byte.
        :raises DeviceError: if the line is gone.
        """
        self._check()
        data = self._inner.read(timeout)
        return self._spoilt(data, 1) if data else data

    def reset_input(self) -> None:
        """Throws away the bytes that have come.

        :raises DeviceError: if the line is gone.
        """
        self._check()
        self._inner.reset_input()

    def close(self) -> None:
        """Closes the inner line."""
        self._inner.close()

    def _check(self) -> None:
        if self._gone:
            raise DeviceError(f"{self.name} is gone")

    def _spoilt(self, data: bytes, direction: int) -> bytes:
        random = self._random
        if random.random() >= self._chance:
            return data
        fault = str(random.choice(LINE_FAULTS))
        self.counts[f"{fault} {_DIRECTIONS[direction]}"] += 1
        place = int(random.integers(len(data)))
        before, byte, behind = data[:place], data[place : place + 1], data[place + 1 :]
        match fault:
            case "bit flipped":
                return before + bytes([byte[0] ^ 1 << int(random.integers(8))]) + behind
            case "byte lost":
                return before + behind
            case "byte added":
                return before + random.bytes(1) + byte + behind
            case "byte repeated":
                return before + byte + byte + behind
            case "bytes garbled":
                size = int(random.integers(1, 1 + len(data) - place))
                return before + random.bytes(size) + data[place + size :]
            case "frame lost":
                return b""
            case "frame repeated":
                return data + data
            case _:
                time.sleep(self._pause * float(random.random()))
                return data
