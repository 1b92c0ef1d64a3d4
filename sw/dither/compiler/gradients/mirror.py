"""``mirror``: output errors through a matrix that learns how the network's outputs respond to
perturbed activities (weight mirrors; Akrout et al., *Deep Learning without Weight Transport*,
NeurIPS 2019).
"""

from __future__ import annotations

from ...arch.isa import Operand
from ...arch.isa.assembler import Assembler
from ..code.nests import Access, Drain, contract_nest
from ..code.registers import PROBE, TILE
from .learned import FIRST, INNER, LearnedMatrix
from .signals import OUTPUTS_BEFORE

__all__ = ["Mirror"]


class Mirror(LearnedMatrix):
    """A matrix that learns from responses: one perturbation a step teaches all its columns."""

    name = "mirror"

    @property
    def perturbations(self) -> int:
        return 1

    @property
    def signal_macs(self) -> int:
        steps = self.matrix.steps
        return 3 * sum(step.macs for step in steps) + sum(step.macs for step in steps[1:])

    @property
    def unit(self) -> int:
        return self.full

    def constants(self) -> set[int]:
        return super().constants() | {-1}

    def regions(self) -> dict[str, int]:
        return super().regions() | {OUTPUTS_BEFORE: self.classes}

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        return super().own(chunks) | {"response": (2 * self.classes, (FIRST, INNER))}

    def end(self, asm: Assembler) -> None:
        """The gradient of ``|B eps - dz|**2 / 2``."""
        engine, classes, response = self.setting.engine, self.classes, self.region("response")
        before, final = self.region(OUTPUTS_BEFORE), self.places.memory.layers[-1].target.base
        plus, minus, residual = self.constant(1), self.constant(-1), response + classes
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        self.perturb(asm, self.y.base)
        self.write_signs(asm, self.unit)
        self.matrix_code.apply(asm, self.buffers(response), self.signs_format, self.formats.output)
        # predicted + before - after, in units of the network's outputs
        asm.add(
            contract_nest(
                engine,
                "residual",
                inner=(2,),
                outer=(1, classes),
                w=Access(plus, (minus - plus,)),
                x=Access(before, (final - before, 0, 0, 0, 1)),
                y=Access(residual, (0, 1)),
                drain=Drain(0),
                operand=Operand.LANE,
                bias=Access(response, (0, 1)),
                one=plus,
            )
        )
        self.learn(asm, response, residual)
