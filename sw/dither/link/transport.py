"""Lines that carry the link's bytes: serial ports and pseudo-terminals."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports

from ..arch.device import DeviceError

__all__ = ["DEFAULT_BAUDS", "Port", "SerialTransport", "Transport", "serial_ports"]

DEFAULT_BAUDS = (3_000_000, 12_000_000, 8_000_000, 1_000_000, 2_000_000, 115_200)
"""Baud rates that boards may have, tried in this order where none is given."""
_BRIDGES = {
    0x0403: "FTDI",
    0x10C4: "Silicon Labs",
    0x1A86: "WCH",
    0x067B: "Prolific",
    0x0483: "ST",
    0x1209: "pid.codes",
    0x1D50: "OpenMoko",
    0x2E8A: "Raspberry Pi",
    0x04B4: "Cypress",
}
"""USB vendors of bridges between USB and serial lines, and of boards that have one of their own."""
_TROUBLE: tuple[type[Exception], ...] = (OSError, ValueError, TypeError)
"""Exceptions that pyserial raises when a port does not exist, is gone, or was closed meanwhile."""
with contextlib.suppress(ImportError):
    import termios

    _TROUBLE += (termios.error,)
_WRITE_SECONDS = 20.0
"""Seconds after which a line that takes no bytes counts as dead."""


class Transport(Protocol):
    """A line that carries bytes both ways."""

    name: str
    """Name of the line, for messages."""
    bauds: Sequence[int]
    """Baud rates that the line can be set to; empty where that means nothing."""

    @property
    def baud(self) -> int | None:
        """Baud rate in bits a second now; None where that means nothing."""

    def set_baud(self, baud: int) -> None:
        """Changes the baud rate, in bits a second."""

    def write(self, data: bytes) -> None:
        """Sends bytes over the line.

        :raises DeviceError: if the line is gone.
        """

    def read(self, timeout: float) -> bytes:
        """Returns the bytes that have come, or come within ``timeout`` seconds; none if none do.

        :raises DeviceError: if the line is gone.
        """

    def reset_input(self) -> None:
        """Throws away the bytes that have come."""

    def close(self) -> None:
        """Gives the line back; further calls do nothing."""


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port of this computer."""

    path: str
    """Path or name by which the system knows it."""
    description: str
    """Description of it by the system, for people."""
    bridge: bool
    """Whether a USB bridge as boards have it stands behind the port."""


def serial_ports() -> list[Port]:
    """Returns the serial ports of this computer, those of USB bridges first."""
    found = [Port(port.device, port.description, port.vid in _BRIDGES) for port in list_ports.comports()]
    return sorted(found, key=lambda port: (not port.bridge, port.path))


class SerialTransport:
    """A serial port or pseudo-terminal, held exclusively.

    :param path: path or name, such as ``/dev/ttyUSB0`` or ``COM3``.
    :param baud: bits a second; the driver tries :data:`DEFAULT_BAUDS` if None.
    :raises DeviceError: if it cannot be opened, or another program holds it.
    """

    def __init__(self, path: str, baud: int | None = None) -> None:
        self.name = path
        self.bauds: Sequence[int] = DEFAULT_BAUDS if baud is None else (baud,)
        try:
            self._serial = serial.Serial(path, self.bauds[0], timeout=0, write_timeout=_WRITE_SECONDS, exclusive=True)
        except _TROUBLE as error:
            raise DeviceError(_refusal(path, error)) from None
        self._hurry()

    def _hurry(self) -> None:
        """Asks bridge and system to hand on bytes at once instead of collecting them.

        What refuses is left as it is.
        """
        with contextlib.suppress(Exception):
            self._serial.set_low_latency_mode(True)
        timer = Path("/sys/bus/usb-serial/devices") / Path(os.path.realpath(self.name)).name / "latency_timer"
        with contextlib.suppress(OSError):
            timer.write_text("1")

    @property
    def baud(self) -> int | None:
        """Baud rate in bits a second now."""
        return int(self._serial.baudrate)

    def set_baud(self, baud: int) -> None:
        """Changes the baud rate, in bits a second.

        :raises DeviceError: if the port does not take it.
        """
        try:
            self._serial.baudrate = baud
        except _TROUBLE as error:
            raise DeviceError(f"{self.name} cannot be set to {baud} baud: {error}") from None

    def write(self, data: bytes) -> None:
        """Sends bytes through the port.

        :raises DeviceError: if the port is gone, or takes no bytes any more.
        """
        try:
            self._serial.write(data)
        except _TROUBLE as error:
            raise self._gone(error) from None

    def read(self, timeout: float) -> bytes:
        """Returns the bytes that have come, or come within ``timeout`` seconds; none if none do.

        :raises DeviceError: if the port is gone.
        """
        try:
            if not self._serial.in_waiting:
                self._serial.timeout = timeout
                first = self._serial.read(1)
                if not first:
                    return b""
            else:
                first = b""
            self._serial.timeout = 0
            return bytes(first + self._serial.read(max(1, self._serial.in_waiting)))
        except _TROUBLE as error:
            raise self._gone(error) from None

    def reset_input(self) -> None:
        """Throws away the bytes that have come.

        :raises DeviceError: if the port is gone.
        """
        try:
            self._serial.reset_input_buffer()
        except _TROUBLE as error:
            raise self._gone(error) from None

    def close(self) -> None:
        """Closes the port; further calls do nothing."""
        with contextlib.suppress(*_TROUBLE):
            self._serial.close()

    def _gone(self, error: Exception) -> DeviceError:
        if isinstance(error, serial.SerialTimeoutException):
            return DeviceError(f"{self.name} takes no bytes any more; unplug the board and plug it in again")
        return DeviceError(f"{self.name} is gone ({error}); plug the board in again")


def _refusal(path: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if "exclusively lock" in text or number in (11, 16) or (os.name == "nt" and "PermissionError" in text):
        return f"{path} is in use: another driver holds it; end that one first"
    if number == 2 or "FileNotFoundError" in text:
        ports = [port.path for port in serial_ports()]
        return f"there is no {path}; serial ports here: {', '.join(ports) if ports else 'none'}"
    if number == 13:
        return f"{path} may not be opened by this user; add the user to the group of the port (often dialout)"
    return f"{path} cannot be opened as a serial port: {text}"
