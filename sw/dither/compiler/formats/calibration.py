"""Calibration: a float run of the network on typical samples decides all number formats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...arch.fixedpoint import FixedPoint
from ...nn import reference
from ...nn.models import Parameters
from ..plan.setting import Setting
from .forward import Headroom, LayerFormats, Proof, layer_formats, peak, ranges
from .proofs import accumulator_proofs

__all__ = ["network_formats"]


def network_formats(
    setting: Setting,
    parameters: Parameters,
    source: FixedPoint,
    samples: NDArray[np.float64],
    target_peak: float,
    headroom: Headroom,
    *,
    visible: bool,
) -> tuple[list[LayerFormats], dict[str, FixedPoint], list[Proof]]:
    """Formats of all layers, those of their tensors by name, and proofs of their accumulators. Of
    the engine, only the width counts.

    :param source: the input format.
    :param samples: what to run, shape (samples, inputs).
    :param target_peak: a magnitude that outputs must reach, besides those found.
    :param visible: whether LOSS sees the outputs, which limits their fraction bits.
    """
    plans, engine = setting.plans, setting.engine
    ends = [[np.zeros(2) for _ in plan.steps] for plan in plans]
    for block in reference.blocks(samples):
        state = block
        for plan, found_ends in zip(plans, ends, strict=True):
            states, state = reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)
            for number, values in enumerate(states):
                low, high = found_ends[number]
                found_ends[number] = np.array([np.minimum(low, values.min()), np.maximum(high, values.max())])
    peaks = [tuple(peak(values) for values in layer) for layer in ends]
    reach = ranges(setting.model, peaks, target_peak, headroom)
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
            4 * setting.recipe.mu,
            headroom,
            visible and plan is plans[-1],
        )
        tensors |= found
        layers.append(formats)
        proofs += accumulator_proofs(plan, formats, engine)
        source = formats.target
    return layers, {name: tensors[name] for name in parameters}, proofs
