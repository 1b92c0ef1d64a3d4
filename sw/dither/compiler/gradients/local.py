"""Local learning: what all estimators have in common that make an error signal at a layer's
outputs, for each sample, and from it the gradients of the layer's own tensors.

They differ in the signal. What follows is the same for all: the derivative of the activation
function, then the layer's contractions read backwards. A layer whose intermediates are not kept
runs again for that, chunk by chunk, and where it can the signal is made for each chunk by itself.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ...nn.models import RNN
from ..code.contraction import chunk_strides, each_chunk, step_nests
from ..code.lanewise import Words, multiply
from ..code.nests import Access, Drain
from ..code.registers import CHUNK_OUTPUT, CHUNK_SIGNAL, ZERO
from ..errors import CompileError
from ..formats.forward import MatrixFormats, SignalFormats
from ..formats.signals import Calibration, Typical
from ..layout.memory import LayerBuffers, LayerUse, Moment, Need
from ..layout.tensors import Tensor
from ..objectives.objective import Start
from ..plan.planner import LayerPlan
from ..rates import Stepping, Unit
from .backward import Backward, Transposed
from .estimator import Estimator, GradientCode, Pass, Places, Sharing

__all__ = ["BACKWARD", "SIGNAL", "LocalEstimator"]

SIGNAL = "signal"
"""Name of the moment in which the signal and its derivatives are made."""
BACKWARD = "backward"
"""Name of the moment in which the layer's contractions are read backwards."""


