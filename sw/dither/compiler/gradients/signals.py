"""What error signals are made of: derivatives by the network's outputs, classes, losses, signs."""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import LossKind, LossMode
from ...arch.isa.assembler import Assembler
from ...nn.models import Model
from ..code.lanewise import copy
from ..code.registers import LOSS, OFFSET, PROBE, SEED, STEP
from ..formats.forward import Formats
from ..objectives.objective import Start
from ..plan.setting import Setting
from .estimator import GradientCode, Places

__all__ = [
    "CLASS_CODE",
    "LOSS_DIFFERENCE",
    "OUTPUTS_BEFORE",
    "OUTPUT_ERRORS",
    "OutputErrors",
    "dither",
    "error_format",
]

OUTPUT_ERRORS = "output errors"
"""Region of the derivatives by the network's outputs. This one and those below are filled once for
all estimators, by :class:`OutputErrors`, if one of them asks for the region."""
CLASS_CODE = "class code"
"""Region of the classes' code."""
OUTPUTS_BEFORE = "outputs before"
"""Region of a copy of the network's outputs, as the base pass left them."""
LOSS_DIFFERENCE = "loss difference"
"""Region of loss differences against the base pass, whose losses are kept for it; of two words, the
first."""


def error_format(model: Model, formats: Formats) -> FixedPoint:
    """The format of output errors, as LOSS writes them."""
    squared = model.loss == "squared_error"
    return formats.output if squared else FixedPoint(formats.width, formats.width - 2)


@dataclass(frozen=True, slots=True)
class OutputErrors(GradientCode):
    """Code of what all signals are made of, for those of the regions above that somebody uses.

    The classes' code is ``1/C - onehot``: derivatives where all outputs are zero. Its lanes add up
    to zero over the classes, so that a projection of it has no common part.
    """

    setting: Setting
    places: Places
    loss_frac: int
    """Fraction bits of losses that are kept."""

    @property
    def start(self) -> Start:
        # Behind the last layer.
        return len(self.setting.plans), 0

    def emit(self, asm: Assembler) -> None:
        objective, memory, zero = self.places.objective, self.places.memory, self.places.constants[0]
        classes, regions = self.setting.model.outputs, memory.extra
        if LOSS_DIFFERENCE in regions:
            objective.loss(asm, LOSS, LossMode.KEEP, loss_frac=self.loss_frac)
        if OUTPUTS_BEFORE in regions:
            copy(asm, memory.layers[-1].target.base, regions[OUTPUTS_BEFORE].base, classes, zero)
        if OUTPUT_ERRORS in regions:
            objective.loss(asm, LOSS, LossMode.ERROR, (regions[OUTPUT_ERRORS].base, 1))
        if CLASS_CODE in regions:
            asm.emit(
                "LOSS",
                kind=LossKind.CROSS_ENTROPY,
                z_base=zero,
                z_step=0,
                count=classes,
                label=memory.labels.base,
                t_base=0,
                t_step=0,
                z_frac=0,
                loss_frac=0,
                mode=LossMode.ERROR,
                d_base=regions[CLASS_CODE].base,
                d_step=1,
                target=LOSS,
            )


def dither(
    asm: Assembler, source: int, target: int, count: int, scale: int, block: int, *, step: int = 1, gate: bool = False
) -> None:
    """Emits ``target = source + sign * scale`` for some words and the probe at hand.

    :param scale: the word that the signs are multiplied by.
    :param block: first generator block of the signs.
    :param step: from source word to source word.
    :param gate: words that are not positive are left alone.
    """
    asm.emit(
        "DITHER",
        count=count,
        x_base=source,
        x_step=step,
        y_base=target,
        y_step=1,
        scale=scale,
        gate=gate,
        block=block,
        seed=SEED,
        step=STEP,
        probe=PROBE,
        offset=OFFSET,
    )
