"""What an objective is: as a user gives it, with number formats, and as code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.config import EngineConfig
from ...arch.isa import LossMode
from ...arch.isa.assembler import Assembler
from ...nn.models import Model, Parameters
from ...recipe import Recipe
from ..code.network import NetworkCode
from ..formats.forward import Formats, Headroom
from ..formats.probes import Losses
from ..layout.tensors import Layout, Tensor
from ..plan.samples import Samples
from ..plan.setting import Setting

__all__ = ["CalibratedObjective", "Objective", "ObjectiveCode", "Start"]

Start = tuple[int, int]
"""Layer and step that a forward pass starts at; behind the last layer, there is nothing to do."""


class Objective(Protocol):
    """What a network is trained for, as users of the compiler give it."""

    def check(self, model: Model, recipe: Recipe, engine: EngineConfig) -> None:
        """Refuses what does not go together.

        :raises ValueError: if model or recipe do not suit the objective; a CompileError if the
            engine does not.
        """

    def headroom(self, recipe: Recipe) -> Headroom:
        """The number formats' headroom where nobody asks for another."""

    def calibrate(self, setting: Setting, parameters: Parameters, headroom: Headroom) -> CalibratedObjective:
        """Chooses number formats for a network whose initial parameters are given.

        :raises CompileError: if a number cannot be held or an overflow not be excluded.
        """


class CalibratedObjective(Protocol):
    """An objective whose number formats are chosen: what it needs of a program."""

    @property
    def formats(self) -> Formats:
        """The network's, still without gradient shifts and error signals."""

    @property
    def losses(self) -> Losses:
        """Losses of calibration samples with other parameters, in floats."""

    @property
    def count(self) -> int:
        """How many calibration samples :attr:`losses` has."""

    @property
    def examples(self) -> tuple[ArrayLike, ArrayLike] | None:
        """Inputs and targets of typical samples; None where samples have no targets, and layers
        therefore no error signals of their own."""

    @property
    def samples(self) -> Samples:
        """How samples become words."""

    @property
    def targets(self) -> int:
        """Words of activation memory behind the labels that a sample's targets fill."""

    @property
    def evaluations(self) -> int:
        """How often a forward pass runs the network."""

    @property
    def partial(self) -> bool:
        """Whether a forward pass may start within the network, behind what has not changed."""

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates per sample and forward pass besides the network's."""

    def constants(self) -> set[int]:
        """Values that must stand in words of the activation memory."""

    def regions(self) -> dict[str, int]:
        """Words of activation memory by name."""

    def matrices(self) -> Mapping[str, tuple[Layout, NDArray[np.int64]]]:
        """Tensors that no step changes, with their working weights."""

    def code(self, network: NetworkCode, tensors: Mapping[str, Tensor], constants: Mapping[int, int]) -> ObjectiveCode:
        """Returns its code, once everything has a place.

        :param constants: activation words of constants, by value.
        """


class ObjectiveCode(Protocol):
    """Code for one lane group, whose samples stand in the lanes."""

    @property
    def residual(self) -> int | None:
        """The activation word that a forward pass leaves a residual in for each sample, still
        without what depends on the sample alone; None where samples have none.
        """

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
