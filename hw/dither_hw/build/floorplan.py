"""A picture of a placed design: which part of it is where on the chip."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

__all__ = ["PlacedCell", "draw", "read_cells", "unit_of"]

_BEL = re.compile(r"X(\d+)/Y(\d+)/")
_MARKS = {"multiplier": ("s", 16), "block RAM": ("D", 12), "pin": ("o", 14)}
_COLORS = ("#2f5fd0", "#c65a24", "#6b9a8b", "#c9a24b", "#8d5bb5", "#4a9fb5", "#a63d5f", "#7f8c3d", "#b58863", "#5c6bc0")
_OTHER = "#9a9ca5"
_FULL = 8.0
"""Number of logic cells in a tile that gives it the full colour."""


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """A cell of the design, with the tile that it is placed in."""

    unit: str
    """The part of the design that the cell belongs to."""
    kind: str
    """Kind of the cell: ``logic``, ``multiplier``, ``block RAM`` or ``pin``."""
    x: int
    y: int


def read_cells(placed: Path, kinds: Mapping[str, str]) -> list[PlacedCell]:
    """Returns the cells that the picture shows, from what nextpnr writes with ``--write``.

    :param kinds: what the picture shows a cell as, by its type.
    """
    found = []
    for name, cell in json.loads(placed.read_text())["modules"]["top"]["cells"].items():
        match = _BEL.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        if match and cell["type"] in kinds:
            found.append(PlacedCell(unit_of(name), kinds[cell["type"]], int(match[1]), int(match[2])))
    return found


def unit_of(name: str) -> str:
    """Returns the part of the design that a cell belongs to, by its name in the hierarchy.

    For example, it is ``engine.contract`` for ``core.engine.contract.lane3.sum_TRELLIS_FF_Q``, and
    ``core`` where there is no more to say.
    """
    parts = [part.partition("$")[0] for part in name.split(".")[:-1] if not part.startswith("$")]
    return ".".join(parts[1:3] if parts[:1] == ["core"] and len(parts) > 1 else parts[:1]) or "top"


def draw(cells: list[PlacedCell]) -> Figure:
    """Draws the chip's tiles, each in the colour of the part that has most of the tile's logic.

    Tiles with more logic are darker. Multipliers, block RAMs and pins are marks over the tiles.
    """
    sizes = Counter(cell.unit for cell in cells)
    colors = dict(zip((unit for unit, _ in sizes.most_common(len(_COLORS))), _COLORS, strict=False))
    width, height = (max((getattr(cell, axis) for cell in cells), default=0) + 1 for axis in "xy")
    tiles: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for cell in cells:
        if cell.kind == "logic":
            tiles[cell.x, cell.y][cell.unit] += 1
    image = np.zeros((height, width, 4))
    for (x, y), units in tiles.items():
        share = min(1.0, units.total() / _FULL)
        image[y, x] = to_rgba(colors.get(units.most_common(1)[0][0], _OTHER), 0.2 + 0.8 * share)

    figure = Figure(figsize=(9.2, max(3.2, min(9.0, 7.0 * height / width))), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, origin="upper", interpolation="nearest", aspect="equal")
    for kind, (mark, size) in _MARKS.items():
        chosen = [cell for cell in cells if cell.kind == kind]
        axes.scatter(
            [cell.x for cell in chosen],
            [cell.y for cell in chosen],
            marker=mark,
            s=size,
            linewidths=0.4,
            c=[colors.get(cell.unit, _OTHER) for cell in chosen],
            edgecolors="#1a1b26",
            label=kind,
        )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.grid(False)
    axes.set_axis_off()
    entries = [Patch(color=color, label=unit) for unit, color in colors.items()]
    if len(sizes) > len(colors):
        entries.append(Patch(color=_OTHER, label="others"))
    marks, names = axes.get_legend_handles_labels()
    axes.legend(
        handles=[*entries, *marks],
        labels=[*(str(entry.get_label()) for entry in entries), *names],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=8,
    )
    return figure
