"""Local learning as code: for each layer with a local estimator, its error signal, then its
tensors' gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...arch.fixedpoint import FixedPoint
from ...arch.generator import index_pitch
from ...arch.isa import MASTER_BITS
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words
from ..errors import CompileError, shortage
from ..formats.local import error_format
from ..layout.memory import ActivationMap, Region
from ..layout.tensors import Tensor
from ..objectives.supervised import Objective, Start
from ..program import GradientCode
from .backward import Backward, Transposed
from .learned import Learned, Regression, Responses
from .needs import LEARNED, LocalLearning
from .projections import FixedMatrix, Projected, Target
from .signals import Activity, Derivative, Output, OutputErrors, Signal

__all__ = ["LocalCode", "LocalCodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCode:
    """Gradients of one layer's tensors from a signal at its outputs."""

    start: Start
    signal: Signal
    derivative: Derivative
    backward: Backward

    def prepare(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.program.GradientCode`."""
        self.signal.prepare(asm)
        self.backward.prepare(asm)

    def emit(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.program.GradientCode`."""
        self.signal.emit(asm)
        self.derivative.emit(asm)
        self.backward.emit(asm)
        self.signal.after(asm)


class LocalCodes:
    """All gradient codes of local learning, once memories and tensors have their places.

    :param plan: what it needs.
    :param constants: activation words of constants by value.
    :param free: first word of the weight memory behind the tensors.
    :param block: first generator block behind the tensors'.
    """

    def __init__(
        self,
        plan: LocalLearning,
        objective: Objective,
        memory: ActivationMap,
        constants: Mapping[int, int],
        tensors: dict[str, Tensor],
        free: int,
        block: int,
    ) -> None:
        self.plan, self.objective, self.memory, self.tensors = plan, objective, memory, tensors
        self.constants = constants
        self.places: Mapping[str, Region] = memory.extra
        self.engine = plan.engine
        self.first_free = self.free = free
        self.block = block
        self.fixed = [
            self._fixed(position)
            for position in plan.layers
            if plan.estimator(position) in ("feedback", "projection", "target")
        ]
        self.zeroed = self.free - free
        """Words behind the tensors whose masters must be zero."""
        self.codes: list[GradientCode] = [self._errors()] if plan.layers else []
        self.codes += [self._layer(position) for position in plan.layers]
        self.passes = [
            (position + 1, 0, self._count(position))
            for position in plan.layers
            if plan.estimator(position) in ("activity", *LEARNED)
        ]
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
            objective=self.objective,
            start=(len(plan.plans), 0),
            before=(self.memory.layers[-1].target.base, self._base("outputs before"))
            if "outputs before" in self.places
            else None,
            loss_frac=next(iter(plan.layers.values())).loss_frac if "loss difference" in self.places else None,
            errors=self._base("output errors") if "output errors" in self.places else None,
            code=self._base("class code") if "class code" in self.places else None,
            label=self.memory.labels.base,
            zero=self.constants[0],
            classes=plan.model.outputs,
        )

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
            rows=R,
            inputs=inputs,
            outputs=outputs,
            repeats=repeats,
            base=base,
            block=block,
            blocks=(self.block - block) // repeats,
            amplitude=amplitude,
        )

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
            engine=self.engine,
            function=function,
            outputs=outputs,
            signal=signal,
            delta=delta,
            slope=self._base("scratch") if function == "tanh" else 0,
            shift=slope_frac + formats.signal.frac - formats.behind[-1].frac,
            ones=(self.constants.get(1 << (width - 2), 0),) * 2,
            negative=self.constants.get(-(1 << (width - 2)), 0),
        )
        make = {
            "exact": self._output,
            "feedback": self._projected,
            "projection": self._projected,
            "target": self._target,
            "activity": self._activity,
            "mirror": self._learned,
            "regression": self._learned,
        }[estimator]
        made = make(position, outputs, outputs.at(signal))
        if estimator == "activity":
            derivative = replace(derivative, outputs=outputs.at(self._base("outputs")))
        backward = Backward(
            engine=self.engine,
            plan=layer,
            buffers=buffers,
            tensors=self.tensors,
            outputs=outputs.base,
            delta=delta,
            formats=formats.behind,
            transposed=tuple(self._transposed(self.tensors[s.tensor]) for s in layer.steps[1:]),
            one=self.constants[1],
        )
        return LocalCode(start=(position, 0), signal=made, derivative=derivative, backward=backward)

    def _output(self, position: int, outputs: Words, signal: Words) -> Signal:
        return Output()

    def _projection(self, position: int, target: Words, frac: int) -> Projected:
        plan = self.plan
        errors = plan.estimator(position) == "feedback"
        code = FixedPoint(self.engine.width, self.engine.width - 2)
        form = error_format(plan.model, plan.formats) if errors else code
        return Projected(
            engine=self.engine,
            matrix=dict(self.fixed)[position],
            source=self._base("output errors" if errors else "class code"),
            signal=target,
            shift=form.frac + plan.layers[position].matrix.frac - frac,
        )

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
            engine=self.engine,
            projection=self._projection(position, outputs.at(scratch), projected.frac),
            outputs=outputs,
            scratch=scratch,
            signal=signal.base,
            factor=self.constants[factor],
            one=self.constants[one],
            shift=1 + target.frac - projected.frac if l1 else max(0, target.frac - distance.frac),
            sign=(unit, self._base("distance")) if l1 else None,
        )

    def _signs(self, count: int) -> int:
        return self._blocks(count + self.plan.recipe.tile)

    def _activity(self, position: int, outputs: Words, signal: Words) -> Signal:
        plan, formats = self.plan, self.plan.layers[position]
        return Activity(
            objective=self.objective,
            following=(position + 1, 0),
            probes=self._count(position),
            outputs=outputs,
            base=self._base("outputs"),
            signal=signal.base,
            size=self.constants[plan.step_size(plan.formats.layers[position].target)],
            difference=self._base("loss difference"),
            loss_frac=formats.loss_frac,
            zero=self.constants[0],
            block=self._signs(outputs.count),
            gate=plan.plans[position].layer.activation == "relu",
        )

    def _learned(self, position: int, outputs: Words, signal: Words) -> Signal:
        plan, formats = self.plan, self.plan.layers[position]
        matrix = self.tensors[f"{position}.feedback"]
        width, errors = self.engine.width, error_format(plan.model, plan.formats)
        common: dict[str, Any] = {
            "engine": self.engine,
            "objective": self.objective,
            "following": (position + 1, 0),
            "matrix": matrix,
            "outputs": outputs,
            "noise": self._base("signs"),
            "zero": self.constants[0],
            "size": self.constants[plan.step_size(plan.formats.layers[position].target)],
            "block": self._signs(outputs.count),
        }
        learner: Responses | Regression
        if plan.estimator(position) == "mirror":
            learner = Responses(
                **common,
                unit=self.constants[1 << (width - 2)],
                final=self.memory.layers[-1].target.base,
                before=self._base("outputs before"),
                response=self._base("response"),
                shift=matrix.format.frac + width - 2 - plan.step_exponent(position) - plan.formats.output.frac,
                units=(self.constants[1], self.constants[-1]),
            )
        else:
            shift = plan.alignment(position)
            learner = Regression(
                **common,
                unit=self.constants[1 << plan.sign_size(position)],
                probes=self._count(position),
                base=self._base("outputs"),
                signal=signal.base,
                errors=self._base("output errors"),
                difference=self._base("loss difference"),
                left=self._base("weighted errors"),
                loss_frac=formats.loss_frac,
                shift=shift,
                minus=self.constants[-(1 << shift)],
                error_frac=errors.frac,
            )
        return Learned(
            engine=self.engine,
            transposed=self._transposed(matrix),
            errors=self._base("output errors"),
            signal=signal,
            shift=errors.frac + matrix.format.frac - formats.signal.frac,
            learner=learner,
        )
