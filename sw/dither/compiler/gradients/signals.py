"""What code of local error signals has in common: derivatives of a loss by a layer's outputs, or
what stands in for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa import LossKind, LossMode, Operand
from ...arch.isa.assembler import Assembler
from ...nn.models import Model
from ..code.lanewise import Words, copy, multiply
from ..code.registers import LOSS, OFFSET, PROBE, SEED, STEP
from ..formats.forward import Formats
from ..objectives.objective import ObjectiveCode, Start
from .estimator import Pass

__all__ = [
    "CLASS_CODE",
    "LOSS_DIFFERENCE",
    "OUTPUTS_BEFORE",
    "OUTPUT_ERRORS",
    "Derivative",
    "OutputErrors",
    "Signal",
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


class Signal(Protocol):
    """Makes one layer's error signal for the lane group at work."""

    def prepare(self, asm: Assembler) -> None:
        """Emits what is done once a step, when the working weights are new."""

    def emit(self, asm: Assembler) -> None:
        """Emits what writes the signal."""

    def after(self, asm: Assembler) -> None:
        """Emits what may destroy the layer's outputs, when they are not needed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputErrors:
    """What all signals are made of: derivatives of the loss by the network's outputs, the classes'
    code, kept losses.

    The classes' code is ``1/C - onehot``: derivatives where all outputs are zero. Its lanes add up
    to zero over the classes, so that a projection of it has no common part.
    """

    objective: ObjectiveCode
    start: Start
    """Behind the last layer."""
    errors: int | None
    """First word of the derivatives, if wanted."""
    code: int | None
    """First word of the classes' code, if wanted."""
    before: tuple[int, int] | None
    """First words of the outputs and of a copy of them, if wanted."""
    loss_frac: int | None
    """Fraction bits of the losses that are kept, if wanted."""
    label: int
    zero: int
    """A word of zeros."""
    classes: int

    @property
    def passes(self) -> tuple[Pass, ...]:
        return ()

    @property
    def macs(self) -> int:
        return 0

    def prepare(self, asm: Assembler) -> None:
        """Nothing to do before a step."""

    def emit(self, asm: Assembler) -> None:
        if self.loss_frac is not None:
            self.objective.loss(asm, LOSS, LossMode.KEEP, loss_frac=self.loss_frac)
        if self.before is not None:
            copy(asm, *self.before, self.classes, self.zero)
        if self.errors is not None:
            self.objective.loss(asm, LOSS, LossMode.ERROR, (self.errors, 1))
        if self.code is not None:
            asm.emit(
                "LOSS",
                kind=LossKind.CROSS_ENTROPY,
                z_base=self.zero,
                z_step=0,
                count=self.classes,
                label=self.label,
                t_base=0,
                t_step=0,
                z_frac=0,
                loss_frac=0,
                mode=LossMode.ERROR,
                d_base=self.code,
                d_step=1,
                target=LOSS,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """The derivative of an activation function, computed from its value:
    ``delta = signal * f'(y)``.
    """

    engine: EngineConfig
    function: str
    """``relu``, ``tanh`` or ``none``; ``none`` needs no code, for the signal then stands where
    delta is wanted."""
    outputs: Words
    """y."""
    signal: int
    delta: int
    slope: int
    """First word of scratch, for ``tanh``."""
    shift: int
    ones: tuple[int, int]
    """For ``tanh``: words whose product is 1 in the slope's fraction bits before the shift."""
    negative: int
    """For ``tanh``: the word that y is multiplied by."""

    def emit(self, asm: Assembler) -> None:
        """Emits the multiplication."""
        words, what = self.outputs.at(self.signal), f"derivative of {self.function}"
        if self.function == "relu":
            asm.add(multiply(self.engine, what, self.outputs, words, self.delta, self.shift, Operand.POSITIVE))
        elif self.function == "tanh":
            # 1 - y*y = 1 + y * (-y), and -y loses two bits to make room for the 1.
            asm.add(multiply(self.engine, what, self.negative, self.outputs, self.delta, self.engine.width))
            square = self.outputs.at(self.delta)
            shift = self.engine.width - 2
            asm.add(multiply(self.engine, what, self.outputs, square, self.slope, shift, bias=self.ones))
            asm.add(multiply(self.engine, what, self.outputs.at(self.slope), words, self.delta, self.shift))


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
