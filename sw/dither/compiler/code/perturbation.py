"""Perturbed parameters: working weights with a probe and without, and what a probe's loss says."""

from __future__ import annotations

from ...arch.isa import Distribution
from ...arch.isa.assembler import Assembler
from ..layout.tensors import Tensor
from .registers import DIFFERENCE, PROBE, SEED, STEP

__all__ = ["accumulate", "perturb", "restore"]


def perturb(asm: Assembler, tensor: Tensor, distribution: Distribution, amplitude: int) -> None:
    """Emits PERTURB for one tensor and the probe at hand."""
    asm.emit("PERTURB", **_traversal(tensor, distribution), amplitude=amplitude)


def accumulate(asm: Assembler, tensor: Tensor, distribution: Distribution) -> None:
    """Emits ACCUMULATE for one tensor, the probe at hand and the register DIFFERENCE."""
    asm.emit("ACCUMULATE", **_traversal(tensor, distribution), difference=DIFFERENCE)


def restore(asm: Assembler, base: int, words: int) -> None:
    """Emits what writes the working weights of some words without perturbation."""
    asm.emit(
        "PERTURB",
        base=base,
        inner=words,
        tiles=1,
        block=0,
        seed=SEED,
        step=STEP,
        probe=PROBE,
        distribution=Distribution.NONE,
        amplitude=0,
    )


def _traversal(tensor: Tensor, distribution: Distribution) -> dict[str, int]:
    return {
        "base": tensor.base,
        "inner": tensor.inner,
        "tiles": tensor.tiles,
        "block": tensor.first_block(distribution),
        "seed": SEED,
        "step": STEP,
        "probe": PROBE,
        "distribution": distribution,
    }
