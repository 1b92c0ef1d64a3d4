"""Local learning as code: for each layer with a local estimator, its error signal, then its tensors' gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..engine import EngineConfig
from ..fixedpoint import FixedPoint
from ..generator import index_pitch
from ..isa import MASTER_BITS
from ..models import RNN, Model
from ..rates import Unit
from ..recipe import Recipe
from .assembler import Assembler
from .backward import Backward, Transposed
from .emit import GradientCode
from .errors import CompileError, shortage
from .formats import Formats
from .lanewise import Words
from .local_formats import LocalFormats, error_format
from .memory import ActivationMap, LayerBuffers, Region
from .objective import Objective, Start
from .planner import LayerPlan
from .signals import (
    Activity,
    Derivative,
    FixedMatrix,
    Learned,
    Output,
    OutputErrors,
    Projected,
    Regression,
    Responses,
    Signal,
    Target,
)
from .tensors import Layout, Tensor

__all__ = ["LocalCode", "LocalCodes", "LocalLearning"]
LEARNED = ("mirror", "regression")
"""Estimators with a learned matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCode:
    """Gradients of one layer's tensors from a signal at its outputs."""

    start: Start
    signal: Signal
    derivative: Derivative
    backward: Backward

    def prepare(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.emit.GradientCode`."""
        self.signal.prepare(asm)
        self.backward.prepare(asm)

    def emit(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.emit.GradientCode`."""
        self.signal.emit(asm)
        self.derivative.emit(asm)
        self.backward.emit(asm)
        self.signal.after(asm)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLearning:
    """What local learning needs of memories, and its code once places are known."""

    model: Model
    recipe: Recipe
    engine: EngineConfig
    plans: tuple[LayerPlan, ...]
    formats: Formats
    layers: Mapping[int, LocalFormats]
    """By position; empty where no layer learns locally."""

    # What it needs

    def estimator(self, position: int) -> str:
        """Of a layer."""
        return self.recipe.by_layer(len(self.plans))[position][0]

    @property
    def estimators(self) -> set[str]:
        """All that occur."""
        return {self.estimator(position) for position in self.layers}

    def matrices(self) -> dict[str, tuple[Layout, FixedPoint]]:
        """Layouts and formats of learned matrices, trained tensors beside the model's own."""
        found = {}
        for position, formats in self.layers.items():
            if self.estimator(position) in LEARNED:
                name, inputs = f"{position}.feedback", self.plans[position].layer.output_size
                shape = (inputs, self.model.outputs)
                found[name] = (
                    Layout(name=name, shape=shape, view=shape, axes=(0, 1), inner=inputs, groups=1,
                           group_rows=shape[1], group_pitch=shape[1], first_step=0, layer=position),
                    formats.matrix,
                )  # fmt: skip
        return found

    def outputs(self, position: int, buffers: LayerBuffers | None = None) -> Words:
        """A layer's outputs, at their place if ``buffers`` are given; a recurrent layer's of all time steps."""
        layer = self.plans[position].layer
        if isinstance(layer, RNN):
            base = 0 if buffers is None else buffers.source.base + layer.inputs
            return Words(base, ((layer.outputs, 1), (layer.steps, layer.outputs + layer.inputs)))
        return Words(0 if buffers is None else buffers.target.base, ((layer.output_size, 1),))

    def constants(self) -> set[int]:
        """Values of the constant words that the code uses."""
        found = set()
        if self.layers:
            found |= {0, 1}
        for position, formats in self.layers.items():
            estimator, target = self.estimator(position), self.formats.layers[position].target
            width = self.engine.width
            if self.plans[position].layer.activation == "tanh" and estimator != "exact":
                found |= {1 << (width - 2), -(1 << (width - 2))}
            if estimator in ("activity", *LEARNED):
                found.add(self.step_size(target))
            if estimator == "mirror":
                found |= {-1, 1 << (width - 2)}
            if estimator == "regression":
                found |= {1 << self.sign_size(position), -(1 << self.alignment(position))}
            if estimator == "target":
                found |= set(self.target_alignment(formats, target)[:2])
                if self.recipe.local_loss == "l1":
                    found.add(1 << (width - 2))
        return found

    def regions(self) -> dict[str, int]:
        """Words of activation memory by name."""
        classes = self.model.outputs
        found: dict[str, int] = {}

        def need(name: str, words: int) -> None:
            found[name] = max(found.get(name, 0), words)

        for position in self.layers:
            estimator, words = self.estimator(position), self.outputs(position).extent
            gated = self.plans[position].layer.activation != "none"
            if estimator != "exact" or gated:
                need("derivatives", words)
            if estimator in ("exact", "feedback", *LEARNED):
                need("output errors", classes)
            if estimator in ("projection", "target"):
                need("class code", classes)
            if gated:
                need("signal", words)
            if self.plans[position].layer.activation == "tanh" or estimator == "target":
                need("scratch", words)
            if estimator == "target" and self.recipe.local_loss == "l1":
                need("distance", words)
            if estimator in ("activity", "regression"):
                need("outputs", words)
                need("loss difference", 2)
            if estimator in LEARNED:
                need("signs", words)
            if estimator == "regression":
                need("weighted errors", classes)
            if estimator == "mirror":
                need("outputs before", classes)
                need("response", 2 * classes)
        return found

    def units(self) -> dict[str, Unit]:
        """What one unit of each tensor's gradient accumulators means."""
        found = {}
        for position, formats in self.layers.items():
            plan, forms = self.plans[position], self.formats.layers[position]
            scale = 1 / self.recipe.batch
            if self.estimator(position) == "activity":
                size = math.ldexp(self.step_size(forms.target), -forms.target.frac)
                scale /= size * self.recipe.by_layer(len(self.plans))[position][1]
            inputs = (forms.source, *forms.sums)
            for number, step in enumerate(plan.steps):
                found[step.tensor] = Unit(scale, formats.behind[number].frac + inputs[number].frac)
            if plan.bias:
                found[plan.bias] = Unit(scale, formats.behind[-1].frac)
            if self.estimator(position) in LEARNED:
                found[f"{position}.feedback"] = Unit(scale, self.formats.output.frac + self.engine.width - 2)
        return found

    # Its code

    def codes(
        self, objective: Objective, memory: ActivationMap, constants: Mapping[int, int], tensors: dict[str, Tensor],
        free: int, block: int,
    ) -> LocalCodes:  # fmt: skip
        """All gradient codes.

        :param constants: activation words of constants by value.
        :param free: first word of the weight memory behind the tensors.
        :param block: first generator block behind the tensors'.
        """
        return LocalCodes(self, objective, memory, constants, tensors, free, block)

    def step_size(self, form: FixedPoint) -> int:
        """The step of perturbed activities, a power of two, in units of their format."""
        exponent = round(math.log2(self.recipe.activity_mu)) + form.frac
        if not 2 <= exponent <= form.width - 2:
            raise CompileError(
                f"activity_mu = {self.recipe.activity_mu:g} is less than four units or more than half of the range of "
                f"the activities' format, {form}; use another"
            )
        return 1 << exponent

    def step_exponent(self, position: int) -> int:
        """log2 of the step of perturbed activities."""
        form = self.formats.layers[position].target
        return self.step_size(form).bit_length() - 1 - form.frac

    def sign_size(self, position: int) -> int:
        """log2 of the signs' magnitude for ``regression``: what aligns loss differences must fit an activation."""
        formats, width = self.layers[position], self.engine.width
        product = formats.signal.frac - self.step_exponent(position) - formats.loss_frac
        return max(0, min(width - 2, width - 2 - product))

    def alignment(self, position: int) -> int:
        """log2 of what loss differences are multiplied by, to meet products of signal and signs."""
        formats = self.layers[position]
        shift = self.sign_size(position) + formats.signal.frac - self.step_exponent(position) - formats.loss_frac
        if not 0 <= shift <= self.engine.width - 2:
            raise CompileError(f"layer {position}: activity_mu = {self.recipe.activity_mu:g} is too small or too large")
        return shift

    def target_alignment(self, formats: LocalFormats, target: FixedPoint) -> tuple[int, int, FixedPoint]:
        """Factors of outputs and projection that give them one binary point, and the projection's format."""
        reach = FixedPoint(target.width, formats.matrix.frac)
        frac = min(reach.frac, target.frac)
        # Both factors are powers of two; one of them is 1.
        return 1, 1 << (target.frac - frac), FixedPoint(target.width, frac)


class LocalCodes:
    """Code makers with places at hand."""

    def __init__(
        self, plan: LocalLearning, objective: Objective, memory: ActivationMap, constants: Mapping[int, int],
        tensors: dict[str, Tensor], free: int, block: int,
    ) -> None:  # fmt: skip
        self.plan, self.objective, self.memory, self.tensors = plan, objective, memory, tensors
        self.constants = constants
        self.places: Mapping[str, Region] = memory.extra
        self.engine = plan.engine
        self.first_free = self.free = free
        self.block = block
        self.fixed = [self._fixed(position) for position in plan.layers
                      if plan.estimator(position) in ("feedback", "projection", "target")]  # fmt: skip
        self.zeroed = self.free - free
        """Words behind the tensors whose masters must be zero."""
        self.codes: list[GradientCode] = [self._errors()] if plan.layers else []
        self.codes += [self._layer(position) for position in plan.layers]
        self.passes = [(position + 1, 0, self._count(position)) for position in plan.layers
                       if plan.estimator(position) in ("activity", *LEARNED)]  # fmt: skip
        if self.free > self.engine.parameter_depth:
            raise shortage(
                "parameter memory", self.free, self.engine.parameter_depth, "parameter_depth", "smaller layers"
            )

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates per sample besides forward passes."""
        total = sum(code.backward.macs for code in self.codes if isinstance(code, LocalCode))
        for position in self.plan.layers:
            words = self.plan.outputs(position).count * self.plan.model.outputs
            match self.plan.estimator(position):
                case "mirror":
                    total += 3 * words
                case "regression":
                    total += words + self._count(position) * (words + words // self.plan.model.outputs)
                case "feedback" | "projection" | "target":
                    total += words
        return total

    def _count(self, position: int) -> int:
        estimator, probes = self.plan.recipe.by_layer(len(self.plan.plans))[position]
        return 1 if estimator == "mirror" else probes

    def _area(self, words: int) -> int:
        base, self.free = self.free, self.free + words
        return base

    def _blocks(self, bits: int) -> int:
        block, self.block = self.block, self.block + -(-bits // 64) + 1
        if self.block > 1 << 20:
            raise CompileError("generator: too many blocks of signs needed; use smaller layers")
        return block

    def _base(self, name: str) -> int:
        return self.places[name].base

    def _errors(self) -> OutputErrors:
        plan = self.plan
        return OutputErrors(
            objective=self.objective, start=(len(plan.plans), 0),
            before=(self.memory.layers[-1].target.base, self._base("outputs before"))
            if "outputs before" in self.places else None,
            loss_frac=next(iter(plan.layers.values())).loss_frac if "loss difference" in self.places else None,
            errors=self._base("output errors") if "output errors" in self.places else None,
            code=self._base("class code") if "class code" in self.places else None,
            label=self.memory.labels.base, zero=self.constants[0], classes=plan.model.outputs,
        )  # fmt: skip

    def _fixed(self, position: int) -> tuple[int, FixedMatrix]:
        plan, R = self.plan, self.engine.rows
        (outputs, _), *others = plan.outputs(position).loops
        inputs, repeats = plan.model.outputs, math.prod(count for count, _ in others)
        form = plan.layers[position].matrix
        amplitude = round(plan.recipe.projection * 2.0 ** (form.frac + MASTER_BITS - form.width))
        base = self._area(-(-outputs // R) * inputs * repeats)
        block = self.block
        for _ in range(repeats):
            self._blocks(inputs * index_pitch(outputs))
        return position, FixedMatrix(
            rows=R, inputs=inputs, outputs=outputs, repeats=repeats, base=base, block=block,
            blocks=(self.block - block) // repeats, amplitude=amplitude,
        )  # fmt: skip

    def _transposed(self, source: Tensor) -> Transposed:
        return Transposed(source, self._area(Transposed.size(source)))

    def _layer(self, position: int) -> LocalCode:
        plan = self.plan
        layer, buffers = plan.plans[position], self.memory.layers[position]
        estimator, formats = plan.estimator(position), plan.layers[position]
        function = layer.layer.activation
        gated = function != "none"
        outputs = plan.outputs(position, buffers)
        delta = self._base("derivatives") if "derivatives" in self.places else self._base("output errors")
        signal = self._base("signal") if gated else delta
        if estimator == "exact":
            signal = self._base("output errors")
            delta = delta if gated else signal
        width = self.engine.width
        slope_frac = width - 2 if function == "tanh" else 0
        derivative = Derivative(
            engine=self.engine, function=function, outputs=outputs, signal=signal, delta=delta,
            slope=self._base("scratch") if function == "tanh" else 0,
            shift=slope_frac + formats.signal.frac - formats.behind[-1].frac,
            ones=(self.constants.get(1 << (width - 2), 0),) * 2, negative=self.constants.get(-(1 << (width - 2)), 0),
        )  # fmt: skip
        make = {"exact": self._output, "feedback": self._projected, "projection": self._projected,
                "target": self._target, "activity": self._activity, "mirror": self._learned,
                "regression": self._learned}[estimator]  # fmt: skip
        made = make(position, outputs, outputs.at(signal))
        if estimator == "activity":
            derivative = replace(derivative, outputs=outputs.at(self._base("outputs")))
        backward = Backward(
            engine=self.engine, plan=layer, buffers=buffers, tensors=self.tensors,
            outputs=outputs.base, delta=delta,
            formats=formats.behind, transposed=tuple(self._transposed(self.tensors[s.tensor]) for s in layer.steps[1:]),
            one=self.constants[1],
        )  # fmt: skip
        return LocalCode(start=(position, 0), signal=made, derivative=derivative, backward=backward)

    def _output(self, position: int, outputs: Words, signal: Words) -> Signal:
        return Output()

    def _projection(self, position: int, target: Words, frac: int) -> Projected:
        plan = self.plan
        errors = plan.estimator(position) == "feedback"
        code = FixedPoint(self.engine.width, self.engine.width - 2)
        form = error_format(plan.model, plan.formats) if errors else code
        return Projected(
            engine=self.engine, matrix=dict(self.fixed)[position],
            source=self._base("output errors" if errors else "class code"), signal=target,
            shift=form.frac + plan.layers[position].matrix.frac - frac,
        )  # fmt: skip

    def _projected(self, position: int, outputs: Words, signal: Words) -> Signal:
        return self._projection(position, signal, self.plan.layers[position].signal.frac)

    def _target(self, position: int, outputs: Words, signal: Words) -> Signal:
        plan = self.plan
        formats, target = plan.layers[position], plan.formats.layers[position].target
        one, factor, projected = plan.target_alignment(formats, target)
        scratch = self._base("scratch")
        l1 = plan.recipe.local_loss == "l1"
        distance = projected if l1 else formats.signal
        unit = self.constants.get(1 << (self.engine.width - 2), 0)
        return Target(
            engine=self.engine, projection=self._projection(position, outputs.at(scratch), projected.frac),
            outputs=outputs, scratch=scratch, signal=signal.base, factor=self.constants[factor],
            one=self.constants[one],
            shift=1 + target.frac - projected.frac if l1 else max(0, target.frac - distance.frac),
            sign=(unit, self._base("distance")) if l1 else None,
        )  # fmt: skip

    def _signs(self, count: int) -> int:
        return self._blocks(count + self.plan.recipe.tile)

    def _activity(self, position: int, outputs: Words, signal: Words) -> Signal:
        plan, formats = self.plan, self.plan.layers[position]
        return Activity(
            objective=self.objective, following=(position + 1, 0), probes=self._count(position), outputs=outputs,
            base=self._base("outputs"), signal=signal.base,
            size=self.constants[plan.step_size(plan.formats.layers[position].target)],
            difference=self._base("loss difference"), loss_frac=formats.loss_frac, zero=self.constants[0],
            block=self._signs(outputs.count), gate=plan.plans[position].layer.activation == "relu",
        )  # fmt: skip

    def _learned(self, position: int, outputs: Words, signal: Words) -> Signal:
        plan, formats = self.plan, self.plan.layers[position]
        matrix = self.tensors[f"{position}.feedback"]
        width, errors = self.engine.width, error_format(plan.model, plan.formats)
        common: dict[str, Any] = {
            "engine": self.engine, "objective": self.objective, "following": (position + 1, 0), "matrix": matrix,
            "outputs": outputs, "noise": self._base("signs"), "zero": self.constants[0],
            "size": self.constants[plan.step_size(plan.formats.layers[position].target)],
            "block": self._signs(outputs.count),
        }  # fmt: skip
        learner: Responses | Regression
        if plan.estimator(position) == "mirror":
            learner = Responses(
                **common, unit=self.constants[1 << (width - 2)], final=self.memory.layers[-1].target.base,
                before=self._base("outputs before"), response=self._base("response"),
                shift=matrix.format.frac + width - 2 - plan.step_exponent(position) - plan.formats.output.frac,
                units=(self.constants[1], self.constants[-1]),
            )  # fmt: skip
        else:
            shift = plan.alignment(position)
            learner = Regression(
                **common, unit=self.constants[1 << plan.sign_size(position)], probes=self._count(position),
                base=self._base("outputs"), signal=signal.base, errors=self._base("output errors"),
                difference=self._base("loss difference"), left=self._base("weighted errors"),
                loss_frac=formats.loss_frac, shift=shift, minus=self.constants[-(1 << shift)], error_frac=errors.frac,
            )  # fmt: skip
        return Learned(
            engine=self.engine, transposed=self._transposed(matrix), errors=self._base("output errors"), signal=signal,
            shift=errors.frac + matrix.format.frac - formats.signal.frac, learner=learner,
        )  # fmt: skip
