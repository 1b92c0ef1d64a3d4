"""Where the rows and states of recurrent layers stand: a row of equal blocks.

Of one layer a block is ``[h_t, x_t+1]``, which a time step contracts into the beginning of the next
block. Of several, the last layer's states come first, each one step behind those of the layer that
it reads: ``[g_t-1, h_t, x_t+1]`` for two. So what any of them contracts, its own state and what it
reads, stands in one piece, and nothing is copied from layer to layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...nn.models import RNN, Layer

__all__ = ["Blocks"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a network's recurrent layers, at least one."""

    layers: tuple[RNN, ...]
    base: int = 0
    """The first word of the first layer's first state, which is the first of all."""

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Blocks | None:
        """Those of the recurrent layers that a network begins with; None if it begins with
        another.
        """
        found = itertools.takewhile(lambda layer: isinstance(layer, RNN), layers)
        recurrent = tuple(layer for layer in found if isinstance(layer, RNN))
        return cls(recurrent) if recurrent else None

    @property
    def pitch(self) -> int:
        """Words of a block: a row, and a state of each layer."""
        return self.layers[0].inputs + sum(layer.outputs for layer in self.layers)

    def state(self, position: int, time: int) -> int:
        """The first word of a layer's state behind so many rows."""
        nearer = sum(layer.outputs for layer in self.layers[1 : position + 1])
        return self.base + (position + time) * self.pitch - nearer

    def row(self, time: int) -> int:
        """The first word of a row, the first one being number 0."""
        return self.base + self.layers[0].outputs + time * self.pitch

    @property
    def cleared(self) -> int:
        """Words from the beginning on that must be zero at first, so that all first states are.

        Rows and later states among them are written before they are read.
        """
        return self._behind(0) - self.base

    @property
    def end(self) -> int:
        """The first word behind all states."""
        return self._behind(self.layers[0].steps)

    def _behind(self, time: int) -> int:
        """The first word behind the last layer's state behind so many rows."""
        last = len(self.layers) - 1
        return self.state(last, time) + self.layers[last].outputs
