"""Where an engine's multipliers and block RAMs are placed on an ECP5.

A placer sees a hundred equal multipliers in front of a hundred equal memories, all of them
connected to each other in the end, and spreads them over the chip. With the few that matter fixed,
it needs two thirds of the wires. Lanes are placed side by side along the rows of multipliers and
turn at the end of each row, so that the lanes of an interpolator group are neighbours. Their
activations are in the block RAMs next to them. The memories of parameters, whose units work on one
word at a time, share the block RAMs at one edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

__all__ = ["arrange"]

Place = tuple[int, int]
"""Column and row of a tile on the chip."""
Site = tuple[Place, str]
"""A place, and the name of the site at that place."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """An ECP5's size and where its blocks are, as nextpnr's data base has them.

    ``height`` is its number of rows, ``blocks`` are the columns at which blocks of four sites
    begin, and the rest are the rows that blocks of multipliers and of memories are in.
    """

    height: int
    blocks: tuple[int, ...]
    multiplier_rows: tuple[int, ...]
    memory_rows: tuple[int, ...]

    def multipliers(self, block: int, row: int) -> list[Site]:
        """Returns the four sites of a block of multipliers, with their names."""
        return _sites(self.blocks[block], row, _MULTIPLIERS)

    def memories(self) -> list[Site]:
        """Returns all sites of block RAMs."""
        return [site for x, y in product(self.blocks, self.memory_rows) for site in _sites(x, y, _MEMORIES)]


_MULTIPLIERS = {0: "MULT18_0", 1: "MULT18_1", 4: "MULT18_4", 5: "MULT18_5"}
_MEMORIES = {0: "EBR0", 2: "EBR1", 4: "EBR2", 6: "EBR3"}
"""Names of a block's sites, by their distance from its first column."""
_MEMORY_CELLS = ("DP16KD", "PDPW16KD")
_25 = _Chip(50, (4, 13, 22, 33, 42, 51, 60), (13,), (25, 37))
_45 = _Chip(71, (4, 13, 22, 31, 42, 51, 60, 69, 78), (46, 22), (10, 34, 58))
_85 = _Chip(95, (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114), (58, 34, 10), (22, 46, 70, 82))
_CHIPS = {"12": _25, "25": _25, "45": _45, "85": _85}
_FAR = 2
"""Number of memory rows, at the end of the chip, for states, on chips with three or more."""

_LANE = re.compile(r"(.*)\.contract\.group(\d+)\.lane(\d+)\.multiplier(\d+)\.U\$\d+")
_INTERPOLATOR = re.compile(r".*\.contract\.group(\d+)\.interpolator\.multiplier\.U\$\d+")
_ACTIVATION = re.compile(r".*\.activation\.bank(\d+)_ram\d+_\d+")
_STATES = ("moment1", "moment2", "gradient", "master")
_STATE = re.compile(rf".*\.({'|'.join(_STATES)})\.bank(\d+)_ram\d+_\d+")
_CENTRAL = re.compile(r".*\.(weight|program|scalar_tables\.interpolator\.memory)\.bank\d+_ram\d+_\d+")
_TABLE = re.compile(r".*\.contract\.group(\d+)\.interpolator\.memory\.bank\d+_ram\d+_\d+")


def arrange(device: str, cells: dict[str, str]) -> dict[str, str]:
    """Returns the sites of those cells that are better fixed, as values of nextpnr's ``BEL``.

    It is empty for chips and designs that this module does not know, and where not all lanes find a
    place.

    :param device: the FPGA, as its maker calls it.
    :param cells: types of the netlist's cells, by name.
    """
    size = re.match(r"LFE5U\w*-(\d+)F", device)
    chip = _CHIPS.get(size[1]) if size is not None else None
    if chip is None:
        return {}
    return _Arrangement(chip, cells).sites


