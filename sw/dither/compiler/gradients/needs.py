"""What local learning needs: regions of activation memory, constants, learned matrices, and how
they are aligned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...nn.models import RNN, Model
from ...recipe import Recipe
from ..code.lanewise import Words
from ..errors import CompileError
from ..formats.forward import Formats
from ..formats.local import LocalFormats
from ..layout.memory import LayerBuffers
from ..layout.tensors import Layout
from ..plan.planner import LayerPlan
from ..rates import Unit

__all__ = ["LEARNED", "LocalLearning"]

LEARNED = ("mirror", "regression")
"""Estimators with a learned matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLearning:
    """What a network's local estimators need, before anything has a place."""

    model: Model
    recipe: Recipe
    engine: EngineConfig
    plans: tuple[LayerPlan, ...]
    formats: Formats
    layers: Mapping[int, LocalFormats]
    """By position; empty where no layer learns locally."""

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
                    Layout(
                        name=name,
                        shape=shape,
                        view=shape,
                        axes=(0, 1),
                        inner=inputs,
                        groups=1,
                        group_rows=shape[1],
                        group_pitch=shape[1],
                        first_step=0,
                        layer=position,
                    ),
                    formats.matrix,
                )
        return found

    def outputs(self, position: int, buffers: LayerBuffers | None = None) -> Words:
        """A layer's outputs, at their place if ``buffers`` are given; a recurrent layer's of all
        time steps.
        """
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
        """log2 of the signs' magnitude for ``regression``: what aligns loss differences must fit an
        activation.
        """
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
        """Factors of outputs and projection that give them one binary point, and the projection's
        format.
        """
        reach = FixedPoint(target.width, formats.matrix.frac)
        frac = min(reach.frac, target.frac)
        # Both factors are powers of two; one of them is 1.
        return 1, 1 << (target.frac - frac), FixedPoint(target.width, frac)
