"""How large gradient accumulators become: a few probes of the float network decide UPDATE's first
shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...arch.isa import Distribution
from ...nn.models import Parameters
from ...recipe import ProbeGroup, Recipe
from ..errors import CompileError

__all__ = ["CALIBRATION_TILES", "GRADIENT_TARGET_BITS", "Losses", "gradient_shifts", "shift_to_target"]

GRADIENT_TARGET_BITS = 9
"""log2 of the RMS that gradient_shift aims h at: 7 bits below its 17-bit clip, 9 above Adam's
epsilon.
"""
CALIBRATION_PROBES = 8
CALIBRATION_TILES = 4
LARGEST_SHIFT = 47

Losses = Callable[[Parameters, int], NDArray[np.float64]]


def shift_to_target(rms: float, frac: int) -> int:
    """The shift that brings accumulators of a root mean square, in units of ``2**-frac``, to the
    target.
    """
    bits = math.log2(rms) + frac - GRADIENT_TARGET_BITS if rms > 0 else 0
    return max(0, min(LARGEST_SHIFT, round(bits)))


def gradient_shifts(
    recipe: Recipe, parameters: Parameters, losses: Losses, samples: int, loss_frac: int
) -> dict[str, int]:
    """The shift that brings each tensor's accumulators to an RMS near 2**9, from a few probes of
    the float network.

    An accumulator is a sum of loss differences with random signs, one for each tile and probe: its
    RMS is that of a tile's difference times the square root of their number. Tensors that no probe
    perturbs are left out.

    :param losses: every sample's loss, from parameters and the first layer that differs from
        ``parameters``.
    :param samples: how many samples they are.
    """
    rng = np.random.default_rng(0)
    base = losses(parameters, 0)

    def spread(group: ProbeGroup) -> float:
        coordinate = group.distribution is Distribution.COORDINATE
        if recipe.shared_probe or coordinate:
            per_draw, tiles, scale = samples, 1, recipe.batch / samples
        else:
            per_draw = min(recipe.tile, samples)
            tiles, scale = recipe.tiles, recipe.tile / per_draw
        used = samples // per_draw * per_draw
        names = group.tensors
        first = min(int(name.split(".")[0]) for name in names)
        total = 0.0
        for _ in range(CALIBRATION_PROBES):
            moves = {name: recipe.mu * rng.choice((-1.0, 1.0), np.shape(parameters[name])) for name in names}
            sides = []
            for sign in (1, -1)[: recipe.evaluations]:
                moved = dict(parameters) | {name: parameters[name] + sign * move for name, move in moves.items()}
                sides.append(losses(moved, first))
            difference = sides[0] - (sides[1] if recipe.evaluations == 2 else base)
            sums = difference[:used].reshape(-1, per_draw).sum(axis=1)
            total += float(np.mean(sums**2))
        rms = math.sqrt(total / CALIBRATION_PROBES * tiles * group.probes) * scale * group.distribution.deviation
        # One coordinate has its share of what all of them together make.
        return rms / math.sqrt(sum(np.size(parameters[name]) for name in names)) if coordinate else rms

    rms: dict[str, float] = {}
    for group in recipe.groups(parameters):
        rms |= dict.fromkeys(group.tensors, spread(group))
    shifts = {}
    for name, value in rms.items():
        if not math.isfinite(value):
            raise CompileError(f"{name}: calibration probes gave infinite losses; use a smaller mu")
        shifts[name] = shift_to_target(value, loss_frac)
    return shifts
