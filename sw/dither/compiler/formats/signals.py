"""Calibration of error signals: what a layer's signal looks like in floats, and the number formats
of what a layer makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...nn import adjoints, reference
from ...nn.models import Parameters
from ..errors import CompileError
from ..plan.planner import LayerPlan
from ..plan.setting import Setting
from .forward import Formats, MatrixFormats, peak

__all__ = ["CALIBRATION_PROBES", "FINEST_LOSS", "Calibration", "Typical", "carried_formats", "layer_outputs"]

CALIBRATION_PROBES = 8
ADJOINT_HEADROOM = 5
"""Bits of headroom above calibrated peaks, behind a layer's last step but one."""
ADJOINT_GROWTH = 1
"""More bits of headroom for each step before it, as each core's growth comes on top of those
behind it.
"""
FINEST_LOSS = 16
"""Fraction bits of a kept loss, at most: LOSS has no more."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Typical:
    """What calibration finds out about a layer's error signal."""

    signal: FixedPoint
    values: Array
    """Typical values, in floats, shape (samples, outputs of the layer)."""
    loss_frac: int = FINEST_LOSS
    """Fraction bits of kept losses, at most."""
    matrix: MatrixFormats | None = None
    """Formats of the estimator's matrix, if it has one."""


def layer_outputs(plans: Sequence[LayerPlan], parameters: Parameters, state: Array, first: int) -> list[Array]:
    """Outputs of the layers from ``first`` on in floats, from the inputs of that layer."""
    found = []
    for plan in plans[first:]:
        _, state = reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)
        found.append(state)
    return found


def carried_formats(weights: Sequence[FixedPoint], states: Sequence[Array], last: FixedPoint) -> tuple[FixedPoint, ...]:
    """Formats of derivatives that are carried back through contraction steps, in front of each.

    :param weights: formats of the steps' weights.
    :param states: typical values of the derivatives in front of each step.
    :param last: the format of those behind the last step.
    """
    found = [last]
    for number, (weight, state) in enumerate(zip(reversed(weights), reversed(states), strict=True)):
        headroom = ADJOINT_HEADROOM + ADJOINT_GROWTH * number
        best = FixedPoint.reaching(math.ldexp(peak(state), headroom), last.width)
        found.append(FixedPoint(last.width, min(best.frac, weight.frac + found[-1].frac)))
    return tuple(found[:0:-1])


@dataclass(frozen=True, slots=True)
class Calibration:
    """A layer in floats, among the others, on typical samples."""

    setting: Setting
    formats: Formats
    parameters: Parameters
    targets: NDArray[np.generic]
    outputs: Sequence[Array]
    """Outputs of every layer, behind its activation function, shape (samples, outputs of the
    layer)."""
    position: int

    @property
    def plan(self) -> LayerPlan:
        """The layer's contraction plan."""
        return self.setting.plans[self.position]

    @property
    def errors(self) -> Array:
        """Derivatives of every sample's loss by the network's outputs."""
        return adjoints.output_errors(self.setting.model, self.outputs[-1], self.targets)

    @property
    def mine(self) -> Array:
        """The layer's outputs; a recurrent layer's last ones."""
        return self.outputs[self.position]

    def behind(self, signal: FixedPoint, values: Array) -> tuple[FixedPoint, ...]:
        """Formats of the derivatives behind each contraction step of the layer.

        :param signal: of the error signal; the derivatives behind the last step have it too.
        :param values: typical values of the signal.
        :raises CompileError: for activation functions whose derivative their value does not tell.
        """
        plan, width = self.plan, signal.width
        try:
            delta = values * adjoints.derivative(plan.layer.activation, self.mine)
        except ValueError as error:
            raise CompileError(f"layer {plan.position}: {error}; use relu, tanh or none") from None
        if plan.layer.activation == "tanh" and self.formats.layers[self.position].target.frac < width - 3:
            raise CompileError(f"layer {plan.position}: inputs beyond 4 leave tanh's outputs too few bits; scale them")
        if len(plan.steps) == 1:
            return (signal,)
        states = adjoints.adjoints(plan.steps, self.parameters, delta)
        weights = [self.formats.tensors[step.tensor] for step in plan.steps]
        return (*carried_formats(weights[1:], states[:-1], signal), signal)

    def differences(self) -> tuple[float, Array]:
        """What perturbing the layer's outputs does to the losses: the largest difference of a
        sample's loss, and sums, over eight perturbations, of differences times signs.
        """
        model, plan = self.setting.model, self.plan
        rng = np.random.default_rng(0)
        gate = self.mine > 0 if plan.layer.activation == "relu" else np.ones_like(self.mine)
        base = reference.sample_losses(model, self.outputs[-1], self.targets)
        total, largest = np.zeros_like(self.mine), 0.0
        for _ in range(CALIBRATION_PROBES):
            signs = rng.choice((-1.0, 1.0), self.mine.shape)
            difference = reference.sample_losses(model, self.moved(signs * gate), self.targets) - base
            largest = max(largest, peak(difference))
            total += difference[:, None] * signs
        return largest, total

    def moved(self, signs: Array) -> Array:
        """The network's outputs if the layer's are perturbed.

        :param signs: of the recipe's steps, shape (samples, outputs of the layer).
        """
        state = self.mine + self.setting.recipe.activity_mu * signs
        return (layer_outputs(self.setting.plans, self.parameters, state, self.position + 1) or [state])[-1]
