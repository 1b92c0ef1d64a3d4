"""``exact``: the derivatives of the loss by the network's outputs, for the last layer."""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.isa.assembler import Assembler
from ..code.lanewise import Words
from ..errors import CompileError
from ..formats.signals import Calibration, Typical
from .estimator import Places
from .local import LocalEstimator
from .signals import OUTPUT_ERRORS, Signal, error_format

__all__ = ["Exact"]


class Exact(LocalEstimator):
    """The output errors themselves."""

    name = "exact"
    source = OUTPUT_ERRORS

    def calibrate(self, layer: Calibration) -> Typical:
        if self.plan is not self.setting.plans[-1]:
            raise CompileError("exact errors are known at the last layer only; use another estimator for the others")
        return Typical(error_format(self.setting.model, self.formats), layer.errors)

    def regions(self) -> dict[str, int]:
        unused = {"signal", "derivatives"} if self.activation == "none" else {"signal"}
        return {name: words for name, words in super().regions().items() if name not in unused}

    def stands(self, places: Places) -> tuple[int, int]:
        errors = places.region(OUTPUT_ERRORS)
        return errors, errors if self.activation == "none" else places.region("derivatives")

    def signal(self, places: Places, outputs: Words, signal: Words) -> Signal:
        return _Nothing()


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Code of a signal that is there already: LOSS wrote it where it belongs."""

    def prepare(self, asm: Assembler) -> None:
        """Nothing to do before a step."""

    def emit(self, asm: Assembler) -> None:
        """Nothing to do."""

    def after(self, asm: Assembler) -> None:
        """Nothing to do then."""
