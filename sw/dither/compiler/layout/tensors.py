"""How a tensor stands in the parameter memories and in the generator's index space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.generator import index_pitch
from ...arch.isa import MASTER_BITS, Distribution
from ..errors import CompileError, shortage
from ..plan.planner import LayerPlan

__all__ = ["INDICES_PER_BLOCK", "Layout", "Tensor", "layouts", "place_tensors"]

INDICES_PER_BLOCK = 64
_BLOCKS = 1 << 20 >> 4
"""Blocks of one bit a parameter, so that the most generous distribution finds its own too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A tensor as a matrix of K input positions x M columns, the same on every engine.

    The M outputs fall into ``groups`` of ``group_rows``; a group occupies ``group_pitch`` columns.
    """

    name: str
    shape: tuple[int, ...]
    """Shape that users see."""
    view: tuple[int, ...]
    """Shape that the elements are seen in before ``axes`` applies (differs from ``shape`` for
    biases).
    """
    axes: tuple[int, ...]
    """Permutation of ``view`` that puts input positions first and outputs last, both contiguous."""
    inner: int
    """Number of input positions, K."""
    groups: int
    group_rows: int
    group_pitch: int
    first_step: int
    """The layer's step that first uses the tensor."""
    layer: int

    @classmethod
    def plain(cls, name: str, shape: tuple[int, int], layer: int) -> Layout:
        """The layout of a matrix that is no parameter of the model, as it is."""
        inner, columns = shape
        return cls(
            name=name,
            shape=shape,
            view=shape,
            axes=(0, 1),
            inner=inner,
            groups=1,
            group_rows=columns,
            group_pitch=columns,
            first_step=0,
            layer=layer,
        )

    @property
    def columns(self) -> int:
        """M with padded groups."""
        return self.groups * self.group_pitch

    @property
    def index_pitch(self) -> int:
        """Mp: parameter indices from one input position to the next."""
        return index_pitch(self.columns)

    @property
    def blocks(self) -> int:
        """Generator blocks that the tensor's indices span."""
        return -(-self.inner * self.index_pitch // INDICES_PER_BLOCK)

    def matrix(self, values: ArrayLike) -> NDArray[np.int64]:
        """Elements of shape ``shape`` as an array (K, columns), padding zero."""
        ordered = np.transpose(np.asarray(values, dtype=np.int64).reshape(self.view), self.axes)
        grouped = ordered.reshape(self.inner, self.groups, self.group_rows)
        padding = self.group_pitch - self.group_rows
        return np.pad(grouped, ((0, 0), (0, 0), (0, padding))).reshape(self.inner, self.columns)

    def elements(self, matrix: ArrayLike) -> NDArray[np.int64]:
        """The inverse of :meth:`matrix`; padding is dropped."""
        grouped = np.asarray(matrix, dtype=np.int64).reshape(self.inner, self.groups, self.group_pitch)
        ordered = grouped[:, :, : self.group_rows].reshape([self.view[axis] for axis in self.axes])
        return np.transpose(ordered, np.argsort(self.axes)).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor's place on one engine and its number formats."""

    layout: Layout
    format: FixedPoint
    """The format of the working weights."""
    rows: int
    base: int
    """First word in the weight, master, gradient and moment memories."""
    block: int
    """The tensor's first generator block."""
    amplitude: int
    """Probe step in master units."""
    gradient_shift: int
    rate_shift: int

    @property
    def name(self) -> str:
        """The tensor's name, such as ``0.core1``."""
        return self.layout.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, as users see it."""
        return self.layout.shape

    @property
    def size(self) -> int:
        """Number of parameters, without padding."""
        return math.prod(self.layout.shape)

    @property
    def inner(self) -> int:
        """K of PERTURB and ACCUMULATE."""
        return self.layout.inner

    @property
    def tiles(self) -> int:
        """T of PERTURB and ACCUMULATE."""
        return -(-self.layout.columns // self.rows)

    @property
    def words(self) -> int:
        """Number of words in each of the parameter memories."""
        return self.inner * self.tiles

    def first_block(self, distribution: Distribution) -> int:
        """The generator block that a pass begins at: tensors' bits never overlap within one
        distribution.
        """
        return self.block * max(1, distribution.bits)

    @property
    def master(self) -> FixedPoint:
        """Format of the master parameters: the same range as the working weights', with guard
        bits.
        """
        return FixedPoint(MASTER_BITS, self.format.frac + MASTER_BITS - self.format.width)

    def pack(self, values: ArrayLike) -> NDArray[np.int64]:
        """Integers of the tensor's shape as memory words, shape (words, R); word t*K + k, padding
        zero.
        """
        matrix = self.layout.matrix(values)
        padded = np.pad(matrix, ((0, 0), (0, self.tiles * self.rows - self.layout.columns)))
        words = padded.reshape(self.inner, self.tiles, self.rows).transpose(1, 0, 2)
        return words.reshape(self.words, self.rows)

    def unpack(self, words: ArrayLike) -> NDArray[np.int64]:
        """The inverse of :meth:`pack`."""
        tiled = np.asarray(words, dtype=np.int64).reshape(self.tiles, self.inner, self.rows)
        matrix = tiled.transpose(1, 0, 2).reshape(self.inner, self.tiles * self.rows)
        return self.layout.elements(matrix[:, : self.layout.columns])

    def indices(self) -> NDArray[np.int64]:
        """Every parameter's generator index, in the tensor's shape; independent of the engine."""
        pitch, columns = self.layout.index_pitch, self.layout.columns
        grid = np.arange(self.inner)[:, None] * pitch + np.arange(columns)
        return self.layout.elements(INDICES_PER_BLOCK * self.block + grid)


def layouts(plans: Sequence[LayerPlan], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Layout]:
    """Layouts of all parameters by name, in the model's order."""
    found: dict[str, Layout] = {}
    for plan in plans:
        for number, step in enumerate(plan.steps):
            shape = shapes[step.tensor]
            found[step.tensor] = Layout(
                name=step.tensor,
                shape=shape,
                view=shape,
                axes=step.axes,
                inner=step.K,
                groups=step.groups,
                group_rows=step.group_rows,
                group_pitch=step.group_pitch,
                first_step=number,
                layer=plan.position,
            )
        if plan.bias:
            last = plan.steps[-1]
            P, S = (1, 1) if plan.shared else (last.P, last.S)
            found[plan.bias] = Layout(
                name=plan.bias,
                shape=shapes[plan.bias],
                view=(P, last.M, S),
                axes=(0, 2, 1),
                inner=P * S,
                groups=1,
                group_rows=last.M,
                group_pitch=last.M,
                first_step=len(plan.steps) - 1,
                layer=plan.position,
            )
    return {name: found[name] for name in shapes}


def place_tensors(found: Mapping[str, Layout], engine: EngineConfig) -> tuple[dict[str, tuple[int, int]], int]:
    """First word and first generator block of every tensor, one behind the other; the first block
    behind them.

    :raises CompileError: if they do not fit the parameter memories or the generator's index space.
    """
    places: dict[str, tuple[int, int]] = {}
    base = block = 0
    for name, layout in found.items():
        places[name] = (base, block)
        base += layout.inner * -(-layout.columns // engine.rows)
        block += layout.blocks
    if base > engine.parameter_depth:
        raise shortage(
            "parameter memory",
            base,
            engine.parameter_depth,
            "parameter_depth",
            "more rows, or smaller ranks or layers",
        )
    if block > _BLOCKS:
        raise CompileError(f"generator: {block} blocks of indices needed, {_BLOCKS} available; use smaller layers")
    return places, block
