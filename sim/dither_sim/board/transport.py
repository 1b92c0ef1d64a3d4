"""A line to a simulated board in the same process, in simulated time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .simulation import BoardSimulation

__all__ = ["SimulatedTransport"]


class SimulatedTransport:
    """A :class:`dither.link.transport.Transport` to a simulated board instead of a serial port.

    The board's time goes on only while the driver waits in :meth:`read`, and timeouts are seconds
    of that time: however slow the simulation is, the driver sees a board that answers as fast as a
    real one, and the same on every computer.

    :param simulation: the board; whoever made it closes it.
    :param turnaround: seconds that a real bridge and its system take until a program has what was
        received.
    """

    name = "virtual board"
    bauds: Sequence[int] = ()

    def __init__(self, simulation: BoardSimulation, *, turnaround: float = 0.0) -> None:
        self.simulation = simulation
        self._turnaround = round(turnaround * simulation.clock_hz)

    @property
    def baud(self) -> int | None:
        """Baud rate of the board's line in bits a second; it cannot be changed."""
        return self.simulation.baud

    def set_baud(self, baud: int) -> None:
        """Does nothing, as the baud rate cannot be changed."""

    def write(self, data: bytes) -> None:
        """Sends bytes to the board."""
        self.simulation.send(data)

    def read(self, timeout: float) -> bytes:
        """Returns the bytes that have come, or come within ``timeout`` seconds; none if none do.

        The seconds are of simulated time. Ctrl-C may interrupt it.
        """
        simulation = self.simulation
        end = simulation.cycles + round(timeout * simulation.clock_hz)
        while not simulation.standing.arrived and (left := end - simulation.cycles) > 0:
            if not simulation.run(min(left, _SLICE), until_silent=True):
                break
        if not simulation.standing.arrived:
            time.sleep(min(timeout, _SILENT_SECONDS))
        elif self._turnaround:
            simulation.run(self._turnaround)
        return simulation.receive()

    def reset_input(self) -> None:
        """Throws away the bytes that have come."""
        self.simulation.receive()

    def close(self) -> None:
        """Does nothing: the simulated board lives on."""


_SLICE = 1 << 18
"""Number of cycles between two looks at signals (Ctrl-C)."""
_SILENT_SECONDS = 0.01
"""Seconds of wall time before a driver hears that nothing has come, and may ask again at once."""