class _Arrangement:
    """Fixes an engine's cells one kind after the other; :attr:`sites` are those fixed so far."""

    def __init__(self, chip: _Chip, cells: dict[str, str]) -> None:
        self._chip = chip
        self.interpolators: dict[int, Place] = {}
        self.sites: dict[str, str] = {}
        multipliers = [name for name, kind in cells.items() if kind == "MULT18X18D"]
        memories = [name for name, kind in cells.items() if kind in _MEMORY_CELLS]
        if self._lanes(multipliers):
            self._others(multipliers)
            self._memories(memories)

    def _put(self, cell: str, site: Site) -> None:
        self.sites[cell] = _bel(site)

    def _free(self, sites: Iterable[Site]) -> list[Site]:
        taken = set(self.sites.values())
        return [site for site in sites if _bel(site) not in taken]

    def _lanes(self, multipliers: list[str]) -> bool:
        """Places the lanes in order, in each row as many whole ones as its blocks hold.

        Lanes keep away from each other where there is room, because their sums stand around their
        multipliers; and from the first row, around which the units of parameters stand. The middle
        block of a row is left for other multipliers. Returns whether all lanes found a place.
        """
        lanes: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for name in multipliers:
            if match := _LANE.fullmatch(name):
                lanes.setdefault((int(match[2]), int(match[3])), []).append((int(match[4]), name))
        rows = max(map(len, lanes.values()), default=0)
        if not rows:
            return False
        chip, middle = self._chip, len(self._chip.blocks) // 2
        lines: list[list[list[Site]]] = []
        for row in chip.multiplier_rows:
            blocks = [block for block in range(len(chip.blocks)) if block != middle]
            sites = [site for block in blocks for site in chip.multipliers(block, row)]
            whole = len(sites) // rows * rows
            lines.append([sites[i : i + rows] for i in range(0, whole, rows)])
        if sum(map(len, lines[1:])) >= len(lanes):
            del lines[0]
        turns = [place for turn, line in enumerate(lines) for place in (line[::-1] if turn % 2 else line)]
        if len(turns) < len(lanes):
            return False
        self.lanes: dict[tuple[int, int], Place] = {}
        for i, key in enumerate(sorted(lanes)):
            sites = turns[i * len(turns) // len(lanes)]
            for (_, name), site in zip(sorted(lanes[key]), sites, strict=True):
                self._put(name, site)
            self.lanes[key] = sites[len(sites) // 2][0]
        return True

    def _others(self, multipliers: list[str]) -> None:
        """Places interpolators near their lanes, and other units' multipliers in the middle."""
        chip = self._chip
        everywhere = [
            site
            for block, row in product(range(len(chip.blocks)), chip.multiplier_rows)
            for site in chip.multipliers(block, row)
        ]
        centre = chip.blocks[len(chip.blocks) // 2], chip.multiplier_rows[0]
        for name in sorted(set(multipliers) - set(self.sites), key=lambda name: ("group" in name, name)):
            match = _INTERPOLATOR.fullmatch(name)
            anchor = centre
            if match is not None:
                anchor = _mean([place for (group, _), place in self.lanes.items() if group == int(match[1])])
            if free := self._free(everywhere):
                self._put(name, site := min(free, key=lambda site: (_distance(site[0], anchor), site)))
                if match is not None:
                    self.interpolators[int(match[1])] = site[0]

    def _memories(self, memories: list[str]) -> None:
        """Places memories: states side by side at the edge, activations near their lanes.

        What all units need is in the middle. Activations at the ends of the chip come first,
        because they have the fewest sites near.
        """
        chip = self._chip
        edge = chip.memory_rows[-_FAR:] if len(chip.memory_rows) > _FAR else chip.memory_rows[-1:]
        middle = chip.blocks[len(chip.blocks) // 2] + 4
        central = min(chip.memory_rows, key=lambda row: abs(row - chip.height // 2))

        matches = [match for name in memories if (match := _STATE.fullmatch(name))]
        # The order from left to right: masters and gradients, which PERTURB and ACCUMULATE need,
        # are in the middle. Gradients of whole words have several banks to each of the others.
        banks = max((int(match[2]) + 1 for match in matches if match[1] == "master"), default=1)
        half = (banks + 1) // 2
        states = []
        for match in matches:
            bank, rank = int(match[2]) % banks, _STATES.index(match[1])
            states.append((bank, rank if bank < half else -rank, match[0]))
        states.sort()
        anchor = middle, round(sum(edge) / len(edge))
        sites = sorted(chip.memories(), key=lambda site: (_distance(site[0], anchor), site))[: len(states)]
        for (*_, name), site in zip(states, sorted(sites), strict=False):
            self._put(name, site)
        for name in sorted(name for name in memories if _CENTRAL.fullmatch(name)):
            self._put_near(name, chip.memories(), (middle, central))
        lanes = sorted(self.lanes)
        activations = sorted((int(match[1]), name) for name in memories if (match := _ACTIVATION.fullmatch(name)))
        for lane, name in sorted(activations, key=lambda item: (-abs(self.lanes[lanes[item[0]]][0] - middle), item)):
            self._put_near(name, chip.memories(), self.lanes[lanes[lane]])
        for name in sorted(memories):
            if match := _TABLE.fullmatch(name):
                self._put_near(name, chip.memories(), self.interpolators.get(int(match[1]), (middle, central)))

    def _put_near(self, cell: str, sites: Iterable[Site], place: Place) -> None:
        """Places a cell at the free site that is nearest to a place, if there is one."""
        if free := self._free(sites):
            self._put(cell, min(free, key=lambda site: (_distance(site[0], place), site[0][::-1])))


def _distance(a: Place, b: Place) -> int:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _mean(places: list[Place]) -> Place:
    return sum(x for x, _ in places) // len(places), sum(y for _, y in places) // len(places)


def _bel(site: Site) -> str:
    """Returns a site's name as nextpnr writes it."""
    (x, y), name = site
    return f"X{x}/Y{y}/{name}"


def _sites(x: int, y: int, names: dict[int, str]) -> list[Site]:
    """Returns the four sites of a block."""
    return [((x + offset, y), name) for offset, name in names.items()]
