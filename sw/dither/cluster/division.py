"""Dividing a step's samples among devices: pieces of whole lane groups, by measured speed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Piece", "Worker", "covers", "divide", "grain", "pieces_of"]

Piece = tuple[int, int]
"""Neighbouring samples of a batch, within one tile: number of the first, and how many."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What matters of a device when samples are divided."""

    lanes: int
    """Samples of a lane group: it computes multiples of this only."""
    speed: float | None = None
    """Measured samples a second; None before the first measurement."""


def pieces_of(batch: int, tile: int, part: int) -> list[Piece]:
    """Returns the largest pieces of a batch.

    :param part: samples that come from the same owner of data: no piece is of two owners.
    """
    ends = sorted({*range(0, batch, tile), *range(0, batch, part), batch})
    return [(first, end - first) for first, end in itertools.pairwise(ends)]


def grain(batch: int, tile: int, part: int, devices: int) -> int:
    """Returns how many samples software should take at once, whose lane groups can be of any size.

    There are twice as many pieces as devices, if tiles can be divided so often, so that a slow one
    can be given less.

    :param part: samples of a step that come from the same owner of data.
    """
    tile = math.gcd(tile, part)
    sizes = [size for size in range(1, tile + 1) if tile % size == 0]
    return max((size for size in sizes if batch // size >= 2 * devices), default=1) if devices > 1 else tile


def divide(
    open_pieces: Sequence[Piece], tile: int, workers: Mapping[str, Worker]
) -> tuple[dict[str, list[Piece]], list[Piece]]:
    """Returns which pieces each device gets, and what none of them can take.

    :param open_pieces: what has to be done.
    :param tile: samples that share probes: no piece crosses from one into another.
    :param workers: devices that have nothing to do, by name.
    """
    found: dict[str, list[Piece]] = {}
    if not workers:
        return found, list(open_pieces)
    size = math.lcm(*(each.lanes for each in workers.values()))
    units, rest = [], []
    for first, count in open_pieces:
        begin, end = -(-first // size) * size, (first + count) // size * size
        if begin >= end:
            rest.append((first, count))
            continue
        units += list(range(begin, end, size))
        rest += [(a, b - a) for a, b in ((first, begin), (end, first + count)) if a < b]
    for name, share in _quotas(len(units), workers).items():
        mine, units = units[:share], units[share:]
        if mine:
            found[name] = _joined(mine, size, tile)
    left = []
    for piece in rest:
        able = [name for name, each in workers.items() if piece[0] % each.lanes == 0 and piece[1] % each.lanes == 0]
        if able:
            # Odd pieces are left over by devices that were lost: rare, and small.
            name = max(able, key=lambda name: workers[name].speed or 0.0)
            found[name] = [*found.get(name, ()), piece]
        else:
            left.append(piece)
    return found, left


def _quotas(units: int, workers: Mapping[str, Worker]) -> dict[str, int]:
    """How many units each device gets: in proportion to speed, by largest remainders."""
    known = [each.speed for each in workers.values() if each.speed is not None]
    usual = sum(known) / len(known) if known else 1.0
    speeds = {name: usual if each.speed is None else each.speed for name, each in workers.items()}
    wanted = {name: units * speed / sum(speeds.values()) for name, speed in speeds.items()}
    quotas = {name: int(value) for name, value in wanted.items()}
    over = sorted(wanted, key=lambda name: (quotas[name] - wanted[name], name))
    for name in over[: units - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _joined(units: Sequence[int], size: int, tile: int) -> list[Piece]:
    """Neighbouring units of one tile as one piece."""
    pieces: list[Piece] = []
    for unit in units:
        if pieces and sum(pieces[-1]) == unit and unit % tile:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + size)
        else:
            pieces.append((unit, size))
    return pieces


def covers(pieces: Sequence[Piece], batch: int) -> bool:
    """Whether pieces are all samples of a batch, each of them once."""
    behind = 0
    for first, count in sorted(pieces):
        if first != behind or count < 1:
            return False
        behind += count
    return behind == batch
