"""Successive halving: trainings that promise nothing end early, but not those that start slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..runs import CurveRow

__all__ = ["kept", "rungs"]


def rungs(steps: int, log_every: int, factor: int | None) -> list[int]:
    """Returns the steps at which trainings are compared, and the last one.

    :param factor: one of so many goes on each time; None for a single rung.
    """
    if factor is None:
        return [steps]
    found = [steps]
    while (
        (before := -(-found[0] // factor // log_every) * log_every) < found[0]
        and before >= log_every
        and len(found) < 4
    ):
        found.insert(0, before)
    return found


def kept(curves: Mapping[str, Sequence[CurveRow]], factor: int, lower: bool) -> list[str]:
    """Returns which trainings go on, in their order.

    One of ``factor`` goes on for the figure of merit that it has reached. A slow starter would lose
    by that alone, so as many go on for what they have gained of late: from the middle of their
    curve to its end. Both may be the same.

    :param curves: logged steps by training, all up to the same step.
    :param lower: whether less is better.
    """
    sign = -1.0 if lower else 1.0
    count = -(-len(curves) // factor)
    reached = {key: sign * rows[-1].metric for key, rows in curves.items()}
    gained = {key: reached[key] - sign * rows[(len(rows) - 1) // 2].metric for key, rows in curves.items()}
    best = {key for scores in (reached, gained) for key in sorted(scores, key=lambda key: (-scores[key], key))[:count]}
    return [key for key in curves if key in best]
