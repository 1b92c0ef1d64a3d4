"""Calibration: a float run of the network on typical samples decides all number formats and
gradient shifts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...nn import reference
from ...nn.models import Model, Parameters
from ...recipe import Recipe
from ..errors import CompileError
from ..plan.planner import LayerPlan
from .forward import Formats, Headroom, LayerFormats, Proof, input_format, layer_formats, peak, ranges
from .probes import CALIBRATION_TILES, Losses, gradient_shifts
from .proofs import accumulator_proofs, choose_loss_frac

__all__ = ["calibrate", "network_formats"]

CALIBRATION_SAMPLES = 1024
"""More would cost time and memory, and hardly widen a range that has bits of headroom."""


def calibrate(
    model: Model,
    recipe: Recipe,
    plans: list[LayerPlan],
    engine: EngineConfig,
    parameters: Parameters,
    inputs: ArrayLike,
    targets: ArrayLike,
    headroom: Headroom,
) -> Formats:
    """Choose every number format. Of the engine, only the width counts.

    :param inputs: shape (samples, inputs). All of them decide the input format; the first 1,024 are
        run.
    :param targets: classes, shape (samples,), or values, shape (samples, outputs).
    :raises CompileError: if a number cannot be held or an overflow not be excluded.
    """
    samples = np.asarray(inputs)
    wanted = np.asarray(targets)
    if samples.ndim != 2 or not len(samples) or samples.shape[1] != model.inputs or len(wanted) != len(samples):
        raise CompileError(
            f"calibration needs inputs of shape (samples, {model.inputs}) and as many targets, "
            f"not shapes {samples.shape} and {wanted.shape}"
        )
    parameters = {name: np.asarray(parameters[name], dtype=np.float64) for name in model.parameter_shapes()}
    source = input_format(model, peak(samples), engine.width)
    samples, wanted = samples[:CALIBRATION_SAMPLES].astype(np.float64), wanted[:CALIBRATION_SAMPLES]
    target_peak = peak(wanted) if model.loss == "squared_error" else 0.0
    layers, tensors, proofs = network_formats(
        model, recipe, plans, engine, parameters, source, samples, target_peak, headroom, visible=True
    )
    loss_frac, sums = choose_loss_frac(model, recipe, layers[-1].target)
    starts = min(len(samples), CALIBRATION_TILES * recipe.tile)
    losses = _losses(model, plans, parameters, samples[:starts], wanted[:starts])
    shifts = gradient_shifts(recipe, parameters, losses, starts, loss_frac)
    ordered = {name: tensors[name] for name in parameters}
    return Formats(engine.width, ordered, tuple(layers), loss_frac, shifts, (*proofs, *sums))


def network_formats(
    model: Model,
    recipe: Recipe,
    plans: list[LayerPlan],
    engine: EngineConfig,
    parameters: Parameters,
    source: FixedPoint,
    samples: NDArray[np.float64],
    target_peak: float,
    headroom: Headroom,
    *,
    visible: bool,
) -> tuple[list[LayerFormats], dict[str, FixedPoint], list[Proof]]:
    """Formats of all layers, those of their tensors by name, and proofs of their accumulators.

    :param source: the input format.
    :param samples: what to run, shape (samples, inputs).
    :param target_peak: a magnitude that outputs must reach, besides those found.
    :param visible: whether LOSS sees the outputs, which limits their fraction bits.
    """
    peaks = []
    state = samples
    for plan in plans:
        states, state = reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)
        peaks.append(tuple(peak(values) for values in states))
    reach = ranges(model, peaks, target_peak, headroom)
    layers: list[LayerFormats] = []
    tensors: dict[str, FixedPoint] = {}
    proofs: list[Proof] = []
    for position, plan in enumerate(plans):
        formats, found = layer_formats(
            plan,
            engine.width,
            source,
            peaks[position],
            reach[position],
            parameters,
            4 * recipe.mu,
            headroom,
            visible and plan is plans[-1],
        )
        tensors |= found
        layers.append(formats)
        proofs += accumulator_proofs(plan, formats, engine)
        source = formats.target
    return layers, tensors, proofs


def _losses(
    model: Model,
    plans: list[LayerPlan],
    parameters: Parameters,
    inputs: NDArray[np.float64],
    targets: NDArray[np.generic],
) -> Losses:
    """Every sample's loss with other parameters, computed from the first layer on that they
    change.
    """
    starts = [inputs]

    def run(parameters: Parameters, plan: LayerPlan, state: NDArray[np.float64]) -> NDArray[np.float64]:
        return reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)[1]

    for plan in plans:
        starts.append(run(parameters, plan, starts[-1]))

    def losses(parameters: Parameters, first: int) -> NDArray[np.float64]:
        state = starts[first]
        for plan in plans[first:]:
            state = run(parameters, plan, state)
        return reference.sample_losses(model, state, targets)

    return losses
