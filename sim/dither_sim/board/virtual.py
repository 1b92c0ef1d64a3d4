"""A simulated board behind a pseudo-terminal, which any driver opens like a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from pathlib import Path
from typing import Any

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.tools.files import AnyPath

from .simulation import BoardSimulation, Standing

__all__ = ["VirtualBoard"]

_SLICE_SECONDS = 0.01
"""Wall time, about, between two looks at the pseudo-terminal."""
_MIN_SLICE, _MAX_SLICE = 1 << 8, 1 << 22
_IDLE_SECONDS = 0.2
"""Seconds between two looks at whether to end, while there is nothing to do."""
_BACKLOG = 1 << 14
"""Number of bytes that may wait for the line before the pseudo-terminal holds its writer back."""


class VirtualBoard:
    """Simulates a board in a thread of its own, behind a pseudo-terminal; a context manager.

    Simulated time passes only while something is to be done: bytes are on the line, or the engine
    is busy. Drivers may come and go; what the board sends while nobody listens is lost when the
    pseudo-terminal is full, as with a real bridge.

    :param config: configuration of the engine.
    :param link: a symbolic link to make to the pseudo-terminal; one that is there is replaced.
    :param options: further arguments of :class:`BoardSimulation`.
    :ivar path: path of the pseudo-terminal.
    :ivar simulation: the board; only the thread may use it until :meth:`stop`.
    :raises DeviceError: if the board cannot be compiled, or the link not be made.
    """

    def __init__(self, config: EngineConfig, *, link: AnyPath | None = None, **options: Any) -> None:
        self.simulation = BoardSimulation(config, **options)
        self._standing = self.simulation.standing
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._link: Path | None = None
        self._ending, self._end = os.pipe()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        if link is not None:
            try:
                self._make_link(Path(link))
            except OSError as error:
                self.stop()
                raise DeviceError(f"{link}: {error.strerror}") from None

    def _make_link(self, link: Path) -> None:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(self.path)
        self._link = link

    def start(self) -> None:
        """Switches the board on; it can be done only once."""
        self._thread = threading.Thread(target=self._serve, name="virtual board", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Switches the board off and takes the line away from drivers; further calls do nothing.

        :raises DeviceError: if the simulation had failed.
        """
        if self._end < 0:
            return
        os.close(self._end)
        if self._thread is not None:
            self._thread.join()
        for descriptor in (self._ending, self._slave, self._master):
            os.close(descriptor)
        self._end = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        self.simulation.close()
        if self._failure is not None:
            raise DeviceError(f"the virtual board failed: {self._failure}")

    def __enter__(self) -> VirtualBoard:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the board is on, and its simulation has not failed."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def standing(self) -> Standing:
        """What the board has done, and its state, at most some hundredths of a second ago."""
        return self._standing

    @property
    def cycles(self) -> int:
        """Number of clock cycles since the board was switched on."""
        return self._standing.cycles

    def _serve(self) -> None:
        try:
            self._loop()
        except Exception as error:  # told by stop(), in the thread that can do something about it
            self._failure = error

    def _loop(self) -> None:
        board, moving, slice_cycles = self.simulation, True, _MIN_SLICE
        while True:
            listening = [self._ending] + ([self._master] if board.standing.waiting < _BACKLOG else [])
            ready, _, _ = select.select(listening, [], [], 0 if moving else _IDLE_SECONDS)
            if self._ending in ready:
                return
            if self._master in ready:
                board.send(os.read(self._master, _BACKLOG))
                moving = True
            if not moving:
                continue
            begun, before = time.monotonic(), self._standing.cycles
            moving = board.run(slice_cycles, until_silent=True)
            if sent := board.receive():
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, sent)
            self._standing = board.standing
            slice_cycles = _next_slice(slice_cycles, self._standing.cycles - before, time.monotonic() - begun)


def _next_slice(slice_cycles: int, cycles: int, seconds: float) -> int:
    """Returns the cycles of the next slice.

    The last one was allowed ``slice_cycles`` cycles, of which ``cycles`` have taken ``seconds``.
    """
    if seconds < _SLICE_SECONDS / 2 and cycles < slice_cycles:
        return slice_cycles  # it ended early and tells little
    return max(_MIN_SLICE, min(_MAX_SLICE, 2 * slice_cycles, round(cycles * _SLICE_SECONDS / max(seconds, 1e-6))))
