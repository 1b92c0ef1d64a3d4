"""Gradients from sums of losses alone: what all estimators that perturb parameters have in common.

They differ in the tensors that they perturb together: a *group*.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...arch.isa import Distribution
from ...arch.isa.assembler import Assembler
from ...recipe import Recipe
from ..code.perturbation import accumulate, perturb, restore
from ..code.registers import BASE, DIFFERENCE, LOSS, OTHER, PROBE, TILE
from ..errors import CompileError
from ..formats.probes import FloatProbes, shift_to_target
from ..layout.memory import Moment
from ..layout.tensors import Tensor
from ..objectives.objective import ObjectiveCode, Start
from ..rates import Stepping, Unit
from .estimator import Estimator, GradientCode, Pass, Places

__all__ = ["GroupProbes", "ParameterProbes", "ProbeGroup"]


@dataclass(frozen=True, slots=True)
class ProbeGroup:
    """Tensors that are perturbed together, and how many probes a tile they get."""

    tensors: tuple[str, ...]
    probes: int
    distribution: Distribution = Distribution.RADEMACHER


class ParameterProbes(Estimator):
    """An estimator that perturbs parameters; the file of each says which together."""

    @property
    def distribution(self) -> Distribution:
        """Distribution of the recipe's probes."""
        return Distribution[self.recipe.distribution.upper()]

    @abstractmethod
    def groups(self) -> list[ProbeGroup]:
        """Which of its tensors are perturbed together."""

    def spread(self, floats: FloatProbes, group: ProbeGroup) -> float:
        """The RMS of a group's gradient accumulators."""
        rms = floats.rms(group.tensors, probes=group.probes, whole=self.recipe.shared_probe)
        return rms * group.distribution.deviation

    def slower(self, group: ProbeGroup) -> int:
        """Returns how many bits the recipe's shrinkage makes a group's rate smaller by, rounded,
        because they become a shift.
        """
        shapes = self.setting.model.parameter_shapes()
        size = sum(math.prod(shapes[name]) for name in group.tensors)
        factor = {"none": 0.0, "root": 0.5, "linear": 1.0}[self.recipe.shrinkage]
        return round(factor * math.log2((group.probes + size - 1) / group.probes))

    def code(self, group: ProbeGroup) -> type[GroupProbes]:
        """What makes a group's code."""
        return GroupProbes

    def shifts(self, floats: FloatProbes) -> dict[str, int]:
        rms = {group.tensors: self.spread(floats, group) for group in self.groups()}
        for (name, *_), value in rms.items():
            if not math.isfinite(value):
                raise CompileError(f"{name}: calibration probes gave infinite losses; use a smaller mu")
        return {name: shift_to_target(value, floats.loss_frac) for names, value in rms.items() for name in names}

    def planned(self) -> list[tuple[Sequence[str], int]]:
        return [(group.tensors, group.probes * self.recipe.evaluations) for group in self.groups()]

    def moments(self) -> list[Moment]:
        layers = sorted({int(name.split(".")[0]) for names, _ in self.planned() for name in names[:1]}, reverse=True)
        return [Moment(f"probes of layer {layer}", layer, layer) for layer in layers]

    def steppings(self) -> dict[str, Stepping]:
        found: dict[str, Stepping] = {}
        for group in self.groups():
            recipe, deviation = self.recipe, group.distribution.deviation
            scale = 1 / (recipe.batch * recipe.mu * recipe.evaluations * group.probes * deviation)
            unit = Unit(scale, self.formats.loss_frac)
            found |= dict.fromkeys(group.tensors, Stepping(unit, self.slower(group), deviation))
        return found

    def codes(self, places: Places) -> list[GroupProbes]:
        return [
            self.code(group)(
                objective=places.objective,
                recipe=self.recipe,
                group=group,
                tensors=tuple(places.tensors[name] for name in group.tensors),
            )
            for group in self.groups()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProbes(GradientCode):
    """Code of all probes of one group of tensors on the lane group at work, against the base loss
    in register BASE.
    """

    objective: ObjectiveCode
    recipe: Recipe
    group: ProbeGroup
    tensors: tuple[Tensor, ...]
    """The group's, in layer order."""

    @property
    def start(self) -> Start:
        """Where the forward passes start."""
        return self.objective.start(self.tensors)

    @property
    def passes(self) -> tuple[Pass, ...]:
        return ((*self.start, self.group.probes * self.recipe.evaluations),)

    @property
    def differences(self) -> int | None:
        """How many loss differences say all about a tile's gradients; None if a sum over tiles says
        the same in fewer numbers.
        """
        return self.group.probes

    def emit(self, asm: Assembler) -> None:
        with self._probes(asm):
            self.probe(asm, self.tensors)
        self._restore(asm)

    def send(self, asm: Assembler) -> None:
        """Emits the same, but that the loss differences go to the host, not into gradients."""
        with self._probes(asm):
            self.difference(asm, self.tensors)
            asm.emit("EMIT", source=DIFFERENCE)
        self._restore(asm)

    def receive(self, asm: Assembler) -> None:
        """Emits what makes a tile's gradients of loss differences that come from the host."""
        with self._probes(asm):
            asm.emit("PULL", target=DIFFERENCE)
            for tensor in self.tensors:
                accumulate(asm, tensor, self.group.distribution)

    @contextmanager
    def _probes(self, asm: Assembler) -> Iterator[None]:
        """A loop over all probes of a tile, with their numbers in register PROBE."""
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.group.probes):
            yield
            if self.group.probes > 1:
                asm.emit("SET", target=PROBE, source=PROBE, value=1)

    def _restore(self, asm: Assembler) -> None:
        # Tensors of a layer stand side by side, so one pass restores a whole group.
        first = self.tensors[0].base
        restore(asm, first, self.tensors[-1].base + self.tensors[-1].words - first)

    def probe(self, asm: Assembler, tensors: Sequence[Tensor]) -> None:
        """Emits one probe: losses, their difference, gradients."""
        self.difference(asm, tensors)
        for tensor in tensors:
            accumulate(asm, tensor, self.group.distribution)

    def difference(self, asm: Assembler, tensors: Sequence[Tensor]) -> None:
        """Emits one probe's losses, and their difference into register DIFFERENCE."""
        two = self.recipe.evaluations == 2
        for sign, register in ((1, LOSS), (-1, OTHER))[: self.recipe.evaluations]:
            for tensor in tensors:
                perturb(asm, tensor, self.group.distribution, sign * tensor.amplitude)
            self.objective.forward(asm, self.start)
            self.objective.loss(asm, register)
        asm.emit("SUBTRACT", target=DIFFERENCE, left=LOSS, right=OTHER if two else BASE)
