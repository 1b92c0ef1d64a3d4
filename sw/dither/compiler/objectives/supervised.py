"""What a training step minimises, as code: samples in, forward pass, loss in a register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...arch.isa import Instruction, LossKind, LossMode, Memory
from ...arch.isa.assembler import Assembler
from ...nn.models import Model
from ..formats.forward import Formats
from ..layout.memory import ActivationMap
from ..layout.tensors import Tensor

__all__ = ["Objective", "Start", "Supervised"]

Start = tuple[int, int]
"""Layer and step that a forward pass starts at; behind the last layer, there is nothing to do."""


class Objective(Protocol):
    """Code for one lane group, whose samples stand in the lanes."""

    def subroutines(self, asm: Assembler) -> None:
        """Emits what the other methods call."""

    def load(self, asm: Assembler) -> None:
        """Emits what takes the next lane group from the input stream."""

    def forward(self, asm: Assembler, start: Start = (0, 0)) -> None:
        """Emits a forward pass that need not compute what stands before ``start``."""

    def loss(
        self,
        asm: Assembler,
        target: int,
        mode: LossMode = LossMode.SUM,
        place: tuple[int, int] = (0, 0),
        loss_frac: int | None = None,
    ) -> None:
        """Emits what puts the sum of losses behind a forward pass into a register.

        :param place: base and step of what ``mode`` writes.
        :param loss_frac: fraction bits of a sample's loss, if other than those of the step's loss.
        """

    def evaluate(self, asm: Assembler, target: int) -> None:
        """Emits what sends the network's outputs for the samples, and puts the sum of their losses
        into a register.

        The sum is 0 where outputs have no losses of their own.
        """

    def start(self, tensors: Sequence[Tensor]) -> Start:
        """Where a forward pass may start if nothing but these tensors has changed since the last
        one.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A network's outputs against labels or targets."""

    model: Model
    memory: ActivationMap
    formats: Formats
    code: tuple[tuple[tuple[Instruction, ...], ...], ...]
    """Per layer, per step that a forward pass may start at, the instructions up to the next such
    step.
    """

    def subroutines(self, asm: Assembler) -> None:
        """See :class:`Objective`."""
        for layer, steps in enumerate(self.code):
            for number, instructions in enumerate(steps):
                asm.label(f"forward {layer}.{number}")
                for instruction in instructions:
                    asm.add(instruction)
        asm.label(f"forward {len(self.code)}.0")
        asm.emit("RETURN")
        if len(self.memory.loads) > 1:
            asm.label("load")
            self._loads(asm)
            asm.emit("RETURN")

    def load(self, asm: Assembler) -> None:
        """See :class:`Objective`."""
        if len(self.memory.loads) > 1:
            asm.call("load")
        else:
            self._loads(asm)

    def _loads(self, asm: Assembler) -> None:
        for region in self.memory.loads:
            asm.emit("LOAD", memory=Memory.ACTIVATION, base=region.base, count=region.words)

    def forward(self, asm: Assembler, start: Start = (0, 0)) -> None:
        """See :class:`Objective`."""
        layer, step = start
        asm.call(f"forward {layer}.{step}")

    def loss(
        self,
        asm: Assembler,
        target: int,
        mode: LossMode = LossMode.SUM,
        place: tuple[int, int] = (0, 0),
        loss_frac: int | None = None,
    ) -> None:
        """See :class:`Objective`."""
        memory, kind = self.memory, LossKind[self.model.loss.upper()]
        asm.emit(
            "LOSS",
            kind=kind,
            z_base=memory.layers[-1].target.base,
            z_step=1,
            count=self.model.outputs,
            label=memory.labels.base,
            t_base=memory.targets.base,
            t_step=1,
            z_frac=self.formats.output.frac,
            loss_frac=self.formats.loss_frac if loss_frac is None else loss_frac,
            mode=mode,
            d_base=place[0],
            d_step=place[1],
            target=target,
        )

    def evaluate(self, asm: Assembler, target: int) -> None:
        """See :class:`Objective`."""
        self.forward(asm)
        self.loss(asm, target)
        asm.emit("STORE", memory=Memory.ACTIVATION, base=self.memory.layers[-1].target.base, count=self.model.outputs)

    def start(self, tensors: Sequence[Tensor]) -> Start:
        """See :class:`Objective`."""
        layer, step = min((tensor.layout.layer, tensor.layout.first_step) for tensor in tensors)
        return layer, step if self.memory.layers[layer].kept else 0
