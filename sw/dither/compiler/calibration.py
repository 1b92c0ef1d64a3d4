"""Calibration: a float run of the network on typical samples decides all number formats and gradient shifts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import reference
from ..engine import EngineConfig
from ..fixedpoint import FixedPoint
from ..models import Model, Parameters
from ..recipe import ProbeGroup, Recipe
from .errors import CompileError
from .formats import Formats, Headroom, LayerFormats, Proof, covering, layer_formats, peak, ranges
from .planner import LayerPlan
from .proofs import accumulator_proofs, choose_loss_frac

__all__ = ["calibrate"]

GRADIENT_TARGET_BITS = 9
"""log2 of the RMS that gradient_shift aims h at: 7 bits below its 17-bit clip, 9 above Adam's epsilon."""
CALIBRATION_PROBES = 8
CALIBRATION_TILES = 4
CALIBRATION_SAMPLES = 1024
"""More would cost time and memory, and hardly widen a range that has bits of headroom."""


def _outputs(model: Model, plans: list[LayerPlan], parameters: Parameters, inputs: NDArray[np.float64],
             first: int = 0) -> NDArray[np.float64]:  # fmt: skip
    state = inputs
    for plan in plans[first:]:
        states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, state)
        state = reference.activate(plan.layer.activation, states[-1])
    return state


def _gradient_shifts(
    model: Model, recipe: Recipe, plans: list[LayerPlan], parameters: Parameters,
    inputs: NDArray[np.float64], targets: NDArray[np.generic], loss_frac: int,
) -> dict[str, int]:  # fmt: skip
    """The shift that brings each tensor's accumulators to an RMS near 2**9, from a few probes of the float network.

    An accumulator is a sum of loss differences with random signs, one for each tile and probe: its RMS is that of a
    tile's difference times the square root of their number.
    """
    samples = min(len(inputs), CALIBRATION_TILES * recipe.tile)
    inputs, targets = inputs[:samples], targets[:samples]
    if recipe.shared_probe:
        per_draw, tiles, scale = samples, 1, recipe.batch / samples
    else:
        per_draw = min(recipe.tile, samples)
        tiles, scale = recipe.tiles, recipe.tile / per_draw
    used = samples // per_draw * per_draw
    rng = np.random.default_rng(0)

    starts = [inputs]
    for plan in plans:
        states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, starts[-1])
        starts.append(reference.activate(plan.layer.activation, states[-1]))
    base = reference.sample_losses(model, starts[-1], targets)

    def spread(group: ProbeGroup) -> float:
        names = group.tensors
        first = min(int(name.split(".")[0]) for name in names)
        total = 0.0
        for _ in range(CALIBRATION_PROBES):
            moves = {name: recipe.mu * rng.choice((-1.0, 1.0), np.shape(parameters[name])) for name in names}
            sides = []
            for sign in (1, -1)[: recipe.evaluations]:
                moved = dict(parameters) | {name: parameters[name] + sign * move for name, move in moves.items()}
                outputs = _outputs(model, plans, moved, starts[first], first)
                sides.append(reference.sample_losses(model, outputs, targets))
            difference = sides[0] - (sides[1] if recipe.evaluations == 2 else base)
            sums = difference[:used].reshape(-1, per_draw).sum(axis=1)
            total += float(np.mean(sums**2))
        return math.sqrt(total / CALIBRATION_PROBES * tiles * group.probes) * scale

    rms: dict[str, float] = {}
    for group in recipe.groups(parameters):
        rms |= dict.fromkeys(group.tensors, spread(group))
    shifts = {}
    for name, value in rms.items():
        if not math.isfinite(value):
            raise CompileError(f"{name}: calibration probes gave infinite losses; use a smaller mu")
        bits = math.log2(value) + loss_frac - GRADIENT_TARGET_BITS if value > 0 else 0
        shifts[name] = max(0, min(31, round(bits)))
    return shifts


def calibrate(
    model: Model, recipe: Recipe, plans: list[LayerPlan], engine: EngineConfig, parameters: Parameters,
    inputs: ArrayLike, targets: ArrayLike, headroom: Headroom,
) -> Formats:  # fmt: skip
    """Choose every number format. Of the engine, only the width counts.

    :param inputs: shape (samples, inputs). All of them decide the input format; the first 1,024 are run.
    :param targets: classes, shape (samples,), or values, shape (samples, outputs).
    :raises CompileError: if a number cannot be held or an overflow not be excluded.
    """
    samples = np.asarray(inputs, dtype=np.float64)
    wanted = np.asarray(targets)
    if samples.ndim != 2 or not len(samples) or samples.shape[1] != model.inputs or len(wanted) != len(samples):
        raise CompileError(
            f"calibration needs inputs of shape (samples, {model.inputs}) and as many targets, "
            f"not shapes {samples.shape} and {wanted.shape}"
        )
    parameters = {name: np.asarray(parameters[name], dtype=np.float64) for name in model.parameter_shapes()}
    source: FixedPoint = covering(peak(samples), engine.width)
    samples, wanted = samples[:CALIBRATION_SAMPLES], wanted[:CALIBRATION_SAMPLES]
    peaks = []
    state = samples
    for plan in plans:
        states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, state)
        peaks.append(tuple(peak(values) for values in states))
        state = reference.activate(plan.layer.activation, states[-1])
    target_peak = peak(wanted) if model.loss == "squared_error" else 0.0
    reach = ranges(model, peaks, target_peak, headroom)

    layers: list[LayerFormats] = []
    tensors: dict[str, FixedPoint] = {}
    proofs: list[Proof] = []
    for position, plan in enumerate(plans):
        formats, found = layer_formats(
            plan, engine.width, source, peaks[position], reach[position], parameters, 4 * recipe.mu, headroom,
            plan is plans[-1],
        )  # fmt: skip
        tensors |= found
        layers.append(formats)
        proofs += accumulator_proofs(plan, formats, engine)
        source = formats.target
    loss_frac, proof = choose_loss_frac(model, recipe, layers[-1].target)
    shifts = _gradient_shifts(model, recipe, plans, parameters, samples, wanted, loss_frac)
    ordered = {name: tensors[name] for name in parameters}
    return Formats(engine.width, ordered, tuple(layers), loss_frac, shifts, (*proofs, proof))
