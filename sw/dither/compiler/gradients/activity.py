"""``activity``: a layer's outputs are perturbed, with signs of their own for each sample; the error
signal is the sum of a sample's loss differences times its signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import LossMode
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, copy
from ..code.registers import LOSS, PROBE, TILE
from ..formats.signals import CALIBRATION_PROBES, FINEST_LOSS, Calibration, Typical
from ..objectives.objective import ObjectiveCode, Start
from .estimator import Places
from .local import LocalEstimator
from .signals import LOSS_DIFFERENCE, Signal, dither

__all__ = ["Activity"]

HEADROOM = 2
"""Bits above the calibrated peak of a loss difference."""
CONFIDENCE = 5.0
"""A sum of K numbers with random signs stays below this many times sqrt(K) of them."""


class Activity(LocalEstimator):
    """Forward gradients by activity perturbation (arXiv 2210.03310)."""

    name = "activity"

    def calibrate(self, layer: Calibration) -> Typical:
        self.require_activities()
        largest, total = layer.differences()
        reach = CONFIDENCE * math.sqrt(self.probes) * largest
        frac = min(FINEST_LOSS, FixedPoint.reaching(math.ldexp(reach, HEADROOM), self.width).frac)
        values = total * math.sqrt(self.probes / CALIBRATION_PROBES)
        return Typical(FixedPoint(self.width, frac), values, frac)

    def settled(self, typical: Typical, loss_frac: int) -> FixedPoint:
        return FixedPoint(self.width, loss_frac)

    @property
    def perturbations(self) -> int:
        return self.probes

    @property
    def scale(self) -> float:
        return super().scale / (2.0**self.step_exponent * self.probes)

    def terms(self, name: str) -> int:
        return self.probes

    def constants(self) -> set[int]:
        return super().constants() | {self.step_size}

    def regions(self) -> dict[str, int]:
        return super().regions() | {"outputs": self.outputs().extent, LOSS_DIFFERENCE: 2}

    def unperturbed(self, places: Places, outputs: Words) -> Words:
        return outputs.at(places.region("outputs"))

    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        return _Perturbation(
            objective=places.objective,
            following=(self.position + 1, 0),
            probes=self.probes,
            outputs=outputs,
            base=places.region("outputs"),
            signal=signal.base,
            size=places.constants[self.step_size],
            difference=places.region(LOSS_DIFFERENCE),
            loss_frac=self.form.loss_frac,
            zero=places.constants[0],
            block=self.signs(places),
            gate=self.activation == "relu",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Perturbation:
    """Code of the signal."""

    objective: ObjectiveCode
    following: Start
    """Behind the layer."""
    probes: int
    outputs: Words
    """Perturbed where they stand; one loop."""
    base: int
    """First word of a copy of them."""
    signal: int
    size: int
    """The word of the step."""
    difference: int
    """The word of loss differences."""
    loss_frac: int
    zero: int
    block: int
    gate: bool
    """Outputs that are not positive are left alone (ReLU)."""

    def prepare(self, asm: Assembler) -> None:
        """Nothing to do before a step."""

    def emit(self, asm: Assembler) -> None:
        count = self.outputs.count
        copy(asm, self.outputs.base, self.base, count, self.zero)
        copy(asm, self.zero, self.signal, count, self.zero, step=0)
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.probes):
            dither(asm, self.base, self.outputs.base, count, self.size, self.block, gate=self.gate)
            self.objective.forward(asm, self.following)
            self.objective.loss(asm, LOSS, LossMode.DIFFER, (self.difference, 0), loss_frac=self.loss_frac)
            dither(asm, self.signal, self.signal, count, self.difference, self.block)
            asm.emit("SET", target=PROBE, source=PROBE, value=1)

    def after(self, asm: Assembler) -> None:
        """Nothing to do then."""
