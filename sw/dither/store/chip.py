"""SDRAM chips, as data: one TOML file each in ``constraints/chips``, with times in nanoseconds.

The names of times in the files are words; data sheets have symbols, which stand in :class:`Chip`.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path

from ..arch.device import DeviceError

__all__ = ["INIT_REFRESHES", "Chip", "Rule", "Timing", "chip", "chip_names", "load_chip"]

INIT_REFRESHES = 8
"""Number of refreshes after power-up, before the mode register is set; some chips want only two."""
_POSTPONED = 8
"""Number of refreshes that may be owed at most, so that one is late by at most nine intervals."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class Rule(IntEnum):
    """What a chip demands of its controller: one number for each rule."""

    POWER_UP = 0
    """The clock runs for ``power_up`` before the first command."""
    INITIALISED = 1
    """All banks closed, enough refreshes and a mode, in this order, before rows are opened."""
    STATE = 2
    """Only a closed bank is opened, only an open one accessed; all are closed to refresh."""
    ROW_CYCLE = 3
    """From opening a bank to opening it again, or to a refresh: ``row_cycle``."""
    ROW_ACTIVE = 4
    """From opening a bank to closing it: ``row_active``."""
    ROW_ACTIVE_MOST = 5
    """A row is not accessed or closed later than ``row_active_most`` after it was opened."""
    PRECHARGE = 6
    """From closing a bank to opening it, to a refresh or to a new mode: ``precharge``."""
    ACCESS = 7
    """From opening a bank to reading or writing there: ``activate_to_access``."""
    OTHER_BANK = 8
    """From opening a bank to opening another: ``activate_to_activate``."""
    WRITE_RECOVERY = 9
    """From the last word written to closing its bank: ``write_recovery``."""
    REFRESH_CYCLE = 10
    """From a refresh to the next command: ``refresh_cycle``."""
    REFRESH = 11
    """Refreshes come once in ``refresh_interval`` on average; at most eight are ever owed."""
    MODE = 12
    """From setting the mode to the next command: ``mode``."""
    CLOCK = 13
    """The mode is one that the chip has: bursts of one word, a latency that suits the clock."""
    BUS = 14
    """The controller never drives the data pins while the chip does, nor a cycle later."""
    READ_CUT = 15
    """A bank is not closed before its last read is ``latency - 1`` cycles old."""
    UNKNOWN = 16
    """No other command is sent: precharge with an access, end of a burst, self refresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A chip's times in cycles of a clock, as a controller needs them: distances of commands."""

    row_cycle: int
    """Cycles from opening a bank to opening it again, or to a refresh."""
    row_active: int
    """Cycles from opening a bank to closing it."""
    precharge: int
    """Cycles from closing a bank to opening it or to a refresh."""
    activate_to_access: int
    """Cycles from opening a bank to its first access."""
    activate_to_activate: int
    """Cycles from opening one bank to opening another."""
    write_recovery: int
    """Cycles from a write to closing its bank."""
    refresh_cycle: int
    """Cycles from a refresh to the next command."""
    refresh_interval: int
    """Cycles from refresh to refresh, rounded down."""
    mode: int
    """Cycles from setting the mode to the next command."""
    power_up: int
    """Cycles from power-up to the first command."""
    latency: int
    """CAS latency: 2 or 3."""

    @property
    def read_to_close(self) -> int:
        """Cycles from the last read of a row to closing it, so that its data come out whole."""
        return self.latency - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A single-data-rate SDRAM: geometry, and times in nanoseconds.

    A word has ``width`` bits. Chips side by side that share all control pins count as one.
    """

    name: str
    """Name as boards' files say it: the file's, without ``.toml``."""
    title: str
    """Maker, type and size, for people."""
    source: str
    """Where the values come from."""
    width: int
    """Bits of a word: 8, 16 or 32."""
    banks: int
    """Number of banks: 2 or 4."""
    rows: int
    """Number of rows of a bank."""
    columns: int
    """Number of words of a row, at most 1024."""
    row_cycle: float
    """Time from opening a bank to opening it again: tRC."""
    row_active: float
    """Least time from opening a bank to closing it: tRAS."""
    row_active_most: float
    """Most time from opening a bank to closing it: the maximum of tRAS."""
    precharge: float
    """Time from closing a bank to opening it, or to a refresh: tRP."""
    activate_to_access: float
    """Time from opening a bank to an access: tRCD."""
    activate_to_activate: float
    """Time from opening one bank to opening another: tRRD."""
    write_recovery: float
    """Time from the last word written to closing its bank: tWR, also tDPL or tRDL."""
    refresh_cycle: float
    """Time from a refresh to the next command: tRFC."""
    refresh_interval: float
    """Time between refreshes on average: tREFI."""
    mode: float
    """Time from setting the mode to the next command, at least two cycles: tMRD, also tRSC."""
    power_up: float
    """Time with a steady clock before the first command."""
    clock_cas2: float
    """Shortest clock cycle with a CAS latency of 2: tCK2."""
    clock_cas3: float
    """Shortest clock cycle at all, with a CAS latency of 3: tCK3."""

    @property
    def words(self) -> int:
        """Number of words that all banks together hold."""
        return self.banks * self.rows * self.columns

    @property
    def bytes(self) -> int:
        """Number of bytes that all banks together hold."""
        return self.words * self.width // 8

    def timing(self, clock_hz: float) -> Timing:
        """Returns the times in cycles of a clock.

        :param clock_hz: frequency of the clock, that of the chip and of the controller.
        :raises ValueError: if the chip is not made for so fast a clock.
        """
        period = 1e9 / clock_hz
        if period < self.clock_cas3 - 1e-6:
            raise ValueError(
                f"{self.name} works at up to {1e3 / self.clock_cas3:.0f} MHz, not {clock_hz / 1e6:g} MHz; take a "
                "slower clock"
            )

        def cycles(time: float, least: int = 1) -> int:
            return max(least, math.ceil(time / period - 1e-6))

        return Timing(
            row_cycle=cycles(self.row_cycle),
            row_active=cycles(self.row_active),
            precharge=cycles(self.precharge),
            activate_to_access=cycles(self.activate_to_access),
            activate_to_activate=cycles(self.activate_to_activate),
            # Makers also say it as two cycles.
            write_recovery=cycles(self.write_recovery, 2),
            refresh_cycle=cycles(self.refresh_cycle),
            refresh_interval=int(self.refresh_interval / period),
            mode=cycles(self.mode, 2),
            power_up=cycles(self.power_up),
            latency=2 if period >= self.clock_cas2 - 1e-6 else 3,
        )

    @property
    def most_owed(self) -> int:
        """Number of refresh intervals that may pass at most without a refresh."""
        return _POSTPONED + 1


_TEXTS = ("title", "source")
_GEOMETRY = {"width": (8, 16, 32), "banks": (2, 4), "rows": (2048, 4096, 8192), "columns": (256, 512, 1024)}


def _folder() -> Path:
    return Path(__file__).parents[1] / "constraints" / "chips"


def chip_names() -> list[str]:
    """Returns the names of all chips, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def chip(name: str) -> Chip:
    """Returns the chip of a name.

    :raises DeviceError: if there is none (the message lists the known ones), or its file is wrong.
    """
    if not _NAME.fullmatch(name) or name not in chip_names():
        raise DeviceError(f"unknown memory chip {name!r}; known: {', '.join(chip_names())}")
    return load_chip(_folder() / f"{name}.toml")


