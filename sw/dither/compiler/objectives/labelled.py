"""Labelled samples: a network's outputs are to be their classes or their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.config import EngineConfig
from ...arch.isa import LossKind, LossMode, Memory
from ...arch.isa.assembler import Assembler
from ...nn import reference
from ...nn.models import Model, Parameters
from ...recipe import Recipe
from ..code.network import NetworkCode
from ..errors import CompileError
from ..formats.calibration import network_formats
from ..formats.forward import Formats, Headroom, input_format, peak
from ..formats.probes import CALIBRATION_TILES, Losses
from ..formats.proofs import choose_loss_frac
from ..layout.tensors import Layout, Tensor
from ..plan.planner import LayerPlan
from ..plan.samples import LabelledSamples, Samples, classes
from ..plan.setting import Setting
from .objective import Objective, ObjectiveCode, Start

__all__ = ["Labelled"]

CALIBRATION_SAMPLES = 1024
"""More would cost time and memory, and hardly widen a range that has bits of headroom."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled(Objective):
    """Typical labelled samples: they say what to learn, and number formats are chosen for them.

    The program itself holds no samples; training may use others.
    """

    inputs: ArrayLike
    """Inputs of the samples, shape (samples, inputs). All of them decide the input format; the
    first 1,024 are run."""
    targets: ArrayLike
    """Classes, shape (samples,), for cross entropy; values, shape (samples, outputs), for squared
    errors."""

    def check(self, model: Model, recipe: Recipe, engine: EngineConfig) -> None:
        samples, wanted = np.asarray(self.inputs), np.asarray(self.targets)
        if samples.ndim != 2 or not len(samples) or samples.shape[1] != model.inputs or len(wanted) != len(samples):
            raise CompileError(
                f"calibration needs inputs of shape (samples, {model.inputs}) and as many targets, "
                f"not shapes {samples.shape} and {wanted.shape}"
            )
        if model.loss == "cross_entropy":
            try:
                classes(wanted, model.outputs)
            except ValueError as error:
                raise CompileError(str(error)) from None

    def headroom(self, recipe: Recipe) -> Headroom:
        return Headroom(hidden=recipe.hidden_headroom)

    def calibrate(self, setting: Setting, parameters: Parameters, headroom: Headroom) -> _Calibrated:
        model, recipe = setting.model, setting.recipe
        source = input_format(model, peak(self.inputs), setting.engine.width)
        samples = np.asarray(self.inputs)[:CALIBRATION_SAMPLES].astype(np.float64)
        wanted = np.asarray(self.targets)[:CALIBRATION_SAMPLES]
        target_peak = peak(wanted) if model.loss == "squared_error" else 0.0
        layers, tensors, proofs = network_formats(
            setting, parameters, source, samples, target_peak, headroom, visible=True
        )
        loss_frac, sums = choose_loss_frac(model, recipe, layers[-1].target)
        formats = Formats(setting.engine.width, tensors, tuple(layers), loss_frac, (*proofs, *sums))
        count = min(len(samples), CALIBRATION_TILES * recipe.tile)
        losses = _losses(model, setting.plans, parameters, samples[:count], wanted[:count])
        return _Calibrated(model, formats, losses, count, (self.inputs, self.targets))


def _losses(
    model: Model, plans: Sequence[LayerPlan], parameters: Parameters, inputs: Array, targets: NDArray[np.generic]
) -> Losses:
    """Every sample's loss with other parameters, computed from the first layer on that they
    change.
    """
    starts = [inputs]

    def run(parameters: Parameters, plan: LayerPlan, state: Array) -> Array:
        return reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)[1]

    for plan in plans:
        starts.append(run(parameters, plan, starts[-1]))

    def losses(parameters: Parameters, first: int) -> Array:
        state = starts[first]
        for plan in plans[first:]:
            state = run(parameters, plan, state)
        return reference.sample_losses(model, state, targets)

    return losses


@dataclass(frozen=True, slots=True, eq=False)
class _Calibrated:
    """Labelled samples, once number formats are chosen."""

    model: Model
    formats: Formats
    losses: Losses
    count: int
    examples: tuple[ArrayLike, ArrayLike]
    evaluations: int = 1
    partial: bool = True
    macs: int = 0

    @property
    def samples(self) -> Samples:
        return LabelledSamples(self.model, self.formats.input, self.formats.output)

    @property
    def targets(self) -> int:
        return self.model.outputs if self.model.loss == "squared_error" else 0

    def constants(self) -> set[int]:
        return set()

    def regions(self) -> dict[str, int]:
        return {}

    def matrices(self) -> dict[str, tuple[Layout, NDArray[np.int64]]]:
        return {}

    def code(self, network: NetworkCode, tensors: Mapping[str, Tensor], constants: Mapping[int, int]) -> _Code:
        return _Code(self.model, self.formats, network)


@dataclass(frozen=True, slots=True)
class _Code(ObjectiveCode):
    """A network's outputs against labels or targets, as code."""

    model: Model
    formats: Formats
    network: NetworkCode

    @property
    def residual(self) -> None:
        return None

    def subroutines(self, asm: Assembler) -> None:
        self.network.subroutines(asm)
        if len(self.network.memory.loads) > 1:
            asm.label("load")
            self._loads(asm)
            asm.emit("RETURN")

    def load(self, asm: Assembler) -> None:
        if len(self.network.memory.loads) > 1:
            asm.call("load")
        else:
            self._loads(asm)

    def _loads(self, asm: Assembler) -> None:
        for region in self.network.memory.loads:
            asm.emit("LOAD", memory=Memory.ACTIVATION, base=region.base, count=region.words)

    def forward(self, asm: Assembler, start: Start = (0, 0)) -> None:
        self.network.forward(asm, start)

    def loss(
        self,
        asm: Assembler,
        target: int,
        mode: LossMode = LossMode.SUM,
        place: tuple[int, int] = (0, 0),
        loss_frac: int | None = None,
    ) -> None:
        memory, kind = self.network.memory, LossKind[self.model.loss.upper()]
        asm.emit(
            "LOSS",
            kind=kind,
            z_base=self.network.output.base,
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
        self.forward(asm)
        self.loss(asm, target)
        asm.emit("STORE", memory=Memory.ACTIVATION, base=self.network.output.base, count=self.model.outputs)

    def start(self, tensors: Sequence[Tensor]) -> Start:
        return self.network.start(tensors)
