"""How large gradient accumulators become: a few probes of the float network tell, and decide
UPDATE's first shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...nn.models import Parameters
from ...recipe import Recipe

__all__ = ["CALIBRATION_TILES", "GRADIENT_TARGET_BITS", "FloatProbes", "Losses", "shift_to_target"]

GRADIENT_TARGET_BITS = 9
"""UPDATE's first shift aims at numbers of an RMS of ``2**9``: 7 bits below their 17-bit clip, and
far above Adam's epsilon, which gradients of few units feel.
"""
CALIBRATION_PROBES = 8
CALIBRATION_TILES = 4
LARGEST_SHIFT = 47

Losses = Callable[[Parameters, int], NDArray[np.float64]]
"""Every sample's loss, from parameters and the first layer whose parameters are not the initial
ones."""


def shift_to_target(rms: float, frac: int) -> int:
    """The shift that brings accumulators of a root mean square, in units of ``2**-frac``, to the
    target.
    """
    bits = math.log2(rms) + frac - GRADIENT_TARGET_BITS if rms > 0 else 0
    return max(0, min(LARGEST_SHIFT, round(bits)))


@dataclass(frozen=True, eq=False)
class FloatProbes:
    """Probes of the float network, drawn one after the other from one random generator."""

    recipe: Recipe
    parameters: Parameters
    losses: Losses
    samples: int
    """How many samples :attr:`losses` has."""
    loss_frac: int
    """Fraction bits of the losses that the engine will see."""
    rng: np.random.Generator

    @cached_property
    def _base(self) -> NDArray[np.float64]:
        return self.losses(self.parameters, 0)

    def rms(self, tensors: Sequence[str], *, probes: int, whole: bool) -> float:
        """The RMS that gradient accumulators of tensors perturbed together will have after a step.

        An accumulator is a sum of loss differences with random signs, one for each tile and probe:
        its RMS is that of a tile's difference times the square root of their number.

        :param probes: how many probes a tile has.
        :param whole: whether all tiles of a step share their probes, so that their differences
            add up.
        """
        recipe = self.recipe
        if whole:
            per_draw, tiles, scale = self.samples, 1, recipe.batch / self.samples
        else:
            per_draw = min(recipe.tile, self.samples)
            tiles, scale = recipe.tiles, recipe.tile / per_draw
        used = self.samples // per_draw * per_draw
        first = min(int(name.split(".")[0]) for name in tensors)
        total = 0.0
        for _ in range(CALIBRATION_PROBES):
            moves = {
                name: recipe.mu * self.rng.choice((-1.0, 1.0), np.shape(self.parameters[name])) for name in tensors
            }
            sides = []
            for sign in (1, -1)[: recipe.evaluations]:
                moved = {name: self.parameters[name] + sign * move for name, move in moves.items()}
                sides.append(self.losses(dict(self.parameters) | moved, first))
            difference = sides[0] - (sides[1] if recipe.evaluations == 2 else self._base)
            sums = difference[:used].reshape(-1, per_draw).sum(axis=1)
            total += float(np.mean(sums**2))
        return math.sqrt(total / CALIBRATION_PROBES * tiles * probes) * scale
