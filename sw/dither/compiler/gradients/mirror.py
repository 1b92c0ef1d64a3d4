"""``mirror``: output errors through a matrix that learns how the network's outputs respond to
perturbed activities (weight mirrors; Akrout et al., *Deep Learning without Weight Transport*,
NeurIPS 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words
from ..code.nests import Access, Drain, contract_nest
from ..code.registers import PROBE, TILE
from .estimator import Places
from .learned import LearnedMatrix, Learner, Perturbed
from .signals import OUTPUTS_BEFORE

__all__ = ["Mirror"]


class Mirror(LearnedMatrix):
    """A matrix that learns from responses: one perturbation a step teaches all its columns."""

    name = "mirror"

    @property
    def perturbations(self) -> int:
        return 1

    @property
    def macs(self) -> int:
        return 3 * self.outputs().count * self.classes

    @property
    def unit(self) -> int:
        return 1 << (self.width - 2)

    def constants(self) -> set[int]:
        return super().constants() | {-1, self.unit}

    def regions(self) -> dict[str, int]:
        return super().regions() | {OUTPUTS_BEFORE: self.classes, "response": 2 * self.classes}

    def learner(self, places: Places, signal: Words, common: dict[str, Any]) -> Learner:
        return _Responses(
            **common,
            final=places.memory.layers[-1].target.base,
            before=places.region(OUTPUTS_BEFORE),
            response=places.region("response"),
            shift=self.matrix_format.frac + self.width - 2 - self.step_exponent - self.formats.output.frac,
            units=(places.constants[1], places.constants[-1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Responses(Perturbed):
    """Code of the gradient of ``|B eps - dz|**2 / 2``."""

    final: int
    """First word of the network's outputs."""
    before: int
    """First word of a copy of them."""
    response: int
    """First word of the predicted responses; the residuals stand behind them."""
    shift: int
    units: tuple[int, int]
    """The words of 1 and of -1."""

    def emit(self, asm: Assembler) -> None:
        classes = self.matrix.layout.columns
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        self.perturb(asm, self.outputs.base)
        nest, residual = self.nest, self.response + classes
        asm.add(replace(nest, y=replace(nest.y, base=self.response)).contract(self.engine, Drain(self.shift)))
        # predicted + before - after, in units of the network's outputs
        plus, minus = self.units
        asm.add(
            contract_nest(
                self.engine,
                "residual",
                inner=(2,),
                outer=(1, classes),
                w=Access(plus, (minus - plus,)),
                x=Access(self.before, (self.final - self.before, 0, 0, 0, 1)),
                y=Access(residual, (0, 1)),
                drain=Drain(0),
                operand=Operand.LANE,
                bias=Access(self.response, (0, 1)),
                one=plus,
            )
        )
        asm.add(nest.correlate(self.engine, residual))
