"""Local learning: what all estimators have in common that make an error signal at a layer's
outputs, for each sample, and from it the gradients of the layer's own tensors.

They differ in the signal. What follows is the same for all: the derivative of the activation
function, then the layer's contractions read backwards.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ...nn.models import RNN, Parameters
from ..code.lanewise import Words
from ..errors import CompileError
from ..formats.forward import Formats, SignalFormats
from ..formats.signals import Calibration, Typical, layer_outputs
from ..layout.memory import LayerBuffers
from ..objectives.objective import Start
from ..plan.planner import LayerPlan
from ..plan.setting import Setting
from ..rates import Stepping, Unit
from .backward import Backward, Transposed
from .estimator import Estimator, GradientCode, Pass, Places, estimators
from .signals import (
    CLASS_CODE,
    LOSS_DIFFERENCE,
    OUTPUT_ERRORS,
    OUTPUTS_BEFORE,
    Derivative,
    OutputErrors,
    Signal,
)

__all__ = ["LocalEstimator", "calibrated", "gradient_codes"]

CALIBRATION_SAMPLES = 256


class LocalEstimator(Estimator):
    """An estimator that makes an error signal at the outputs of one layer."""

    measured = True
    source: ClassVar[str | None] = None
    """The region of the network's errors, or of the classes' code, that signals are made of."""

    @property
    def position(self) -> int:
        """The layer's."""
        return self.layers[0]

    @property
    def plan(self) -> LayerPlan:
        """The layer's."""
        return self.setting.plans[self.position]

    @property
    def activation(self) -> str:
        """The layer's activation function."""
        return self.plan.layer.activation

    @property
    def classes(self) -> int:
        """Outputs of the network."""
        return self.setting.model.outputs

    @property
    def form(self) -> SignalFormats:
        """Formats of its own, once they are chosen."""
        return self.formats.signals[self.position]

    @property
    def target(self) -> FixedPoint:
        """The format of the layer's outputs."""
        return self.formats.layers[self.position].target

    @property
    def matrix_format(self) -> FixedPoint:
        """The format of its matrix, for estimators that have one."""
        form = self.form.matrix
        assert form is not None
        return form

    def outputs(self, buffers: LayerBuffers | None = None) -> Words:
        """The layer's outputs, at their place if ``buffers`` are given; a recurrent layer's of all
        time steps.
        """
        layer = self.plan.layer
        if isinstance(layer, RNN):
            base = 0 if buffers is None else buffers.source.base + layer.inputs
            return Words(base, ((layer.outputs, 1), (layer.steps, layer.outputs + layer.inputs)))
        return Words(0 if buffers is None else buffers.target.base, ((layer.output_size, 1),))

    # What an estimator's own file says

    @abstractmethod
    def calibrate(self, layer: Calibration) -> Typical:
        """What its signal looks like on typical samples.

        :raises CompileError: if the layer cannot learn like this.
        """

    @abstractmethod
    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        """What makes the signal.

        :param outputs: the layer's outputs.
        :param signal: where the signal is to stand, in the same order.
        """

    @property
    def perturbations(self) -> int:
        """Forward passes behind the layer that its signal takes of each lane group."""
        return 0

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates per sample that its signal takes besides these passes."""
        return 0

    @property
    def scale(self) -> float:
        """The mean gradient, over the sum of products of signals and inputs."""
        return 1 / self.recipe.batch

    def settled(self, typical: Typical, loss_frac: int) -> FixedPoint:
        """The signal's format, once the fraction bits of all layers' kept losses are known."""
        return typical.signal

    def unperturbed(self, places: Places, outputs: Words) -> Words:
        """The layer's outputs as they were, when the signal is there."""
        return outputs

    # Perturbed activities

    def require_activities(self) -> None:
        """Refuses layers whose outputs cannot be perturbed.

        :raises CompileError: for a recurrent layer.
        """
        if isinstance(self.plan.layer, RNN):
            raise CompileError("a recurrent layer has no activities to perturb; use target, projection or feedback")

    @property
    def step_size(self) -> int:
        """The step of perturbed activities, a power of two, in units of their format."""
        form, mu = self.target, self.recipe.activity_mu
        exponent = round(math.log2(mu)) + form.frac
        if not 2 <= exponent <= form.width - 2:
            raise CompileError(
                f"activity_mu = {mu:g} is less than four units or more than half of the range of the activities' "
                f"format, {form}; use another"
            )
        return 1 << exponent

    @property
    def step_exponent(self) -> int:
        """log2 of that step, as a real number."""
        return self.step_size.bit_length() - 1 - self.target.frac

    def signs(self, places: Places) -> int:
        """The first generator block of signs for the layer's outputs."""
        return places.signs(self.outputs().count + self.recipe.tile)

    # What the compiler asks

    def keep(self) -> tuple[int, ...]:
        return self.layers

    def constants(self) -> set[int]:
        half = 1 << (self.width - 2)
        return {0, 1} | ({half, -half} if self.activation == "tanh" else set())

    def regions(self) -> dict[str, int]:
        words = self.outputs().extent
        found = {"derivatives": words}
        if self.source:
            found[self.source] = self.classes
        if self.activation != "none":
            found["signal"] = words
        if self.activation == "tanh":
            found["scratch"] = words
        return found

    def steppings(self) -> dict[str, Stepping]:
        plan, form, layer = self.plan, self.form, self.formats.layers[self.position]
        inputs = (layer.source, *layer.sums)
        found = {
            step.tensor: Stepping(Unit(self.scale, form.behind[number].frac + inputs[number].frac))
            for number, step in enumerate(plan.steps)
        }
        if plan.bias:
            found[plan.bias] = Stepping(Unit(self.scale, form.behind[-1].frac))
        return found

    def stands(self, places: Places) -> tuple[int, int]:
        """First words of the signal, and of its product with the activation function's
        derivative.
        """
        delta = places.region("derivatives")
        return (delta if self.activation == "none" else places.region("signal")), delta

    def codes(self, places: Places) -> list[GradientCode]:
        plan, buffers, engine = self.plan, places.memory.layers[self.position], self.setting.engine
        outputs, (signal, delta) = self.outputs(buffers), self.stands(places)
        made = self.signal(places, outputs, outputs.at(signal))
        tanh = self.activation == "tanh"
        half = 1 << (self.width - 2)
        derivative = Derivative(
            engine=engine,
            function=self.activation,
            outputs=self.unperturbed(places, outputs),
            signal=signal,
            delta=delta,
            slope=places.region("scratch") if tanh else 0,
            shift=(self.width - 2 if tanh else 0) + self.form.signal.frac - self.form.behind[-1].frac,
            ones=(places.constants.get(half, 0),) * 2,
            negative=places.constants.get(-half, 0),
        )
        weights = [places.tensors[step.tensor] for step in plan.steps[1:]]
        backward = Backward(
            engine=engine,
            plan=plan,
            buffers=buffers,
            tensors=places.tensors,
            outputs=outputs.base,
            delta=delta,
            formats=self.form.behind,
            transposed=tuple(Transposed(each, places.words(Transposed.size(each))) for each in weights),
            one=places.constants[1],
        )
        count = self.perturbations
        return [
            LocalCode(
                start=(self.position, 0),
                signal=made,
                derivative=derivative,
                backward=backward,
                passes=((self.position + 1, 0, count),) if count else (),
                macs=self.macs + backward.macs,
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCode:
    """Code of the gradients of one layer's tensors, from a signal at its outputs."""

    start: Start
    signal: Signal
    derivative: Derivative
    backward: Backward
    passes: tuple[Pass, ...]
    macs: int

    def prepare(self, asm: Assembler) -> None:
        self.signal.prepare(asm)
        self.backward.prepare(asm)

    def emit(self, asm: Assembler) -> None:
        self.signal.emit(asm)
        self.derivative.emit(asm)
        self.backward.emit(asm)
        self.signal.after(asm)


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
    return [*_shared(used, places), *(code for each in used for code in each.codes(places))]


def _shared(used: Sequence[Estimator], places: Places) -> list[GradientCode]:
    local = [each for each in used if isinstance(each, LocalEstimator)]
    if not local:
        return []
    setting, memory = local[0].setting, places.memory
    regions = {name: region.base for name, region in memory.extra.items()}
    outputs = memory.layers[-1].target.base
    return [
        OutputErrors(
            objective=places.objective,
            start=(len(setting.plans), 0),
            errors=regions.get(OUTPUT_ERRORS),
            code=regions.get(CLASS_CODE),
            before=(outputs, regions[OUTPUTS_BEFORE]) if OUTPUTS_BEFORE in regions else None,
            loss_frac=local[0].form.loss_frac if LOSS_DIFFERENCE in regions else None,
            label=memory.labels.base,
            zero=places.constants[0],
            classes=setting.model.outputs,
        )
    ]
