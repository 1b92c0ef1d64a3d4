"""The slowest path, told cell by cell instead of delay by delay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .floorplan import unit_of

__all__ = ["Stop", "short_name", "stops", "summary"]

_CARRY = re.compile(r"CIN|COUT|FCI|FCO")
"""Names of ports that carry chains are made of."""
_MAPPED = re.compile(r"_(?:TRELLIS_|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|ALU54B|DP16KD|PDPW16KD|SB_)[^.\[]*")


@dataclass(frozen=True, slots=True)
class Stop:
    """A cell on a path, or a chain of cells that only pass a carry on."""

    cell: str
    """Name of the cell, of a chain's first one."""
    wire_ns: float
    """Delay of the wire that leads there; of a chain, of all wires in it too."""
    cell_ns: float
    """Delay in the cell, or in all cells of the chain."""
    place: tuple[int, int]
    """Column and row of the cell, of a chain's last one."""
    net: str
    """Name of the net that leads there; empty for the first cell."""
    cells: int = 1
    """Number of cells that the stop stands for: more than one of a carry chain."""


def stops(path: Iterable[Mapping[str, Any]]) -> list[Stop]:
    """Returns the cells of a path in their order, with carry chains as one stop each.

    :param path: ``critical_path`` of a build's ``report.json``.
    """
    found: list[Stop] = []
    carried = False
    for hop in path:
        cell, _, port = hop["to"].rpartition(".")
        place = (hop["place"][0], hop["place"][1])
        if hop["kind"] != "routing":
            last = found.pop() if found else Stop(cell, 0.0, 0.0, place, "")
            found.append(replace(last, cell_ns=last.cell_ns + hop["delay_ns"], place=place))
        elif found and carried and _CARRY.fullmatch(port):
            last = found.pop()
            found.append(replace(last, wire_ns=last.wire_ns + hop["delay_ns"], place=place, cells=last.cells + 1))
        else:
            found.append(Stop(cell, hop["delay_ns"], 0.0, place, hop["net"]))
        carried = bool(_CARRY.fullmatch(port))
    return found


def short_name(name: str) -> str:
    """Returns the name of a cell, of its port, or of a net, without what synthesis appended."""
    return _MAPPED.sub("…", name)


def summary(path: list[Stop]) -> str:
    """Returns one sentence: from what to what a path leads, and how much of it is wires."""
    first, last = path[0], path[-1]
    wires, total = sum(stop.wire_ns for stop in path), sum(stop.wire_ns + stop.cell_ns for stop in path)
    ends = {unit_of(first.cell), unit_of(last.cell), "top"}
    between = [unit for unit in dict.fromkeys(unit_of(stop.cell) for stop in path[1:-1]) if unit not in ends]
    way = f" by way of {' and '.join(filter(None, (', '.join(between[:-1]), between[-1])))}" if between else ""
    goal = "back to it" if first.cell == last.cell else f"to {short_name(last.cell)}"
    return (
        f"The slowest path leads from {short_name(first.cell)}{way} {goal}: {total:.1f} ns, "
        f"of which {wires:.1f} ns ({100 * wires / total:.0f} %) are in wires."
    )
