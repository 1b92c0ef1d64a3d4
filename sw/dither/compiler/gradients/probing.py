"""Gradients from losses alone: code that perturbs tensors together and accumulates what the loss
says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...arch.isa import Distribution
from ...arch.isa.assembler import Assembler
from ...recipe import ProbeGroup, Recipe
from ..code.registers import BASE, DIFFERENCE, LOSS, OTHER, PROBE, SEED, STEP, TILE
from ..layout.tensors import INDICES_PER_BLOCK, Tensor
from ..objectives.supervised import Objective, Start

__all__ = ["GroupProbes", "accumulate", "perturb", "restore"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProbes:
    """All probes of one group of tensors on the lane group at work, against the base loss in
    register BASE.
    """

    objective: Objective
    recipe: Recipe
    group: ProbeGroup
    tensors: tuple[Tensor, ...]
    """The group's, in layer order."""

    @property
    def start(self) -> Start:
        """Where the forward passes start."""
        return self.objective.start(self.tensors)

    @property
    def passes(self) -> int:
        """Forward passes per lane group."""
        random = self.group.distribution is not Distribution.COORDINATE
        probes = self.group.probes if random else sum(tensor.size for tensor in self.tensors)
        return probes * self.recipe.evaluations

    def prepare(self, asm: Assembler) -> None:
        """Nothing to do before a step."""

    def emit(self, asm: Assembler) -> None:
        """See :class:`~dither.compiler.program.GradientCode`."""
        if self.group.distribution is Distribution.COORDINATE:
            for tensor in self.tensors:
                self._coordinates(asm, tensor)
        else:
            asm.emit("SET", target=PROBE, source=TILE, value=0)
            with asm.loop(self.group.probes):
                self._probe(asm, self.tensors)
                if self.group.probes > 1:
                    asm.emit("SET", target=PROBE, source=PROBE, value=1)
            # Tensors of a layer stand side by side, so one pass restores a whole group.
            first = self.tensors[0].base
            restore(asm, first, self.tensors[-1].base + self.tensors[-1].words - first)

    def _probe(self, asm: Assembler, tensors: Sequence[Tensor]) -> None:
        """One probe: losses, their difference, gradients."""
        two = self.recipe.evaluations == 2
        for sign, register in ((1, LOSS), (-1, OTHER))[: self.recipe.evaluations]:
            for tensor in tensors:
                perturb(asm, tensor, self.group.distribution, sign * tensor.amplitude)
            self.objective.forward(asm, self.start)
            self.objective.loss(asm, register)
        asm.emit("SUBTRACT", target=DIFFERENCE, left=LOSS, right=OTHER if two else BASE)
        for tensor in tensors:
            accumulate(asm, tensor, self.group.distribution)

    def _coordinates(self, asm: Assembler, tensor: Tensor) -> None:
        """A probe for every parameter of a tensor, with its index in register PROBE; padding is
        left out.
        """
        layout = tensor.layout
        asm.emit("SET", target=PROBE, source=0, value=INDICES_PER_BLOCK * tensor.block)
        with asm.loop(layout.inner):
            with asm.loop(layout.groups):
                with asm.loop(layout.group_rows):
                    self._probe(asm, [tensor])
                    asm.emit("SET", target=PROBE, source=PROBE, value=1)
                _skip(asm, layout.group_pitch - layout.group_rows)
            _skip(asm, layout.index_pitch - layout.columns)
        # The next tensor's coordinates are probed against this one as it is.
        restore(asm, tensor.base, tensor.words)


def _skip(asm: Assembler, indices: int) -> None:
    if indices:
        asm.emit("SET", target=PROBE, source=PROBE, value=indices)
