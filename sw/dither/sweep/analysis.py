"""What a sweep has found: the best compromises, and what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["dominates", "front", "importance"]

_BINS = 4
"""Groups that the values of a range fall into, to see what goes with them."""


def dominates(left: Sequence[float], right: Sequence[float]) -> bool:
    """Returns whether one point is nowhere worse than another, and somewhere better.

    :param left: a point, of whose numbers less is better.
    """
    return all(a <= b for a, b in zip(left, right, strict=True)) and tuple(left) != tuple(right)


def front(points: Mapping[int, Sequence[float]]) -> list[int]:
    """Returns the names of all points that none of the others dominates, in their order.

    :param points: points by name, of whose numbers less is better; infinite ones are on no front.
    """
    finite = {name: point for name, point in points.items() if all(map(math.isfinite, point))}
    return [name for name, point in finite.items() if not any(dominates(each, point) for each in finite.values())]


def importance(values: Sequence[Mapping[str, Any]], results: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """Returns how much of the variance of a result goes with each choice alone, from 0 to 1.

    That is the variance between groups of trials with the same value over the whole variance; the
    numbers of a range are divided into four groups. What choices do together is in none of them.
    """
    outcomes = np.array(results, float)
    whole = float(outcomes.var()) if len(outcomes) else 0.0
    found = {}
    for name in names:
        groups: dict[Any, list[float]] = {}
        for key, outcome in zip(_groups([each.get(name) for each in values]), outcomes, strict=True):
            groups.setdefault(key, []).append(float(outcome))
        between = sum(len(group) * (np.mean(group) - outcomes.mean()) ** 2 for group in groups.values())
        found[name] = float(between / len(outcomes) / whole) if whole > 0 else 0.0
    return found


def _groups(values: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or len(set(values)) <= 2 * _BINS:
        return [str(value) for value in values]
    edges = np.quantile(np.array(values, float), np.arange(1, _BINS) / _BINS)
    return [int(np.searchsorted(edges, float(value), side="right")) for value in values]
