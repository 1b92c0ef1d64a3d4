"""Number formats of local learning: error signals, derivatives within a layer, learned and fixed
matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.fixedpoint import FixedPoint
from ...nn import adjoints as local
from ...nn import reference
from ...nn.models import RNN, Model, Parameters
from ...recipe import Recipe
from ..errors import CompileError
from ..plan.planner import LayerPlan
from .forward import Formats, covering, peak

__all__ = ["LocalFormats", "error_format", "local_formats"]

CALIBRATION_SAMPLES = 256
CALIBRATION_PROBES = 8
SIGNAL_HEADROOM = 2
"""Bits above the calibrated peak of a signal that is measured rather than bounded."""
LEARNED_HEADROOM = 5
"""Bits above the calibrated peak of what a learned matrix carries back: it grows as the weights
that it stands for.
"""
ADJOINT_HEADROOM = 5
"""Bits above calibrated peaks behind a layer's last step but one ..."""
ADJOINT_GROWTH = 1
"""... and bits more for each step before it: each core's growth comes on top of those behind it."""
CONFIDENCE = 5.0
"""A sum of K numbers with random signs stays below this many times sqrt(K) of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFormats:
    """Of one layer that learns locally."""

    signal: FixedPoint
    """The error signal at the layer's outputs, behind the activation function."""
    behind: tuple[FixedPoint, ...]
    """Derivatives behind each contraction step; the last one before the activation function."""
    loss_frac: int
    """Of kept losses (``activity``, ``regression``)."""
    matrix: FixedPoint
    """Of the learned matrix (``mirror``, ``regression``), or of the fixed one."""


def error_format(model: Model, formats: Formats) -> FixedPoint:
    """Of output errors, as LOSS writes them."""
    squared = model.loss == "squared_error"
    return formats.output if squared else FixedPoint(formats.width, formats.width - 2)


def local_formats(
    model: Model,
    recipe: Recipe,
    plans: Sequence[LayerPlan],
    formats: Formats,
    parameters: Parameters,
    inputs: ArrayLike,
    targets: ArrayLike,
) -> dict[int, LocalFormats]:
    """Formats by position, for every layer that has a local estimator.

    :raises CompileError: for activation functions whose derivative their value does not tell.
    """
    layers = recipe.local_layers(len(plans))
    if not layers:
        return {}
    samples = np.asarray(inputs)[:CALIBRATION_SAMPLES].astype(np.float64)
    wanted = np.asarray(targets)[:CALIBRATION_SAMPLES]
    outputs = _outputs(plans, parameters, samples, 0)
    makers, made = {}, {}
    for position in layers:
        plan, (estimator, probes) = plans[position], recipe.by_layer(len(plans))[position]
        makers[position] = _Maker(model, recipe, plans, formats, parameters, wanted, outputs, plan, probes)
        made[position] = getattr(makers[position], estimator)()
    # Losses are kept once for all layers.
    loss_frac = min(frac for _, _, frac, _ in made.values())
    found = {}
    for position, (form, values, _, matrix) in made.items():
        estimator, _ = recipe.by_layer(len(plans))[position]
        signal = FixedPoint(formats.width, loss_frac) if estimator == "activity" else form
        found[position] = LocalFormats(
            signal=signal, behind=makers[position].behind(signal, values), loss_frac=loss_frac, matrix=matrix
        )
    return found


def _outputs(
    plans: Sequence[LayerPlan], parameters: Parameters, state: NDArray[np.float64], first: int
) -> list[NDArray[np.float64]]:
    found = []
    for plan in plans[first:]:
        _, state = reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)
        found.append(state)
    return found


FINEST_LOSS = 16

_Made = tuple[FixedPoint, NDArray[np.float64], int, FixedPoint]
"""Format and typical values of a signal, fraction bits of kept losses, format of the matrix."""


