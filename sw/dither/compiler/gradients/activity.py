"""``activity``: a layer's outputs are perturbed, with signs of their own for each sample; the error
signal is the sum of a sample's loss differences times its signs.
"""

from __future__ import annotations

import math

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import LossMode
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, copy
from ..code.registers import LOSS, PROBE, TILE
from ..formats.signals import CALIBRATION_PROBES, FINEST_LOSS, Calibration, Typical
from .local import BACKWARD, SIGNAL, LocalEstimator
from .signals import LOSS_DIFFERENCE, dither

__all__ = ["Activity"]

HEADROOM = 2
"""Bits above the calibrated peak of a loss difference."""
CONFIDENCE = 5.0
"""A sum of K numbers with random signs stays below this many times sqrt(K) of them."""


class Activity(LocalEstimator):
    """Forward gradients by activity perturbation (arXiv 2210.03310)."""

    name = "activity"
    runs_behind = True

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
        return super().regions() | {LOSS_DIFFERENCE: 2}

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        return super().own(chunks) | {"outputs": (self.outputs().extent, (SIGNAL, BACKWARD))}

    @property
    def unperturbed(self) -> Words:
        return self.y.at(self.region("outputs"))

    def reserve(self) -> None:
        self.block = self.signs()

    def signal(self, asm: Assembler) -> None:
        y, base, s, zero = self.y, self.region("outputs"), self.s.base, self.constant(0)
        difference, objective = self.region(LOSS_DIFFERENCE), self.places.objective
        copy(asm, y.base, base, y.count, zero)
        copy(asm, zero, s, y.count, zero, step=0)
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.probes):
            # Outputs of a ReLU that are not positive are left alone.
            gate = self.activation == "relu"
            dither(asm, base, y.base, y.count, self.constant(self.step_size), self.block, gate=gate)
            objective.forward(asm, self.behind)
            objective.loss(asm, LOSS, LossMode.DIFFER, (difference, 0), loss_frac=self.form.loss_frac)
            dither(asm, s, s, y.count, difference, self.block)
            asm.emit("SET", target=PROBE, source=PROBE, value=1)
