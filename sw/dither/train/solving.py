"""A training step that the host solves for, as a conversation with a device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..compiler import DAMPINGS, Command, SolvingCommands
from .leastsquares import damped_solutions

__all__ = ["take_step"]

Integers = NDArray[np.int64]
Run = Callable[[Command], tuple[list[Integers], Mapping[str, int]]]
"""Runs a command on a device; its outputs and counters."""


def take_step(
    commands: SolvingCommands, run: Run, step: int, points: NDArray[np.float64], begun: int = 0
) -> tuple[int, dict[str, int]]:
    """Takes a damped Gauss-Newton step in the span of a step's probes.

    The device tries all of :data:`~dither.compiler.DAMPINGS` on the points that the probes saw, and
    then goes where the sum of squared residuals was least; it stays where it is if none was less.
    So the damping follows from the step alone, and a run that is resumed finds the same.

    :param points: the step's batch, shape (batch, dimensions).
    :param begun: number of the step that the schedule counts from.
    :returns: the sum of losses before the step, and the counters of all its commands together.
    """
    counters: Counter[str] = Counter()

    def told(command: Command) -> list[Integers]:
        outputs, counted = run(command)
        counters.update(counted)
        return outputs

    probed = commands.read_probe(told(commands.probe(step, points)), points)
    at = best = np.zeros(probed.columns.shape[1], np.int64)
    least = _square(probed.residuals)
    for solution in damped_solutions(probed.columns, probed.residuals, DAMPINGS):
        there = commands.coefficients(solution, step, begun)
        told(commands.move(step, there - at, begun))
        at = there
        found = _square(commands.read_residuals(told(commands.residuals(points)), points))
        if found < least:
            least, best = found, there
    told(commands.move(step, best - at, begun))
    return probed.loss_sum, dict(counters)


def _square(residuals: Integers) -> int:
    return int((residuals**2).sum())
