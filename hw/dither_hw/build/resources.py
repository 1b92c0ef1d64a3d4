"""How much of its FPGA a placed design takes, and whether that is within the board's budget."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dither.boards import Board

from ..vendor import Flow

__all__ = ["Usage", "Verdict", "count_cells", "read_usage", "verdicts"]


@dataclass(frozen=True, slots=True)
class Usage:
    """How many blocks of one kind a design takes, and how many the FPGA has."""

    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget, with the figure that was reached and whether the budget is kept."""

    name: str
    value: float
    limit: float
    kept: bool

    @property
    def text(self) -> str:
        """The verdict in one line: what, how much, and if it is too much, by how much."""
        if self.name == "fmax_mhz":
            excess = "" if self.kept else f": {self.limit - self.value:.1f} MHz too slow"
            return f"fmax_mhz: {self.value:.1f} of at least {self.limit:g}{excess}"
        excess = "" if self.kept else f": {self.value - self.limit:,.0f} too many"
        return f"{self.name}: {self.value:,.0f} of at most {self.limit:,.0f}{excess}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as plain data, for JSON."""
        return {**asdict(self), "text": self.text}


def read_usage(flow: Flow, utilization: dict[str, dict[str, int]], netlist: Path) -> dict[str, Usage]:
    """Returns how many blocks of each kind are used and available.

    :param utilization: the part of this name of nextpnr's report.
    :param netlist: Yosys' JSON, for the flip-flops of families where nextpnr does not count them.
    """
    usage = {}
    for name, kinds in flow.blocks.items():
        entries = [utilization.get(kind, {"used": 0, "available": 0}) for kind in kinds]
        usage[name] = Usage(sum(entry["used"] for entry in entries), entries[0]["available"])
    if flow.flip_flops:
        usage["ff"] = Usage(count_cells(netlist, flow.flip_flops), usage["ff"].available)
    return usage


def count_cells(netlist: Path, prefix: str) -> int:
    """Returns how many cells of a netlist's top module have a type that begins with ``prefix``."""
    cells = json.loads(netlist.read_text())["modules"]["top"]["cells"].values()
    return sum(cell["type"].startswith(prefix) for cell in cells)


def verdicts(board: Board, fmax_mhz: float, usage: dict[str, Usage]) -> list[Verdict]:
    """Returns the verdicts on a board's budgets.

    The clock's is first, which every build must reach; the others are in the order of the board's
    file.
    """
    clock = max(board.clock.hz / 1e6, board.budget.fmax_mhz or 0)
    found = [Verdict("fmax_mhz", fmax_mhz, clock, fmax_mhz >= clock)]
    for name in ("lut4", "ff", "multipliers", "block_ram"):
        limit, used = getattr(board.budget, name), usage[name].used
        if limit is not None:
            found.append(Verdict(name, used, limit, used <= limit))
    return found
