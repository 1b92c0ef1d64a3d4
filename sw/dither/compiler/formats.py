"""Binary points, loss bits and gradient shifts, from a float calibration run; and the proofs that nothing overflows.

Everything here depends on the model, its initial values, the calibration batch, the recipe and the width W: never on
rows, lanes or depths. A format's range is a power of two that covers the largest calibrated magnitude times a headroom:

- inputs: none (data are bounded; a value at the very end of the range clips by one unit);
- weights and biases: 2 bits, so that training may quadruple the largest of them, and at least four probe steps;
- intermediates and hidden layers: 3 bits, for inputs beyond the calibration batch and for growth, which multiplies
  from core to core;
- network outputs: 2 bits, and under cross entropy at least ±16, because logits start near zero and grow until
  the softmax is sure;
- biases besides cover an eighth of their layer's range: they start tiny and grow to a layer's ordinary magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import reference
from ..engine import EngineConfig
from ..fixedpoint import FixedPoint
from ..models import Model, Parameters
from ..recipe import Recipe
from .errors import CompileError
from .planner import LayerPlan

__all__ = ["Formats", "Headroom", "LayerFormats", "Proof", "calibrate"]

GRADIENT_TARGET_BITS = 9
"""log2 of the RMS that gradient_shift aims h at: 7 bits below its 17-bit clip, 9 above Adam's epsilon."""
CALIBRATION_PROBES = 8
CALIBRATION_TILES = 4
_SHIFT_MAX = 47
_LOSS_CLIP = (1 << 24) - 1
_GRADIENT_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Bits between calibrated magnitudes and the ends of formats; see the module for the reasons."""

    weights: int = 2
    intermediates: int = 3
    hidden: int = 3
    outputs: int = 2
    logit_range: float = 16.0
    bias_share: int = 3
    """log2 of the layer's range over the least range of its bias."""


@dataclass(frozen=True, slots=True)
class Proof:
    """``bound < 2**(bits-1)``: a quantity that cannot overflow its register."""

    name: str
    bound: int
    bits: int

    @property
    def spare(self) -> float:
        """Bits to spare."""
        return self.bits - 1 - math.log2(max(1, self.bound))


@dataclass(frozen=True, slots=True)
class LayerFormats:
    """One layer's formats, step by step."""

    source: FixedPoint
    sums: tuple[FixedPoint, ...]
    """Behind each step's requantisation; the last one before the activation function."""
    shifts: tuple[int, ...]
    constant: int | None
    """The bias is multiplied by ``2**constant`` to meet the accumulator's binary point."""
    target: FixedPoint
    """Behind the activation function."""
    peaks: tuple[float, ...]
    """Calibrated largest magnitudes behind each step."""


@dataclass(frozen=True, slots=True)
class Formats:
    """All number formats of one compiled network."""

    width: int
    tensors: Mapping[str, FixedPoint]
    """Working weights and biases by name."""
    layers: tuple[LayerFormats, ...]
    loss_frac: int
    gradient_shifts: Mapping[str, int]
    proofs: tuple[Proof, ...]

    @property
    def input(self) -> FixedPoint:
        return self.layers[0].source

    @property
    def output(self) -> FixedPoint:
        """Of the network's outputs and of targets."""
        return self.layers[-1].target


def _covering(magnitude: float, width: int) -> FixedPoint:
    """The finest format whose range reaches ``magnitude`` (a power of two exactly counts as reached)."""
    mantissa, exponent = math.frexp(magnitude)
    return FixedPoint(width, width - 1 - (exponent - 1 if mantissa == 0.5 else exponent))


def _peak(values: ArrayLike) -> float:
    peak = float(np.max(np.abs(values)))
    if not math.isfinite(peak):
        raise CompileError("calibration gave infinite or undefined values; check parameters and inputs")
    return peak if peak > 0 else 1.0


def _layer_formats(
    plan: LayerPlan, width: int, source: FixedPoint, states: list[NDArray[np.float64]], parameters: Parameters,
    floor: float, headroom: Headroom, final: str | None,
) -> tuple[LayerFormats, dict[str, FixedPoint]]:  # fmt: skip
    """Formats of one layer; ``final`` is the loss if it is the network's last, ``floor`` the weights' least range."""
    peaks = tuple(_peak(state) for state in states)
    tensors: dict[str, FixedPoint] = {}
    sums, shifts = [], []
    before = source
    constant = None
    for number, (step, peak) in enumerate(zip(plan.steps, peaks, strict=True)):
        last = number == len(plan.steps) - 1
        weight = _covering(max(math.ldexp(_peak(parameters[step.tensor]), headroom.weights), floor), width)
        spare = headroom.intermediates if not last else headroom.hidden if final is None else headroom.outputs
        magnitude = math.ldexp(peak, spare)
        if last and final == "cross_entropy":
            magnitude = max(magnitude, headroom.logit_range)
        after = _covering(magnitude, width)
        if last and plan.bias:
            need = max(math.ldexp(_peak(parameters[plan.bias]), headroom.weights) if np.any(parameters[plan.bias]) else 0,
                       floor, math.ldexp(after.limit, -headroom.bias_share))  # fmt: skip
            bias = _covering(need, width)
            product = weight.frac + before.frac
            # The constant 2**k must fit an activation: give up weight bits rather than the bias's range.
            excess = max(0, product - bias.frac - (width - 2))
            weight = FixedPoint(width, weight.frac - excess)
            product -= excess
            bias = FixedPoint(width, min(bias.frac, product))
            constant = product - bias.frac
            tensors[plan.bias] = bias
        frac = min(after.frac, weight.frac + before.frac)
        if last and final is not None:
            frac = min(frac, 16)
        after = FixedPoint(width, frac)
        shift = weight.frac + before.frac - frac
        if shift > _SHIFT_MAX or (last and final is not None and frac < 0):
            raise CompileError(f"{step.tensor}: magnitudes up to {peak:g} are out of range; scale inputs or targets")
        tensors[step.tensor] = weight
        sums.append(after)
        shifts.append(shift)
        before = after
    tabled = plan.layer.activation in ("sine", "tanh")
    target = FixedPoint(width, width - 1) if tabled else before
    if tabled and final is not None:
        target = FixedPoint(width, min(width - 1, 16))
    return LayerFormats(source, tuple(sums), tuple(shifts), constant, target, peaks), tensors