@dataclass(frozen=True, slots=True)
class _Maker:
    model: Model
    recipe: Recipe
    plans: Sequence[LayerPlan]
    formats: Formats
    parameters: Parameters
    targets: NDArray[np.generic]
    outputs: Sequence[NDArray[np.float64]]
    plan: LayerPlan
    probes: int

    @property
    def width(self) -> int:
        return self.formats.width

    @property
    def errors(self) -> NDArray[np.float64]:
        return local.output_errors(self.model, self.outputs[-1], self.targets)

    @property
    def mine(self) -> NDArray[np.float64]:
        """The layer's outputs; a recurrent layer's last ones."""
        return self.outputs[self.plan.position]

    def behind(self, signal: FixedPoint, values: NDArray[np.float64]) -> tuple[FixedPoint, ...]:
        """Formats of the derivatives behind each step, the last one gated by the activation
        function.
        """
        try:
            delta = values * local.derivative(self.plan.layer.activation, self.mine)
        except ValueError as error:
            raise CompileError(f"layer {self.plan.position}: {error}; use relu, tanh or none") from None
        if len(self.plan.steps) == 1:
            return (signal,)
        states = local.adjoints(self.plan.steps, self.parameters, delta)
        found = [signal]
        for number in reversed(range(len(self.plan.steps) - 1)):
            weights = self.formats.tensors[self.plan.steps[number + 1].tensor]
            headroom = ADJOINT_HEADROOM + ADJOINT_GROWTH * (len(found) - 1)
            best = covering(math.ldexp(peak(states[number]), headroom), self.width)
            found.append(FixedPoint(self.width, min(best.frac, weights.frac + found[-1].frac)))
        return tuple(found[::-1])

    def exact(self) -> _Made:
        if self.plan is not self.plans[-1]:
            raise CompileError("exact errors are known at the last layer only; use another estimator for the others")
        form = error_format(self.model, self.formats)
        return form, self.errors, FINEST_LOSS, form

    def _random(self, inputs: int) -> tuple[NDArray[np.float64], FixedPoint]:
        """A fixed matrix and its format: magnitudes of a quarter of the range."""
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (inputs, self.plan.layer.output_size))
        return signs * self.recipe.projection, covering(2 * self.recipe.projection, self.width)

    def feedback(self) -> _Made:
        matrix, form = self._random(self.model.outputs)
        errors = self.errors
        # Errors of a softmax add up to 2 at most, whatever their signs.
        bound = 2.0 if self.model.loss == "cross_entropy" else 4 * peak(np.abs(errors).sum(axis=1))
        return covering(bound * self.recipe.projection, self.width), errors @ matrix, FINEST_LOSS, form

    def projection(self) -> _Made:
        matrix, form = self._random(self.model.outputs)
        code = local.class_code(self.model.outputs, self.targets)
        return covering(2 * self.recipe.projection, self.width), code @ matrix, FINEST_LOSS, form

    def target(self) -> _Made:
        matrix, form = self._random(self.model.outputs)
        code = local.class_code(self.model.outputs, self.targets) @ matrix
        distance = self.mine + code
        if self.recipe.local_loss == "l1":
            return FixedPoint(self.width, self.width - 2), np.sign(distance), FINEST_LOSS, form
        reach = self.formats.layers[self.plan.position].target.limit
        reach = min(reach, 4 * peak(self.mine)) + 2 * self.recipe.projection
        return covering(reach, self.width), distance, FINEST_LOSS, form

    def _perturbable(self) -> None:
        if isinstance(self.plan.layer, RNN):
            raise CompileError("a recurrent layer has no activities to perturb; use target, projection or feedback")

    def _differences(self) -> tuple[float, NDArray[np.float64]]:
        """The largest loss difference of a perturbation, and sums of differences times signs."""
        rng = np.random.default_rng(0)
        gate = self.mine > 0 if self.plan.layer.activation == "relu" else np.ones_like(self.mine)
        base = reference.sample_losses(self.model, self.outputs[-1], self.targets)
        total, largest = np.zeros_like(self.mine), 0.0
        for _ in range(CALIBRATION_PROBES):
            signs = rng.choice((-1.0, 1.0), self.mine.shape)
            moved = self.mine + self.recipe.activity_mu * signs * gate
            last = (_outputs(self.plans, self.parameters, moved, self.plan.position + 1) or [moved])[-1]
            difference = reference.sample_losses(self.model, last, self.targets) - base
            largest = max(largest, peak(difference))
            total += difference[:, None] * signs
        return largest, total

    def activity(self) -> _Made:
        self._perturbable()
        largest, total = self._differences()
        reach = CONFIDENCE * math.sqrt(self.probes) * largest
        frac = min(FINEST_LOSS, covering(math.ldexp(reach, SIGNAL_HEADROOM), self.width).frac)
        form = FixedPoint(self.width, frac)
        return form, total * math.sqrt(self.probes / CALIBRATION_PROBES), frac, form

    def regression(self) -> _Made:
        form, signal, _, matrix = self.mirror()
        largest, _ = self._differences()
        return form, signal, min(FINEST_LOSS, covering(math.ldexp(largest, LEARNED_HEADROOM), self.width).frac), matrix

    def mirror(self) -> _Made:
        self._perturbable()
        position = self.plan.position
        signal = local.propagated(self.model, self.parameters, self.outputs, self.errors, position)
        matrix = np.eye(self.plan.layer.output_size)
        for number in range(position + 1, len(self.plans)):
            matrix = matrix @ reference.dense_matrix(number, self.model.layers[number], self.parameters)
        # It grows as the weights do that it stands for.
        form = covering(math.ldexp(peak(matrix), LEARNED_HEADROOM), self.width)
        return covering(math.ldexp(peak(signal), LEARNED_HEADROOM), self.width), signal, FINEST_LOSS, form
