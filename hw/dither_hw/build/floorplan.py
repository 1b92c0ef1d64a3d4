"""A picture of a placed design: which part of it is where on the chip."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dither.report.colors import KINDS

__all__ = ["MARKS", "Area", "FloorPlan", "PlacedCell", "floor_plan", "outlines", "read_cells", "unit_of"]

_BEL = re.compile(r"X(\d+)/?Y(\d+)/")
_NAMED = 12
"""Number of parts of a design that have a colour of their own."""
_FULL = 8
"""Number of logic cells in a tile that gives it the full colour."""
MARKS = {
    "multiplier": "m{x} {y}h.8v.8h-.8z",
    "block RAM": "m{x} {y}m.4-.1l.5.5l-.5.5l-.5-.5z",
    "pin": "m{x} {y}m.1.4a.3.3 0 1 0 .6 0a.3.3 0 1 0-.6 0z",
}
"""Outlines of marks over tiles, from a tile's corner and a tenth of a tile."""


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """A cell of the design, with the tile that it is placed in."""

    unit: str
    """The part of the design that the cell belongs to."""
    kind: str
    """Kind of the cell: ``logic``, ``multiplier``, ``block RAM`` or ``pin``."""
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Area:
    """What has one colour on the floor plan: a part of the design, or all of the small ones."""

    name: str
    """Name of the part."""
    color: int | None
    """Number of its colour; None for what has none of its own."""
    cells: int
    """Number of its cells, of all kinds."""
    tiles: Sequence[tuple[float, str]]
    """Its tiles by how full they are: the opacity, and the outline as an SVG path."""
    marks: Sequence[tuple[str, str]]
    """Its multipliers, block RAMs and pins: the kind, and the outline of the marks."""


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """A chip's tiles, each in the colour of the part that has most of the tile's logic."""

    columns: int
    rows: int
    areas: tuple[Area, ...]
    """Parts of the design, the largest first, all without a colour of their own last."""
    grid: str
    """Lines between the tiles, as an SVG path."""

    @property
    def kinds(self) -> list[str]:
        """Kinds of marks that are on the plan."""
        return [kind for kind in MARKS if any(kind == mark for area in self.areas for mark, _ in area.marks)]


def read_cells(placed: Path, kinds: Mapping[str, str]) -> list[PlacedCell]:
    """Returns the cells that the picture shows, from what nextpnr writes with ``--write``.

    :param kinds: what the picture shows a cell as, as in :attr:`dither_hw.vendor.flow.Flow.kinds`.
    """
    found = []
    for name, cell in json.loads(placed.read_text())["modules"]["top"]["cells"].items():
        match = _BEL.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        kind = next((kind for types, kind in kinds.items() if re.fullmatch(types, cell["type"])), None)
        if match and kind:
            found.append(PlacedCell(unit_of(name), kind, int(match[1]), int(match[2])))
    return found


def unit_of(name: str) -> str:
    """Returns the part of the design that a cell belongs to, by its name in the hierarchy.

    For example, it is ``engine.contract`` for ``core.engine.contract.lane3.sum_TRELLIS_FF_Q``, and
    ``core`` where there is no more to say.
    """
    parts = [part.partition("$")[0] for part in name.split(".")[:-1] if not part.startswith("$")]
    return ".".join(parts[1:3] if parts[:1] == ["core"] and len(parts) > 1 else parts[:1]) or "top"


def floor_plan(cells: Iterable[PlacedCell], die: tuple[int, int] | None) -> FloorPlan:
    """Lays out the plan of a placed design.

    :param die: columns and rows of the chip's tiles; as far as the cells reach if None.
    """
    cells = list(cells)
    reach = [max((getattr(cell, axis) for cell in cells), default=0) + 1 for axis in "xy"]
    columns, rows = (max(*sizes) for sizes in zip(reach, die or (0, 0), strict=True))
    sizes = Counter(cell.unit for cell in cells)
    named = [unit for unit, _ in sizes.most_common(_NAMED)]
    logic: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    marks: dict[str, dict[str, set[tuple[int, int]]]] = defaultdict(lambda: defaultdict(set))
    for cell in cells:
        unit = cell.unit if cell.unit in named else ""
        if cell.kind == "logic":
            logic[cell.x, cell.y][unit] += 1
        else:
            marks[unit][cell.kind].add((cell.x, cell.y))
    tiles: dict[str, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for place, units in logic.items():
        tiles[units.most_common(1)[0][0]][min(units.total(), _FULL)].append(place)
    areas = [
        Area(
            name=unit or "others",
            color=named.index(unit) % len(KINDS) if unit else None,
            cells=sizes[unit] if unit else sizes.total() - sum(sizes[each] for each in named),
            tiles=[(0.3 + 0.7 * level / _FULL, _squares(places)) for level, places in sorted(tiles[unit].items())],
            marks=[(kind, outlines(kind, marks[unit][kind])) for kind in MARKS if marks[unit][kind]],
        )
        for unit in [*named, *([""] if len(sizes) > len(named) else [])]
    ]
    lines = [f"M{x} 0V{rows}" for x in range(1, columns)] + [f"M0 {y}H{columns}" for y in range(1, rows)]
    return FloorPlan(columns, rows, tuple(areas), "".join(lines))


def _squares(places: Iterable[tuple[int, int]]) -> str:
    return "".join(f"M{x} {y}h1v1h-1z" for x, y in sorted(places))


def outlines(kind: str, places: Iterable[tuple[int, int]]) -> str:
    """Returns the marks of one kind on some tiles, as an SVG path."""
    return "".join(MARKS[kind].format(x=f"{x}.1", y=f"{y}.1").replace("m", "M", 1) for x, y in sorted(places))
