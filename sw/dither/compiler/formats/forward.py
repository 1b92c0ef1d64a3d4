"""Number formats: what they are and how calibrated magnitudes become binary points.

Everything here depends on the model, its initial values, the calibration batch, the recipe and the
width W: never on rows, lanes or depths. A format's range is a power of two that covers the largest
calibrated magnitude times a headroom:

- inputs: none (data are bounded; a value at the very end of the range clips by one unit);
- weights and biases: 4 bits, because training makes the largest of them grow about tenfold, and at
  least four probe steps;
- network outputs: 2 bits, and under cross entropy at least ±32, because logits start near zero and
  grow until the softmax is sure;
- intermediates and hidden layers: 4 bits, for inputs beyond the calibration batch and for growth;
  or more, if the outputs are to grow more than that. Growth multiplies from core to core, so if n
  steps lead to outputs that may grow by G, the state behind step i may grow by G^(i/n). Steps count
  from the last bounded activation function;
- biases besides cover an eighth of their layer's range: they start tiny and grow to a layer's
  ordinary magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ...arch.fixedpoint import FixedPoint
from ...nn.models import RNN, Model, Parameters
from ..errors import CompileError
from ..plan.planner import LayerPlan

__all__ = [
    "TABLED",
    "Formats",
    "Headroom",
    "LayerFormats",
    "MatrixFormats",
    "Proof",
    "SignalFormats",
    "input_format",
    "layer_formats",
    "peak",
    "ranges",
]

TABLED = ("sine", "tanh")
"""Activation functions that come from tables; all of them are bounded by 1."""
_SHIFT_MAX = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Bits between calibrated magnitudes and the ends of formats; see the module for the
    reasons.
    """

    weights: int = 4
    intermediates: int = 4
    hidden: int = 4
    outputs: int = 2
    logit_range: float = 32.0
    bias_share: int = 3
    """A bias's range is at least ``2**-bias_share`` of its layer's."""


@dataclass(frozen=True, slots=True)
class Proof:
    """``bound < 2**(bits-1)``: a quantity that cannot overflow its register."""

    name: str
    bound: int
    bits: int

    @property
    def spare(self) -> float:
        """How many bits the register has to spare."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFormats:
    """Formats of an estimator's matrix, which leads from a layer's outputs to the network's, and of
    what stands between its contraction steps: several, if it is held as a train.
    """

    weights: tuple[FixedPoint, ...]
    """Formats of the weights, one for each step."""
    sums: tuple[FixedPoint, ...] = ()
    """Behind each step but the last, where the matrix is applied."""
    behind: tuple[FixedPoint, ...] = ()
    """Derivatives behind each step but the last, where it learns."""
    carried: tuple[FixedPoint, ...] = ()
    """What is carried back, in front of each step but the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFormats:
    """Formats of one layer that makes an error signal of its own."""

    signal: FixedPoint
    """The error signal at the layer's outputs, behind the activation function."""
    behind: tuple[FixedPoint, ...]
    """Derivatives behind each contraction step; the last one before the activation function."""
    loss_frac: int
    """Fraction bits of kept losses, for estimators that compare losses sample by sample."""
    matrix: MatrixFormats | None
    """Formats of the estimator's learned or fixed matrix, if it has one."""


@dataclass(frozen=True, slots=True)
class Formats:
    """All number formats of one compiled network."""

    width: int
    tensors: Mapping[str, FixedPoint]
    """Working weights and biases by name."""
    layers: tuple[LayerFormats, ...]
    loss_frac: int
    proofs: tuple[Proof, ...]
    gradient_shifts: Mapping[str, int] = field(default_factory=dict)
    """UPDATE's first shift by tensor."""
    signals: Mapping[int, SignalFormats] = field(default_factory=dict)
    """Formats of the layers that make error signals, by position."""

    @property
    def input(self) -> FixedPoint:
        """The format of the network's inputs."""
        return self.layers[0].source

    @property
    def output(self) -> FixedPoint:
        """The format of the network's outputs and of targets."""
        return self.layers[-1].target


def input_format(model: Model, magnitude: float, width: int) -> FixedPoint:
    """The format of a network's inputs.

    A recurrent layer's inputs and outputs are read together, so they have one format: it must suit
    both. So recurrent layers that read one another have one format in all.
    """
    found = FixedPoint.reaching(magnitude, width)
    if isinstance(model.layers[0], RNN):
        final = isinstance(model.layers[-1], RNN)
        return FixedPoint(width, min(found.frac, _bounded_frac(width, final)))
    return found


