"""Local learning: what all estimators have in common that make an error signal at a layer's
outputs, for each sample, and from it the gradients of the layer's own tensors.

They differ in the signal. What follows is the same for all: the derivative of the activation
function, then the layer's contractions read backwards.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ...nn.models import RNN
from ..code.lanewise import Words, multiply
from ..errors import CompileError
from ..formats.forward import SignalFormats
from ..formats.signals import Calibration, Typical
from ..layout.memory import LayerBuffers
from ..objectives.objective import Start
from ..plan.planner import LayerPlan
from ..rates import Stepping, Unit
from .backward import Backward, Transposed
from .estimator import Estimator, GradientCode, Pass, Places

__all__ = ["LocalEstimator"]


class LocalEstimator(Estimator, GradientCode):
    """An estimator that makes an error signal at the outputs of one layer."""

    measured = True
    source: ClassVar[str | None] = None
    """The region of the network's errors, or of the classes' code, that signals are made of."""

    @property
    def position(self) -> int:
        """The layer's position in the network."""
        return self.layers[0]

    @property
    def plan(self) -> LayerPlan:
        """The layer's contraction plan."""
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

    def reserve(self) -> None:
        """Takes the words and signs that its signal needs of :attr:`places`."""

    def begin(self, asm: Assembler) -> None:
        """Emits what is done once a step, when the working weights are new."""

    @abstractmethod
    def signal(self, asm: Assembler) -> None:
        """Emits what writes the signal :attr:`s`."""

    def end(self, asm: Assembler) -> None:
        """Emits what may destroy the layer's outputs, when they are not needed any more."""

    @property
    def perturbations(self) -> int:
        """Forward passes behind the layer that its signal takes of each lane group."""
        return 0

    @property
    def signal_macs(self) -> int:
        """Useful multiply-accumulates per sample that its signal takes besides these passes."""
        return 0

    @property
    def scale(self) -> float:
        """The mean gradient, over the sum of products of signals and inputs."""
        return 1 / self.recipe.batch

    def settled(self, typical: Typical, loss_frac: int) -> FixedPoint:
        """The signal's format, once the fraction bits of all layers' kept losses are known."""
        return typical.signal

    @property
    def unperturbed(self) -> Words:
        """The layer's outputs as they were, when the signal is there."""
        return self.y

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
        """The step of perturbed activities as a real number is 2 to the power of this."""
        return self.step_size.bit_length() - 1 - self.target.frac

    @property
    def behind(self) -> Start:
        """Where a forward pass starts that perturbed outputs need."""
        return self.position + 1, 0

    def signs(self) -> int:
        """Reserves signs for the layer's outputs; their first generator block."""
        return self.places.signs(self.outputs().count + self.recipe.tile)

    # Where things stand

    places: Places
    """Where everything stands, once the compiler has asked for the code."""

    def region(self, name: str) -> int:
        """The first word of a region."""
        return self.places.memory.extra[name].base

    def constant(self, value: int) -> int:
        """The word of a constant."""
        return self.places.constants[value]

    @property
    def y(self) -> Words:
        """Where the layer's outputs stand."""
        return self.outputs(self.places.memory.layers[self.position])

    @property
    def s(self) -> Words:
        """Where the error signal stands, in the order of the outputs."""
        return self.y.at(self.region("derivatives" if self.activation == "none" else "signal"))

    @property
    def delta(self) -> Words:
        """Where the derivatives before the activation function stand, in the same order.

        It is the signal's place if there is no activation function.
        """
        return self.y.at(self.region("derivatives"))

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

    # Its code

    def codes(self, places: Places) -> list[GradientCode]:
        self.places = places
        self.reserve()
        weights = [places.tensors[step.tensor] for step in self.plan.steps[1:]]
        self._backward = Backward(
            engine=self.setting.engine,
            plan=self.plan,
            buffers=places.memory.layers[self.position],
            tensors=places.tensors,
            outputs=self.y.base,
            delta=self.delta.base,
            formats=self.form.behind,
            transposed=tuple(Transposed(each, places.words(Transposed.size(each))) for each in weights),
            one=self.constant(1),
        )
        return [self]

    @property
    def start(self) -> Start:
        return self.position, 0

    @property
    def passes(self) -> tuple[Pass, ...]:
        return ((*self.behind, self.perturbations),) if self.perturbations else ()

    @property
    def macs(self) -> int:
        return self.signal_macs + self._backward.macs

    def prepare(self, asm: Assembler) -> None:
        self.begin(asm)
        self._backward.prepare(asm)

    def emit(self, asm: Assembler) -> None:
        self.signal(asm)
        self._derive(asm)
        self._backward.emit(asm)
        self.end(asm)

    def _derive(self, asm: Assembler) -> None:
        """Emits ``delta = s * f'(y)``, the derivative made from the value; nothing without an
        activation function.
        """
        engine, y, delta, what = (
            self.setting.engine,
            self.unperturbed,
            self.delta.base,
            f"derivative of {self.activation}",
        )
        shift, half = self.form.signal.frac - self.form.behind[-1].frac, 1 << (self.width - 2)
        if self.activation == "relu":
            asm.add(multiply(engine, what, y, self.s, delta, shift, Operand.POSITIVE))
        elif self.activation == "tanh":
            # 1 - y*y = 1 + y * (-y). The shift of -y gives the product the binary point of the 1,
            # half * half: where y has all bits but its sign behind the point, -y loses two.
            slope, ones = y.at(self.region("scratch")), (self.constant(half), self.constant(half))
            asm.add(multiply(engine, what, self.constant(-half), y, delta, 2 * self.target.frac + 2 - self.width))
            asm.add(multiply(engine, what, y, self.delta, slope.base, self.width - 2, bias=ones))
            asm.add(multiply(engine, what, slope, self.s, delta, self.width - 2 + shift))
