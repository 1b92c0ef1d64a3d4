"""What a program's estimators do together: formats of their error signals, and their code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ...nn.models import Parameters
from ..formats.forward import Formats, SignalFormats
from ..formats.signals import Calibration, layer_outputs
from ..plan.setting import Setting
from .estimator import Estimator, GradientCode, Places, estimators
from .local import LocalEstimator
from .signals import OutputErrors

__all__ = ["calibrated", "gradient_codes"]

CALIBRATION_SAMPLES = 256


def calibrated(
    setting: Setting, formats: Formats, parameters: Parameters, inputs: ArrayLike, targets: ArrayLike
) -> Formats:
    """Formats with those of error signals, for every layer that makes one.

    :param inputs: typical samples, shape (samples, inputs), of which the first 256 are run.
    :param targets: their classes or values.
    :raises CompileError: if a layer cannot learn as its estimator does.
    """
    samples = np.asarray(inputs)[:CALIBRATION_SAMPLES].astype(np.float64)
    wanted = np.asarray(targets)[:CALIBRATION_SAMPLES]
    outputs = layer_outputs(setting.plans, parameters, samples, 0)
    found = {}
    for each in estimators(setting, formats):
        if isinstance(each, LocalEstimator):
            layer = Calibration(setting, formats, parameters, wanted, outputs, each.position)
            found[each] = (layer, each.calibrate(layer))
    # Losses are kept once for all layers.
    loss_frac = min((typical.loss_frac for _, typical in found.values()), default=0)
    signals = {}
    for each, (layer, typical) in found.items():
        signal = each.settled(typical, loss_frac)
        signals[each.position] = SignalFormats(
            signal=signal, behind=layer.behind(signal, typical.values), loss_frac=loss_frac, matrix=typical.matrix
        )
    return replace(formats, signals=signals)


def gradient_codes(used: Sequence[Estimator], places: Places) -> list[GradientCode]:
    """The code of all estimators of a program, and what those of error signals share."""
    codes = [code for each in used for code in each.codes(places)]
    local = [each for each in used if isinstance(each, LocalEstimator)]
    return [*codes, *(OutputErrors(each.setting, places, each.form.loss_frac) for each in local[:1])]
