"""What nextpnr's report says about clock rates and about the path that limits them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dither.arch.device import DeviceError

__all__ = ["Hop", "Timing", "read_report", "read_timing"]

_ROUNDED = 1e-3
"""How far a clock in a report may be from its target, as a part of it.

Reports round targets to whole picoseconds of period.
"""


@dataclass(frozen=True, slots=True)
class Hop:
    """One of the delays that a path through the chip consists of."""

    kind: str
    """What the delay is: ``clk-to-q``, ``logic``, ``routing`` or ``setup``."""
    delay_ns: float
    source: str
    """Cell and port at which the hop begins."""
    sink: str
    """Cell and port at which the hop ends."""
    net: str
    """Name of the net; empty for all kinds but ``routing``."""
    place: tuple[int, int]
    """Column and row of the chip at which the hop ends."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What placement and routing say about the engine's clock."""

    fmax_mhz: float
    """The fastest clock in MHz that every path keeps up with."""
    path: tuple[Hop, ...]
    """The slowest path from clock to clock."""


def read_report(path: Path) -> dict[str, Any]:
    """Reads the file that nextpnr writes with ``--report``.

    :raises DeviceError: if it is missing or damaged.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        report["fmax"], report["critical_paths"], report["utilization"]
    except (OSError, ValueError, KeyError) as error:
        raise DeviceError(f"{path}: no report of nextpnr: {error}") from None
    return report


def read_timing(path: Path, clock_hz: int) -> Timing:
    """Reads the timing of the engine's clock from a report.

    The clock is known by its target, because nets are renamed on the way.

    :param path: the report.
    :param clock_hz: the clock's target.
    :raises DeviceError: if the report is missing or damaged, or has no such clock.
    """
    report = read_report(path)
    clocks: dict[str, dict[str, float]] = report["fmax"]
    alike = [name for name, of in clocks.items() if abs(of["constraint"] * 1e6 - clock_hz) <= clock_hz * _ROUNDED]
    found = min(alike, key=lambda name: clocks[name]["achieved"], default=None)
    if found is None:
        raise DeviceError(f"{path}: no clock of {clock_hz / 1e6:g} MHz: {', '.join(clocks) or 'none at all'}")
    ends = [f"posedge {found}", f"negedge {found}"]
    paths = [way["path"] for way in report["critical_paths"] if way["from"] in ends and way["to"] in ends]
    slowest: list[dict[str, Any]] = max(paths, key=lambda way: sum(hop["delay"] for hop in way), default=[])
    return Timing(round(clocks[found]["achieved"], 3), tuple(_hop(hop) for hop in slowest))


def _hop(values: dict[str, Any]) -> Hop:
    source, sink = values["from"], values["to"]
    return Hop(
        kind=values["type"],
        delay_ns=round(values["delay"], 3),
        source=f"{source['cell']}.{source['port']}",
        sink=f"{sink['cell']}.{sink['port']}",
        net=values.get("net", ""),
        place=(sink["loc"][0], sink["loc"][1]),
    )