class LocalEstimator(Estimator, GradientCode):
    """An estimator that makes an error signal at the outputs of one layer."""

    measured = True
    source: ClassVar[str | None] = None
    """The region of the network's errors, or of the classes' code, that signals are made of."""
    runs_behind: ClassVar[bool] = False
    """Whether the signal takes forward passes of the layers behind."""

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
    def matrix_formats(self) -> MatrixFormats:
        """Formats of its matrix, for estimators that have one."""
        found = self.form.matrix
        assert found is not None
        return found

    def outputs(self, buffers: LayerBuffers | None = None) -> Words:
        """The layer's outputs, at their place if ``buffers`` are given; a recurrent layer's of all
        time steps. Without a place, they stand as all does that the estimator makes for them.
        """
        layer = self.plan.layer
        if isinstance(layer, RNN):
            if buffers is not None:
                first = buffers.source.base - layer.outputs + buffers.pitch
                return Words(first, ((layer.outputs, 1), (layer.steps, buffers.pitch)))
            # As far apart as the states of a single recurrent layer are; with several, all others'
            # states would be gaps.
            pitch = layer.outputs if self.woven else layer.outputs + layer.inputs
            return Words(0, ((layer.outputs, 1), (layer.steps, pitch)))
        return Words(0 if buffers is None else buffers.target.base, ((layer.output_size, 1),))

    @property
    def woven(self) -> bool:
        """Whether the states of several recurrent layers stand among one another."""
        return sum(isinstance(plan.layer, RNN) for plan in self.setting.plans) > 1

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
        """Emits what writes the signal :attr:`s`: all of it or, if :meth:`splits` says so, that of
        the chunk at hand.
        """

    def splits(self, chunks: int) -> bool:
        """Whether the signal can be made for each of so many chunks by itself."""
        return False

    @property
    def signal_stride(self) -> int:
        """What register CHUNK_SIGNAL advances by from chunk to chunk, for signals that can."""
        return 0

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Words of activation memory that it needs for itself if the layer runs in so many chunks,
        by name, and the moments in which they must stay as they are.
        """
        part, whole = self.outputs().part(chunks).extent, self.outputs().extent
        at_once = chunks > 1 and not self.splits(chunks)
        if self.activation == "none":
            return {"derivatives": (whole if at_once else part, (SIGNAL, BACKWARD))}
        found: dict[str, tuple[int, tuple[str, ...]]] = {"derivatives": (part, (SIGNAL, BACKWARD))}
        found["signal"] = (whole, (SIGNAL, BACKWARD)) if at_once else (part, (SIGNAL,))
        if self.activation == "tanh":
            found["slope"] = (part, (SIGNAL,))
        return found

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

    # Moments

    def when(self, moment: str) -> str:
        """The full name of one of its moments."""
        return f"{moment} {self.position}"

    def moments(self) -> list[Moment]:
        behind = self.position + 1 if self.runs_behind else None
        return [
            Moment(self.when(SIGNAL), self.position, behind),
            Moment(self.when(BACKWARD), self.position),
        ]

    def uses(self) -> dict[int, LayerUse]:
        chunks = {1, *self.plan.chunks(self.setting.engine.rows)} if len(self.plan.steps) > 1 else {1}
        return {
            self.position: LayerUse(
                backward=self.when(BACKWARD), needs={number: self._needs(number) for number in chunks}
            )
        }

    def _needs(self, chunks: int) -> list[Need]:
        return [
            Need(self._name(name), words, frozenset(map(self.when, moments)))
            for name, (words, moments) in self.own(chunks).items()
        ]

    def _name(self, region: str) -> str:
        return f"{region} of layer {self.position}"

    # Where things stand

    places: Places
    """Where everything stands, once the compiler has asked for the code."""

    def region(self, name: str) -> int:
        """The first word of a region, of its own or shared."""
        extra = self.places.memory.extra
        return (extra.get(self._name(name)) or extra[name]).base

    def constant(self, value: int) -> int:
        """The word of a constant."""
        return self.places.constants[value]

    @property
    def chunks(self) -> int:
        """In how many chunks the layer runs."""
        return self.places.memory.layers[self.position].chunks

    @property
    def in_parts(self) -> bool:
        """Whether the signal is made for each chunk by itself."""
        return self.chunks > 1 and self.splits(self.chunks)

    @property
    def at_once(self) -> bool:
        """Whether the signal is made at once though the layer runs in chunks."""
        return self.chunks > 1 and not self.in_parts

    @property
    def signal_index(self) -> int:
        """The register that says how far the chunk at hand is, for what its signal is made of."""
        return CHUNK_SIGNAL if self.in_parts else ZERO

    @property
    def y(self) -> Words:
        """Where the layer's outputs stand."""
        return self.outputs(self.places.memory.layers[self.position])

    @property
    def s(self) -> Words:
        """Where the error signal stands, in the order of the outputs: all of it, or that of the
        chunk at hand.
        """
        words = self.outputs().at(self.region("derivatives" if self.activation == "none" else "signal"))
        return words if self.at_once else words.part(self.chunks)

    def part(self, words: Words) -> Words:
        """The chunk at hand of words that stand as all outputs do."""
        return words.part(self.chunks, CHUNK_OUTPUT)

    @property
    def s_part(self) -> Words:
        """The error signal of the chunk at hand."""
        return self.part(self.s) if self.at_once else self.s

    @property
    def delta(self) -> Words:
        """Where the derivatives before the activation function stand, of the chunk at hand.

        It is the signal's place if there is no activation function.
        """
        if self.activation == "none":
            return self.s_part
        return self.outputs().part(self.chunks).at(self.region("derivatives"))

    # What the compiler asks

    def constants(self) -> set[int]:
        half = 1 << (self.width - 2)
        return {0, 1} | ({half, -half} if self.activation == "tanh" else set())

    def regions(self) -> dict[str, int]:
        return {self.source: self.classes} if self.source else {}

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
        own, others = [places.tensors[step.tensor] for step in self.plan.steps[1:]], self.matrix_tensors()
        self._own, self.matrix_transposed = (
            tuple(map(Transposed, tensors, bases))
            for tensors, bases in zip(
                (own, others),
                places.transposes(list(map(Transposed.size, own)), list(map(Transposed.size, others))),
                strict=True,
            )
        )
        self._backward = Backward(
            engine=self.setting.engine,
            plan=self.plan,
            buffers=places.memory.layers[self.position],
            tensors=places.tensors,
            outputs=self.y.base,
            delta=Access(self.delta.base, self._apart, index=self.delta.index),
            formats=self.form.behind,
            transposed=self._own,
            one=self.constant(1),
        )
        return [self]

    @property
    def _apart(self) -> tuple[int, ...]:
        """Strides of derivatives, over row tiles and time steps, that do not stand as outputs
        do.
        """
        if not self.woven or not isinstance(self.plan.layer, RNN):
            return ()
        return self.setting.engine.rows, self.plan.layer.outputs

    def matrix_tensors(self) -> list[Tensor]:
        """Tensors of a matrix of its own that is read backwards too."""
        return []

    @property
    def start(self) -> Start:
        return self.position, 0

    @property
    def passes(self) -> tuple[Pass, ...]:
        return ((*self.behind, self.perturbations),) if self.perturbations else ()

    @property
    def macs(self) -> int:
        buffers = self.places.memory.layers[self.position]
        again = 0 if buffers.kept else sum(step.macs for step in self.plan.steps[:-1])
        return self.signal_macs + self._backward.macs + again

    def prepare(self, asm: Assembler) -> None:
        self.begin(asm)
        self._transpose(asm, Sharing.NONE)

    def _transpose(self, asm: Assembler, sharing: Sharing) -> None:
        """Emits what writes all transposed weights, if that is how they share words."""
        if self.places.sharing is sharing:
            for each in (*self._own, *self.matrix_transposed):
                each.write(asm)

    def write_matrix(self, asm: Assembler) -> None:
        """Emits what writes the matrix's transposed weights, if others have had their words."""
        if self.places.sharing is Sharing.ALL:
            for each in self.matrix_transposed:
                each.write(asm)

    def emit(self, asm: Assembler) -> None:
        self._transpose(asm, Sharing.LAYERS)
        strides = chunk_strides(self.plan, self.chunks, self.places.tensors) if self.chunks > 1 else {}
        if self.in_parts:
            strides[CHUNK_SIGNAL] = self.signal_stride
        else:
            self.signal(asm)
        with each_chunk(asm, self.chunks, strides):
            if self.in_parts:
                self.signal(asm)
            self._derive(asm)
            self._again(asm)
            if self.places.sharing is Sharing.ALL:
                for each in self._own:
                    each.write(asm)
            self._backward.emit(asm)
        self.end(asm)

    def _again(self, asm: Assembler) -> None:
        """Emits the contractions but the last one, if what they left is not there any more."""
        buffers, shifts = self.places.memory.layers[self.position], self.formats.layers[self.position].shifts
        if buffers.kept:
            return
        for number, step in enumerate(self.plan.steps[:-1]):
            for nest in step_nests(self.plan, number, buffers, self.places.tensors[step.tensor]):
                asm.add(nest.contract(self.setting.engine, Drain(shifts[number])))

    def _derive(self, asm: Assembler) -> None:
        """Emits ``delta = s * f'(y)``, the derivative made from the value; nothing without an
        activation function.
        """
        engine, y, s, delta, what = (
            self.setting.engine,
            self.part(self.unperturbed),
            self.s_part,
            self.delta,
            f"derivative of {self.activation}",
        )
        shift, half = self.form.signal.frac - self.form.behind[-1].frac, 1 << (self.width - 2)
        if self.activation == "relu":
            asm.add(multiply(engine, what, y, s, delta.base, shift, Operand.POSITIVE))
        elif self.activation == "tanh":
            # 1 - y*y = 1 + y * (-y). The shift of -y gives the product the binary point of the 1,
            # half * half: where y has all bits but its sign behind the point, -y loses two.
            slope, ones = delta.at(self.region("slope")), (self.constant(half), self.constant(half))
            asm.add(multiply(engine, what, self.constant(-half), y, delta, 2 * self.target.frac + 2 - self.width))
            asm.add(multiply(engine, what, y, delta, slope.base, self.width - 2, bias=ones))
            asm.add(multiply(engine, what, slope, s, delta.base, self.width - 2 + shift))