def _accumulator_proofs(plan: LayerPlan, formats: LayerFormats, engine: EngineConfig) -> list[Proof]:
    product = 1 << (2 * engine.width - 2)
    proofs = []
    for number, (step, shift) in enumerate(zip(plan.steps, formats.shifts, strict=True)):
        bound = step.K * product + (1 << shift >> 1)
        if number == len(plan.steps) - 1 and formats.constant is not None:
            bound += 1 << (engine.width - 1 + formats.constant)
        if bound >= 1 << (engine.accumulator_width - 1):
            raise CompileError(
                f"{step.tensor}: {step.K} inputs could overflow the {engine.accumulator_width}-bit accumulator; "
                "factor the layer into a tensor train or smaller ranks"
            )
        proofs.append(Proof(f"accumulator of {step.tensor}", bound, engine.accumulator_width))
    return proofs


def _loss_bound(model: Model, output: FixedPoint, loss_frac: int) -> int:
    """No sample's loss exceeds this, in units of ``2**-loss_frac``."""
    span = (1 << output.width) - 1
    if model.loss == "squared_error":
        bound, frac = model.outputs * span**2, 2 * output.frac
    else:
        # ln(sum of exponentials) <= ln C, computed as a multiple of the rounded-up ln 2; then the label's distance.
        bound, frac = model.outputs.bit_length() * 45427 + (span << (16 - output.frac)), 16
    shift = frac - loss_frac
    rounded = (bound >> shift) + 1 if shift > 0 else bound << -shift
    return min(rounded, _LOSS_CLIP)


def _loss_frac(model: Model, recipe: Recipe, output: FixedPoint) -> tuple[int, Proof]:
    for frac in range(16, -1, -1):
        # Losses are not negative, so a difference of two, on one side or two, is no larger than one.
        total = _loss_bound(model, output, frac) * recipe.batch * recipe.probes
        if total < 1 << _GRADIENT_BITS:
            return frac, Proof("gradient accumulators", total, _GRADIENT_BITS + 1)
    raise CompileError(
        f"{recipe.batch} samples and {recipe.probes} probes could overflow the gradient accumulators; "
        "use a smaller batch or fewer probes"
    )


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
    tile = recipe.batch if recipe.shared_probe else min(recipe.tile, samples)
    scale = recipe.tile / tile if not recipe.shared_probe else recipe.batch / samples
    draws = recipe.probes * (1 if recipe.shared_probe else recipe.tiles)
    used = samples if recipe.shared_probe else samples // tile * tile
    per_draw = used if recipe.shared_probe else tile
    rng = np.random.default_rng(0)

    starts = [inputs]
    for plan in plans:
        states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, starts[-1])
        starts.append(reference.activate(plan.layer.activation, states[-1]))
    base = reference.sample_losses(model, starts[-1], targets)

    def spread(names: list[str]) -> float:
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
        return math.sqrt(total / CALIBRATION_PROBES * draws) * scale

    names = list(parameters)
    rms = dict.fromkeys(names, spread(names)) if recipe.estimator == "joint" else {n: spread([n]) for n in names}
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
    """Choose every number format.

    :param inputs: shape (samples, inputs).
    :param targets: classes, shape (samples,), or values, shape (samples, outputs).
    :raises CompileError: if a number cannot be held or an overflow not be excluded.
    """
    state = np.asarray(inputs, dtype=np.float64)
    wanted = np.asarray(targets)
    if state.ndim != 2 or not len(state) or state.shape[1] != model.inputs or len(wanted) != len(state):
        raise CompileError(
            f"calibration needs inputs of shape (samples, {model.inputs}) and as many targets, "
            f"not shapes {state.shape} and {wanted.shape}"
        )
    parameters = {name: np.asarray(parameters[name], dtype=np.float64) for name in model.parameter_shapes()}
    width = engine.width
    source = _covering(_peak(state), width)
    first = state
    layers: list[LayerFormats] = []
    tensors: dict[str, FixedPoint] = {}
    proofs: list[Proof] = []
    for plan in plans:
        final = model.loss if plan is plans[-1] else None
        states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, state)
        if final == "squared_error":
            states[-1] = np.concatenate([states[-1].ravel(), np.asarray(wanted, dtype=np.float64).ravel()])
        formats, found = _layer_formats(plan, width, source, states, parameters, 4 * recipe.mu, headroom, final)
        tensors |= found
        layers.append(formats)
        proofs += _accumulator_proofs(plan, formats, engine)
        source = formats.target
        state = reference.activate(plan.layer.activation, states[-1]) if final is None else state
    loss_frac, proof = _loss_frac(model, recipe, layers[-1].target)
    shifts = _gradient_shifts(model, recipe, plans, parameters, first, wanted, loss_frac)
    ordered = {name: tensors[name] for name in parameters}
    return Formats(width, ordered, tuple(layers), loss_frac, shifts, (*proofs, proof))
