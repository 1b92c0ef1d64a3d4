"""Steps that the host solves for: what it says to the device in each of them, and what the answers
mean.

A step of the estimator ``residualwise`` is a conversation. The device tells what each probe does to
the residual of every point; the host finds steps, has the device try them on the same points, and
lets it go where the residuals were smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.isa import Memory
from ..arch.streams import Expect, Segment
from .commands import Command, groups_of
from .gradients import COEFFICIENT_FRAC, DAMPINGS
from .program import Program

__all__ = ["Probed", "SolvingCommands"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """What the probes of a step found. All residuals are integers of one unit."""

    loss_sum: int
    """Sum of base losses, as a training step's."""
    residuals: Integers
    """At the parameters themselves, shape (points,)."""
    columns: Integers
    """Their change from one side of a probe to the other, or from the base, shape (points,
    probes)."""


@dataclass(frozen=True, slots=True)
class SolvingCommands:
    """The commands of one step, of a program whose recipe is
    :attr:`~dither.recipe.Recipe.solved`.
    """

    program: Program

    def probe(self, step: int, points: ArrayLike) -> Command:
        """Asks what the probes of a step do to the residuals.

        :param points: a batch, shape (batch, dimensions).
        :raises ValueError: on a batch of another size than the recipe's.
        """
        recipe, lanes = self.program.recipe, self.program.engine.lanes
        if len(np.asarray(points)) != recipe.batch:
            raise ValueError(f"the batch has {len(np.asarray(points))} points, not the recipe's {recipe.batch}")
        groups = groups_of(self.program, points, None)
        scalars = Segment.scalars([recipe.seed, step, recipe.batch // lanes, 0, 0])
        expects = (Expect(Memory.ACTIVATION, 1 + recipe.most_probes),) * len(groups)
        return Command(self.program.entries["share"], (scalars, *groups), (*expects, Expect(None, 1)))

    def read_probe(self, outputs: Sequence[Integers], points: ArrayLike) -> Probed:
        """The outputs of a ``probe`` command on some points."""
        words = np.concatenate(outputs[:-1], axis=1)
        return Probed(int(outputs[-1][0, 0]), words[0] - self._sources(points), words[1:].T)

    def residuals(self, points: ArrayLike) -> Command:
        """Asks for the residuals of a batch at the parameters as they are."""
        groups = groups_of(self.program, points, None)
        expects = (Expect(Memory.ACTIVATION, 1),) * len(groups)
        return Command(self.program.entries["residuals"], (Segment.scalars([len(groups)]), *groups), expects)

    def read_residuals(self, outputs: Sequence[Integers], points: ArrayLike) -> Integers:
        """The outputs of a ``residuals`` command on some points, shape (points,)."""
        return np.asarray(np.concatenate(outputs, axis=1)[0] - self._sources(points))

    def coefficients(self, solution: NDArray[np.float64], step: int, begun: int = 0) -> Integers:
        """Returns what :meth:`move` takes for a step to the least residuals.

        :param solution: coefficients c for which ``columns @ c`` is nearest to the residuals, shape
            (probes,).
        :returns: integers of the same shape. They are no longer than what moves the parameters by
            the root mean square that is the step's rate.
        """
        recipe = self.program.recipe
        rate = math.ldexp(self._mantissa(step, begun), -self.program.rates.exponent)
        if not rate:
            return np.zeros(len(solution), np.int64)
        wanted = solution * (recipe.evaluations * recipe.mu / rate)
        # Sums of floats have one right result only if they are exact before they are rounded.
        length = math.sqrt(math.fsum((wanted * wanted).tolist()))
        return np.floor(np.ldexp(wanted / max(1.0, length), COEFFICIENT_FRAC) + 0.5).astype(np.int64)

    def move(self, step: int, coefficients: Integers, begun: int = 0) -> Command:
        """Moves the parameters by a combination of a step's probes.

        :param coefficients: of each probe, from :meth:`coefficients`, or a difference of two such.
        :param begun: number of the step that the schedule counts from.
        """
        scalars = [self.program.recipe.seed, step, self._mantissa(step, begun), *coefficients.tolist()]
        return Command(self.program.entries["apply"], (Segment.scalars(scalars),))

    def conversation(self, points: ArrayLike) -> list[Command]:
        """Returns all commands of a step on some points, with coefficients of zero: for costs."""
        trial = (self.move(0, np.zeros(self.program.recipe.most_probes, np.int64)), self.residuals(points))
        return [self.probe(0, points), *trial * len(DAMPINGS), trial[0]]

    def _mantissa(self, step: int, begun: int) -> int:
        return self.program.rates.mantissa(self.program.recipe, step - begun)

    def _sources(self, points: ArrayLike) -> Integers:
        """What is subtracted from each point's word to make its residual."""
        return np.asarray(self.program.samples.words(points, None)[:, self.program.samples.label + 1])
