"""``regression``: output errors through a matrix that learns to predict the loss differences of
perturbed activities (Lansdell, Prakash, Kording, *Learning to solve the credit assignment problem*,
ICLR 2020).
"""

from __future__ import annotations

import math
from dataclasses import replace

from ...arch.fixedpoint import FixedPoint
from ...arch.isa import LossMode, Operand
from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words, copy, multiply
from ..code.nests import Access, Drain, contract_nest
from ..code.registers import LOSS, PROBE, TILE
from ..errors import CompileError
from ..formats.signals import FINEST_LOSS, Calibration, Typical
from .learned import FIRST, HEADROOM, INNER, PERTURB, LearnedMatrix
from .local import BACKWARD, SIGNAL
from .signals import LOSS_DIFFERENCE, OUTPUT_ERRORS, error_format

__all__ = ["Regression"]


class Regression(LearnedMatrix):
    """A matrix that learns from loss differences alone."""

    name = "regression"

    def calibrate(self, layer: Calibration) -> Typical:
        typical = super().calibrate(layer)
        largest, _ = layer.differences()
        frac = FixedPoint.reaching(math.ldexp(largest, HEADROOM), self.width).frac
        return replace(typical, loss_frac=min(FINEST_LOSS, frac))

    @property
    def perturbations(self) -> int:
        return self.probes

    @property
    def signal_macs(self) -> int:
        steps, count = self.matrix.steps, self.outputs().count
        whole, behind = sum(step.macs for step in steps), sum(step.macs for step in steps[1:])
        return whole + self.probes * (whole + count + (behind + whole if self.matrix.train else 0))

    def terms(self, name: str) -> int:
        return self.probes if name in self.matrix.shapes else 1

    @property
    def _product(self) -> int:
        """Fraction bits of the signal times the step, less those of loss differences."""
        return self.form.signal.frac - self.step_exponent - self.form.loss_frac

    @property
    def unit(self) -> int:
        # What aligns loss differences must fit an activation.
        return 1 << max(0, min(self.width - 2, self.width - 2 - self._product))

    @property
    def _alignment(self) -> int:
        """log2 of what loss differences are multiplied by, to meet products of signal and signs."""
        shift = self.unit.bit_length() - 1 + self._product
        if not 0 <= shift <= self.width - 2:
            mu = self.recipe.activity_mu
            raise CompileError(f"layer {self.position}: activity_mu = {mu:g} is too small or too large")
        return shift

    def constants(self) -> set[int]:
        return super().constants() | {self.unit, -(1 << self._alignment)}

    def regions(self) -> dict[str, int]:
        return super().regions() | {LOSS_DIFFERENCE: 2}

    def splits(self, chunks: int) -> bool:
        # All of the signal is needed at once, to predict losses.
        return False

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        found, always = super().own(chunks), (SIGNAL, BACKWARD, PERTURB, FIRST, INNER)
        signal = "derivatives" if self.activation == "none" else "signal"
        words, probing = self.outputs().extent, (PERTURB, FIRST, INNER)
        return found | {
            signal: (found[signal][0], always),
            "outputs": (words, probing),
            "weighted errors": (self.classes, probing),
            "predicted": (self.classes, (FIRST, INNER)),
        }

    def end(self, asm: Assembler) -> None:
        """The gradient of ``(eps^T B^T e - dl)**2 / 2``, a number for each sample.

        The signal at the layer's outputs, ``B^T e``, predicts the loss difference of any
        perturbation; what it misses, times the output errors, is what B has to change by in the
        direction of the signs.
        """
        engine, y, objective = self.setting.engine, self.y, self.places.objective
        base, difference, left = self.region("outputs"), self.region(LOSS_DIFFERENCE), self.region("weighted errors")
        residual, errors = difference + 1, Words(self.region(OUTPUT_ERRORS), ((self.classes, 1),))
        error_frac = error_format(self.setting.model, self.formats).frac
        results = self.region("predicted")
        copy(asm, y.base, base, y.count, self.constant(0))
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(self.probes):
            self.perturb(asm, base)
            self.write_signs(asm, self.unit)
            objective.loss(asm, LOSS, LossMode.DIFFER, (difference, 0), loss_frac=self.form.loss_frac)
            asm.add(
                contract_nest(
                    engine,
                    "predicted loss",
                    inner=(y.count,),
                    outer=(1,),
                    w=Access(self.s.base, (1,)),
                    x=Access(self.region("signs"), (1,)),
                    y=Access(residual),
                    drain=Drain(self._alignment),
                    operand=Operand.LANE,
                    bias=Access(difference),
                    one=self.constant(-(1 << self._alignment)),
                )
            )
            asm.add(multiply(engine, "residual", residual, errors, left, error_frac))
            if self.matrix.train:
                self.write_signs(asm, self.full)
                self.matrix_code.apply(asm, self.buffers(results), self.signs_format, self.formats.output)
            self.learn(asm, results, left)
            asm.emit("SET", target=PROBE, source=PROBE, value=1)
