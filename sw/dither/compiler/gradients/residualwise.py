"""``residualwise``: every point's residual answers each probe, and the host solves for the step."""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...arch.isa import Memory
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, combine, multiply
from ..code.perturbation import perturb
from ..errors import CompileError
from ..formats.probes import FloatProbes
from ..rates import Stepping, Unit
from .estimator import Pass, Places
from .joint import Joint
from .probing import GroupProbes

__all__ = ["COEFFICIENT_FRAC", "DAMPINGS", "Residualwise"]

COEFFICIENT_FRAC = 29
"""Fraction bits of a step's coefficients: a step whose root mean square is the recipe's rate has
coefficients of norm 1. The difference of two of them still fits a register."""
_FULL_BITS = 12
"""UPDATE's first shift brings the direction of such a step to an RMS of ``2**12``: 4 bits below its
clip, one of them for differences of two steps."""
DAMPINGS = tuple(2.0**-exponent for exponent in range(1, 26, 3))
"""What a step tries to add to the diagonal of its equations, as parts of their mean. The most
damped step comes first."""
_REFERENCE = "residuals that a probe's are compared with, and how they differ"


class Residualwise(Joint):
    """One group of probes for all layers. They answer with a residual for each point rather than
    with one loss: a column of the Jacobian, projected onto the probe.

    The host finds the combination of probes that makes the residuals smallest (Gauss-Newton in the
    probes' span), and sends its coefficients back.
    """

    name = "residualwise"

    def shifts(self, floats: FloatProbes) -> dict[str, int]:
        # The host chooses coefficients of a known size: nothing has to be tried out.
        return dict.fromkeys(self.names, COEFFICIENT_FRAC - _FULL_BITS)

    def constants(self) -> set[int]:
        return {1, -1}

    def regions(self) -> dict[str, int]:
        return {_REFERENCE: 2}

    def steppings(self) -> dict[str, Stepping]:
        (group,) = self.groups()
        return dict.fromkeys(
            group.tensors, Stepping(Unit(1.0, COEFFICIENT_FRAC), deviation=group.distribution.deviation)
        )

    def codes(self, places: Places) -> list[GroupProbes]:
        residual = places.objective.residual
        if residual is None:
            raise CompileError(
                f"{self.name} needs a residual for each point, as differential equations have; use joint or tensorwise"
            )
        (group,) = self.groups()
        return [
            _Columns(
                objective=places.objective,
                recipe=self.recipe,
                group=group,
                tensors=tuple(places.tensors[name] for name in group.tensors),
                residual=residual,
                reference=places.region(_REFERENCE),
                one=places.constants[1],
                minus_one=places.constants[-1],
                engine=self.setting.engine,
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns(GroupProbes):
    """Code that sends the lane group's residuals, then for each probe how these change."""

    residual: int
    """Activation word of the residuals behind a forward pass."""
    reference: int
    """Activation word of those that a probe's are compared with."""
    one: int
    minus_one: int
    engine: EngineConfig

    @property
    def passes(self) -> tuple[Pass, ...]:
        # A trial of each damping is a pass, too.
        return ((*self.start, self.group.probes * self.recipe.evaluations + len(DAMPINGS)),)

    def send(self, asm: Assembler) -> None:
        asm.emit("STORE", memory=Memory.ACTIVATION, base=self.residual, count=1)
        two = self.recipe.evaluations == 2
        if not two:
            self._keep(asm)
        with self._probes(asm):
            for sign in (-1, 1)[2 - self.recipe.evaluations :]:
                for tensor in self.tensors:
                    perturb(asm, tensor, self.group.distribution, sign * tensor.amplitude)
                self.objective.forward(asm, self.start)
                if sign < 0:
                    self._keep(asm)
            change = combine(
                self.engine,
                "a probe's residuals",
                Words(self.residual, ()),
                Words(self.reference, ()),
                self.minus_one,
                self.one,
                self.changed,
                0,
            )
            asm.add(change)
            asm.emit("STORE", memory=Memory.ACTIVATION, base=self.changed, count=1)
        self._restore(asm)

    @property
    def changed(self) -> int:
        """Activation word of what a probe changes."""
        return self.reference + 1

    def _keep(self, asm: Assembler) -> None:
        """Emits what makes the residuals at hand those that others are compared with."""
        asm.add(multiply(self.engine, "a probe's reference", self.one, Words(self.residual, ()), self.reference, 0))