def load_chip(path: Path) -> Chip:
    """Reads the chip that a file describes.

    :raises DeviceError: with one line naming file and key, if something in it is wrong.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path}: {error}") from None
    geometry, times = values.pop("geometry", {}), values.pop("timing", {})
    names = {field.name for field in fields(Chip)} - {"name"}
    expected = [("", values, set(_TEXTS)), ("geometry.", geometry, set(_GEOMETRY))]
    expected.append(("timing.", times, names - set(_TEXTS) - set(_GEOMETRY)))
    for place, found, wanted in expected:
        if not isinstance(found, dict):
            raise DeviceError(f"{path}: {place.rstrip('.')}: must be a table")
        for key in sorted(set(found) ^ wanted):
            raise DeviceError(f"{path}: {place}{key}: {'is not known' if key in found else 'is missing'}")
    for key in _TEXTS:
        if not isinstance(values[key], str):
            raise DeviceError(f"{path}: {key}: must be text, not {values[key]!r}")
    for key, allowed in _GEOMETRY.items():
        if geometry[key] not in allowed:
            raise DeviceError(f"{path}: geometry.{key}: must be one of {allowed}, not {geometry[key]!r}")
    for key, value in times.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e9:
            raise DeviceError(f"{path}: timing.{key}: must be a time in nanoseconds, not {value!r}")
    return Chip(name=path.stem, **values, **geometry, **times)
