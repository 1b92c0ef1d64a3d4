"""Lines to boards, by the names that people give them, such as ``/dev/ttyUSB0``."""

from __future__ import annotations

import re

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from .driver import LinkDevice
from .transport import SerialTransport, serial_ports

__all__ = ["AUTO", "is_line", "open_board", "open_port"]

AUTO = "serial:auto"
"""Name that stands for whichever port a board answers on."""
_LINE = re.compile(r"(?P<path>.*[/\\].*?|COM\d+)(?:@(?P<baud>\d+))?", re.IGNORECASE)
_SEARCH_SECONDS = 2.0


def is_line(name: str) -> bool:
    """Returns whether a device's name is a line's.

    Lines are paths (anything with a slash), Windows ports such as ``COM3``, and :data:`AUTO`.
    """
    return name == AUTO or _LINE.fullmatch(name) is not None


def open_board(name: str, config: EngineConfig | None = None) -> LinkDevice:
    """Opens the board behind a line, in a session of its own.

    :param name: name of the line, with ``@`` and a baud rate behind it unless that is to be found
        out.
    :param config: the engine that the board must have; any if None.
    :raises DeviceError: if the port cannot be opened, no board answers, or it is not the one
        wanted.
    """
    if name == AUTO:
        return _search(config)
    return LinkDevice(open_port(name), config)


def open_port(name: str) -> SerialTransport:
    """Opens the port of a line's name; for :data:`AUTO`, the one that a board answers on.

    :raises DeviceError: if it cannot be opened, or no board answers on any.
    """
    if name == AUTO:
        found = _search(None)
        found.close()
        name = found.name
    match = _LINE.fullmatch(name)
    if match is None:
        raise DeviceError(f"{name!r} is no serial port; give a path such as /dev/ttyUSB0, or {AUTO}")
    return SerialTransport(match["path"], int(match["baud"]) if match["baud"] else None)


def _search(config: EngineConfig | None) -> LinkDevice:
    """Returns the first board that answers on any port.

    Every USB bridge is tried: many boards have a second port, for programming.
    """
    refusals = []
    for port in serial_ports():
        if not port.bridge:
            continue
        try:
            LinkDevice(SerialTransport(port.path), config, patience=_SEARCH_SECONDS).close()
            return LinkDevice(SerialTransport(port.path), config)
        except DeviceError as error:
            refusals.append(str(error))
    if not refusals:
        raise DeviceError("no USB serial bridge found; is the board plugged in?")
    raise DeviceError(f"no board found: {'; '.join(refusals)}")
