"""Number formats of a residual: from calibrated magnitudes to binary points and shifts.

Slots and accumulators are exact, so all that counts is how finely each result is rounded.
Magnitudes are those of the untrained network, and twice as much: or more, if f is to grow beyond
that; what is linear in f then grows with it, and products of n such words with its n-th power. What
grows further clips, which is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import GRADIENT_BITS
from ...recipe import Recipe
from ..errors import CompileError
from ..plan.lowering import Lowered, Run
from .forward import Proof, peak

__all__ = ["ResidualFormats", "loss_format", "residual_formats"]

Array = NDArray[np.float64]

HEADROOM = 2.0
COEFFICIENT_HEADROOM = 1.125
"""Coefficients are known functions: they hardly exceed what calibration points have."""
LOSS_BITS = 24
LOSS_HEADROOM = 4.0
LOSS_SHIFT_MAX = 32
_REGISTER_BITS = 32


@dataclass(frozen=True, slots=True)
class ResidualFormats:
    """Number formats between the network's output and the residual."""

    point: FixedPoint
    """The format of coordinates, shifted ones included."""
    columns: tuple[FixedPoint, ...]
    """Formats of the functionals' weights."""
    column_shift: int
    sum_shifts: tuple[int, ...]
    coefficients: tuple[FixedPoint, ...]
    """Formats of the terms' coefficients: all products have one binary point."""
    shift: int
    """The shift of the sum of terms."""
    residual: FixedPoint
    """The format of the residual without its source, and of the source."""


def _column_formats(
    lowered: Lowered, width: int, output: FixedPoint, reach: dict[Run, float]
) -> tuple[dict[Run, FixedPoint], int]:
    """The weights' format for each run of columns, and the shift that all of them share.

    A functional of finer results than another one's gets a larger factor in its weights, as far as
    these have room.
    """
    finest = {
        run: FixedPoint.covering(float(np.abs(lowered.matrix[:, run.first : run.first + run.count]).max()), width).frac
        for run in reach
    }
    wanted = {run: min(FixedPoint.covering(reach[run], width).frac, output.frac + finest[run]) for run in reach}
    shift = min(output.frac + finest[run] - wanted[run] for run in reach)
    return {run: FixedPoint(width, wanted[run] + shift - output.frac) for run in reach}, shift


def residual_formats(
    lowered: Lowered, width: int, point: FixedPoint, output: FixedPoint, magnitude: float, points: Array, slots: Array
) -> ResidualFormats:
    """Chooses all formats of a residual.

    :param point: the coordinates' format.
    :param output: the network's output format, which is the slots'.
    :param magnitude: what f is expected to reach.
    :param points: calibration points, shape (points, dimensions).
    :param slots: their slots with the untrained network, shape (points, slots).
    """
    columns, sums = lowered.words(slots)
    growth = HEADROOM * max(1.0, magnitude / peak(slots[:, 0]))
    degrees: list[int] = []

    def degree(run: Run) -> int:
        return 1 if run.linear else degrees[run.first]

    for entry in lowered.sums:
        degrees.append(degree(entry.left) + degree(entry.right))
    reach = {
        run: peak((columns if run.linear else sums)[:, run.first : run.first + run.count]) * growth ** degree(run)
        for run in lowered.runs
    }
    weights, column_shift = _column_formats(
        lowered, width, output, {run: reach[run] for run in lowered.runs if run.linear}
    )
    fracs = {run: output.frac + form.frac - column_shift for run, form in weights.items()}
    sum_shifts: dict[int, int] = {}
    for run in (run for run in lowered.runs if not run.linear):
        entries = lowered.sums[run.first : run.first + run.count]
        products = [fracs[entry.left] + fracs[entry.right] for entry in entries]
        fracs[run] = min(FixedPoint.covering(reach[run], width).frac, *products)
        sum_shifts |= {run.first + place: product - fracs[run] for place, product in enumerate(products)}
    finest = [
        FixedPoint.covering(float(np.abs(coefficient.value(points)).max()) * COEFFICIENT_HEADROOM, width).frac
        for coefficient, _ in lowered.terms
    ]
    product = min(fracs[run] + frac for (_, run), frac in zip(lowered.terms, finest, strict=True))
    total = lowered.residuals(points, columns, sums)
    largest = max(peak(total) * growth, HEADROOM * float(np.abs(lowered.source.value(points)).max()))
    residual = FixedPoint(width, min(FixedPoint.covering(largest, width).frac, product))
    return ResidualFormats(
        point=point,
        columns=tuple(form for run, form in weights.items() for _ in range(run.count)),
        column_shift=column_shift,
        sum_shifts=tuple(sum_shifts[number] for number in range(len(lowered.sums))),
        coefficients=tuple(FixedPoint(width, product - fracs[run]) for _, run in lowered.terms),
        shift=product - residual.frac,
        residual=residual,
    )


def loss_format(recipe: Recipe, residual: FixedPoint, largest: float) -> tuple[int, list[Proof]]:
    """A loss's fraction bits, and the proofs that sums of losses and gradients fit.

    :param largest: the largest loss in calibration.
    :raises CompileError: if a batch or its probes are too many.
    """
    wanted = math.floor(math.log2(((1 << LOSS_BITS) - 1) / (LOSS_HEADROOM * largest)))
    span = (1 << residual.width) - 1
    for frac in range(min(wanted, 2 * residual.frac), 2 * residual.frac - LOSS_SHIFT_MAX - 1, -1):
        bound = min((span**2 >> (2 * residual.frac - frac)) + 1, (1 << LOSS_BITS) - 1)
        total, gradient = bound * recipe.batch, bound * recipe.batch * recipe.most_probes
        if total < 1 << (_REGISTER_BITS - 1) and gradient < 1 << (GRADIENT_BITS - 1):
            return frac, [
                Proof("sum of losses", total, _REGISTER_BITS),
                Proof("gradient accumulators", gradient, GRADIENT_BITS),
            ]
    raise CompileError(
        f"{recipe.batch} samples and {recipe.most_probes} probes could overflow sums of losses or gradients; use fewer"
    )
