"""``coordinate``: one parameter is moved after the other; there is no noise of direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...arch.isa import Distribution
from ...arch.isa.assembler import Assembler
from ..code.perturbation import restore
from ..code.registers import PROBE
from ..formats.probes import FloatProbes
from ..layout.tensors import INDICES_PER_BLOCK, Tensor
from .estimator import Pass
from .probing import GroupProbes, ParameterProbes, ProbeGroup

__all__ = ["Coordinate"]


class Coordinate(ParameterProbes):
    """A probe for every parameter."""

    name = "coordinate"

    def groups(self) -> list[ProbeGroup]:
        return [ProbeGroup((name,), 1, Distribution.COORDINATE) for name in self.names]

    def spread(self, floats: FloatProbes, group: ProbeGroup) -> float:
        # One coordinate has its share of what all of them together make.
        size = sum(np.size(floats.parameters[name]) for name in group.tensors)
        return floats.rms(group.tensors, probes=1, whole=True) / math.sqrt(size)

    def slower(self, group: ProbeGroup) -> int:
        return 0

    def code(self, group: ProbeGroup) -> type[GroupProbes]:
        return _Coordinates


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coordinates(GroupProbes):
    """Code that moves the coordinates of tensors, one after the other."""

    @property
    def passes(self) -> tuple[Pass, ...]:
        size = sum(tensor.size for tensor in self.tensors)
        return ((*self.start, size * self.recipe.evaluations),)

    @property
    def differences(self) -> int | None:
        return None

    def emit(self, asm: Assembler) -> None:
        for tensor in self.tensors:
            self._coordinates(asm, tensor)

    def _coordinates(self, asm: Assembler, tensor: Tensor) -> None:
        """A probe for every parameter of a tensor, with its index in register PROBE; padding is
        left out.
        """
        layout = tensor.layout
        asm.emit("SET", target=PROBE, source=0, value=INDICES_PER_BLOCK * tensor.block)
        with asm.loop(layout.inner):
            with asm.loop(layout.groups):
                with asm.loop(layout.group_rows):
                    self.probe(asm, [tensor])
                    asm.emit("SET", target=PROBE, source=PROBE, value=1)
                _skip(asm, layout.group_pitch - layout.group_rows)
            _skip(asm, layout.index_pitch - layout.columns)
        # The next tensor's coordinates are probed against this one as it is.
        restore(asm, tensor.base, tensor.words)


def _skip(asm: Assembler, indices: int) -> None:
    if indices:
        asm.emit("SET", target=PROBE, source=PROBE, value=indices)
