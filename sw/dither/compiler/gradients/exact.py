"""``exact``: the derivatives of the loss by the network's outputs, for the last layer."""

from __future__ import annotations

from ...arch.isa.assembler import Assembler
from ...nn.models import RNN
from ..code.lanewise import Words
from ..errors import CompileError
from ..formats.signals import Calibration, Typical
from .local import LocalEstimator
from .signals import OUTPUT_ERRORS, error_format

__all__ = ["Exact"]


class Exact(LocalEstimator):
    """The output errors themselves."""

    name = "exact"
    source = OUTPUT_ERRORS

    def calibrate(self, layer: Calibration) -> Typical:
        if self.plan is not self.setting.plans[-1]:
            raise CompileError("exact errors are known at the last layer only; use another estimator for the others")
        if isinstance(self.plan.layer, RNN):
            raise CompileError(
                "exact errors of a recurrent layer are known at its last time step only; use target, projection or "
                "feedback, or a Dense layer behind it"
            )
        return Typical(error_format(self.setting.model, self.formats), layer.errors)

    def own(self, chunks: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        unused = {"signal", "derivatives"} if self.activation == "none" else {"signal"}
        return {name: each for name, each in super().own(chunks).items() if name not in unused}

    @property
    def s(self) -> Words:
        return self.y.at(self.region(OUTPUT_ERRORS))

    def signal(self, asm: Assembler) -> None:
        """Nothing to do: LOSS wrote it where it belongs."""