def _bounded_frac(width: int, final: bool) -> int:
    """Fraction bits of what stays within ±1; LOSS takes no more than 16."""
    return min(width - 1, 16) if final else width - 1


def peak(values: ArrayLike) -> float:
    """The largest magnitude; 1 if all values are zero.

    :raises CompileError: on infinite or undefined values.
    """
    found = float(max(np.max(values), -np.min(values)))
    if not math.isfinite(found):
        raise CompileError("calibration gave infinite or undefined values; check parameters and inputs")
    return found if found > 0 else 1.0


def ranges(
    model: Model, peaks: list[tuple[float, ...]], target_peak: float, headroom: Headroom
) -> list[tuple[float, ...]]:
    """Magnitudes that each state's format must reach, per layer and step.

    :param peaks: calibrated magnitudes of the states.
    :param target_peak: the largest magnitude among targets (0 for labels).
    """
    final = math.ldexp(max(peaks[-1][-1], target_peak), headroom.outputs)
    if model.loss == "cross_entropy":
        final = max(final, headroom.logit_range)
    bounded = [layer.activation in TABLED for layer in model.layers[:-1]]
    segment = len(bounded) - bounded[::-1].index(True) if any(bounded) else 0
    steps = sum(len(layer) for layer in peaks[segment:])
    growth = final / peaks[-1][-1]
    found = []
    done = 0
    for position, layer in enumerate(peaks):
        needed = []
        for number, magnitude in enumerate(layer):
            hidden = headroom.hidden * (number + 1) / len(layer)
            least = 2.0 ** max(hidden, headroom.intermediates if number < len(layer) - 1 else 0)
            done += position >= segment
            needed.append(magnitude * max(least, growth ** (done / steps)))
        found.append(tuple(needed))
    found[-1] = (*found[-1][:-1], final)
    # Recurrent layers that read one another have states of one format; with sums of one format,
    # too, any number of them shares an activation table.
    for function in TABLED:
        alike = [
            position
            for position, layer in enumerate(model.layers[:-1])
            if isinstance(layer, RNN) and layer.activation == function
        ]
        for position in alike:
            found[position] = max(found[other] for other in alike)
    return found


def layer_formats(
    plan: LayerPlan,
    width: int,
    source: FixedPoint,
    peaks: tuple[float, ...],
    reach: tuple[float, ...],
    parameters: Parameters,
    floor: float,
    headroom: Headroom,
    final: bool,
) -> tuple[LayerFormats, dict[str, FixedPoint]]:
    """Formats of one layer, and those of its tensors by name.

    :param peaks: calibrated magnitudes behind each step.
    :param reach: magnitudes that the formats behind each step must reach.
    :param floor: the least range of a weight.
    :param final: whether the layer is the network's last.
    :raises CompileError: if a magnitude is beyond all formats.
    """
    tensors: dict[str, FixedPoint] = {}
    sums: list[FixedPoint] = []
    shifts = []
    before = source
    constant = None
    for number, (step, magnitude) in enumerate(zip(plan.steps, reach, strict=True)):
        last = number == len(plan.steps) - 1
        weight = FixedPoint.reaching(max(math.ldexp(peak(parameters[step.tensor]), headroom.weights), floor), width)
        after = FixedPoint.reaching(magnitude, width)
        if last and plan.bias:
            now = float(np.max(np.abs(parameters[plan.bias])))
            share = math.ldexp(after.limit, -headroom.bias_share)
            bias = FixedPoint.reaching(max(math.ldexp(now, headroom.weights), floor, share), width)
            # The constant 2**k must fit an activation: give up weight bits rather than the bias's
            # range.
            excess = max(0, weight.frac + before.frac - bias.frac - (width - 2))
            weight = FixedPoint(width, weight.frac - excess)
            bias = FixedPoint(width, min(bias.frac, weight.frac + before.frac))
            constant = weight.frac + before.frac - bias.frac
            tensors[plan.bias] = bias
        product = weight.frac + before.frac
        frac = min(after.frac, product, 16) if last and final else min(after.frac, product)
        if product - frac > _SHIFT_MAX or (last and final and frac < 0):
            raise CompileError(f"{step.tensor}: magnitudes of {magnitude:g} are out of range; scale inputs or targets")
        before = FixedPoint(width, frac)
        tensors[step.tensor] = weight
        sums.append(before)
        shifts.append(product - frac)
    target = before
    if plan.layer.activation in TABLED:
        target = source if isinstance(plan.layer, RNN) else FixedPoint(width, _bounded_frac(width, final))
    return LayerFormats(source, tuple(sums), tuple(shifts), constant, target, peaks), tensors
