"""CONTRACT with lane-wise operands: sums of products of activation words, lane by lane.

All operands are views of the activation memory, with one axis for each loop and one for the lanes.
Where a loop does not move an operand, its axis has length 1, and NumPy broadcasts it. As in
:mod:`.contract`, sums of integers are exact in float64, and the right shift is folded into the
operand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.isa import Instruction, Operand
from .drain import ContractResult, Drain, exact_in_float
from .nest import Loop, Piece
from .workspace import Floats, Window, Workspace

__all__ = ["LaneWise"]

_BLOCK = 1 << 15
"""Number of products of one block: a quarter of a megabyte of float64."""
_LANES = 64
"""Least number of lanes of a block."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """A loop of the nest, or several that all operands see as one."""

    count: int
    strides: dict[str, int]
    """Strides in words of the operands ``w``, ``x``, ``y`` and ``b``."""

    @classmethod
    def of(cls, loop: Loop) -> _Axis:
        w, b = (int(steps[1] - steps[0]) for steps in (loop.w, loop.b))
        return cls(loop.count, {"w": w, "x": loop.x, "y": loop.y, "b": b})

    def around(self, inner: _Axis) -> _Axis | None:
        """Returns this axis and the one inside as one; None where an operand does not allow it."""
        if any(stride != inner.count * inner.strides[name] for name, stride in self.strides.items()):
            return None
        return _Axis(self.count * inner.count, inner.strides)


def _axes(loops: Sequence[Loop]) -> list[_Axis]:
    """Returns the axes of some loops, outermost first."""
    result: list[_Axis] = []
    for loop in sorted((loop for loop in loops if loop.count > 1), key=lambda loop: (abs(loop.y), abs(loop.x))):
        axis = _Axis.of(loop)
        joint = axis.around(result[-1]) if result else None
        if joint is None:
            result.append(axis)
        else:
            result[-1] = joint
    return result[::-1]


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a piece's outputs, small enough to stay in cache."""

    windows: dict[str, Window]
    """Views of the operands, by their letters.

    Axes are (outer ..., terms ..., lanes) for ``w`` and ``x``, (outer ..., lanes) for ``y`` and
    ``b``.
    """
    products: tuple[int, ...]
    """Shape of all products of the block."""
    lanes: slice


class LaneWise:
    """A piece of a CONTRACT with lane-wise operands, planned for one workspace."""

    def __init__(self, space: Workspace, piece: Piece, instruction: Instruction, drain: Drain) -> None:
        self._space = space
        self._drain = drain
        self._operand = Operand(instruction["operand"])
        self._piece = piece
        self._outer, self._inner = _axes(piece.outer), _axes(piece.reduction)
        self._terms = math.prod(axis.count for axis in self._inner)
        self._exact = exact_in_float(space.config.width, self._terms + instruction["bias"])
        self._one = space.activation[instruction["one"]] if instruction["bias"] else None
        self._blocks = [self._block(cut) for cut in self._cuts()]

    def _cuts(self) -> list[tuple[slice, ...]]:
        """Returns the parts into which the axes (outer ..., lanes) are cut for blocks."""
        sizes = [*(axis.count for axis in self._outer), self._space.config.lanes]
        size, cuts = math.prod(sizes) * self._terms, []
        for axis, count in enumerate(sizes):
            least = min(count, _LANES) if axis == len(sizes) - 1 else 1
            chunk = min(count, max(least, count * _BLOCK // size))
            chunk = -(-count // -(-count // chunk))
            size = size // count * chunk
            cuts.append([slice(start, min(start + chunk, count)) for start in range(0, count, chunk)])
        return list(itertools.product(*cuts))

    def _block(self, cut: tuple[slice, ...]) -> _Block:
        lanes = cut[-1]
        columns = lanes.stop - lanes.start
        counts = [part.stop - part.start for part in cut[:-1]]
        windows = {}
        for name, first in (("w", self._piece.w), ("x", self._piece.x), ("y", self._piece.y), ("b", self._piece.b)):
            outer = [axis.strides[name] for axis in self._outer]
            first += sum(part.start * stride for part, stride in zip(cut, outer, strict=False))
            axes = list(zip(counts, outer, strict=True))
            if name in "wx":
                axes += [(axis.count, axis.strides[name]) for axis in self._inner]
            if name in "wb":
                axes = [(count if stride else 1, stride) for count, stride in axes]
            windows[name] = Window.of(self._space.config, first, axes, columns, first_lane=lanes.start)
        return _Block(windows, windows["x"].shape, lanes)

    def run(self, bases: Mapping[str, int]) -> ContractResult:
        """Executes the piece on the workspace's activations.

        :param bases: base addresses of the operands, by their letters ``wxyb``.
        """
        return ContractResult.joint(self._space.spread(self._blocks, lambda blocks: self._run_blocks(blocks, bases)))

    def _run_blocks(self, blocks: Sequence[_Block], bases: Mapping[str, int]) -> ContractResult:
        memory, results = self._space.activation, []
        for block in blocks:
            factor, inputs = (block.windows[name].at(memory, bases[name]) for name in "wx")
            outputs = block.windows["y"].at(memory, bases["y"])
            bias = None
            if self._one is not None:
                bias = block.windows["b"].at(memory, bases["b"]), self._one[block.lanes]
            accumulate = self._accumulate if self._exact else self._accumulate_integers
            results.append(self._drain.finish(accumulate(factor, inputs, bias, outputs.shape), outputs))
        return ContractResult.joint(results)

    def _accumulate(
        self, words: Floats, inputs: Floats, bias: tuple[Floats, Floats] | None, shape: tuple[int, ...]
    ) -> Floats:
        """Sums products and bias, shifted, plus half a unit, so that a floor rounds them."""
        scale = math.ldexp(1.0, -self._drain.shift)
        factor = self._space.scratch("factor", words.size, np.float64).reshape(words.shape)
        match self._operand:
            case Operand.POSITIVE:
                np.multiply(words > 0, scale, out=factor)
            case Operand.SIGN:
                np.multiply(np.sign(words), scale, out=factor)
            case _:
                np.multiply(words, scale, out=factor)
        sums = self._space.scratch("sums", math.prod(shape), np.float64).reshape(shape)
        if self._terms == 1:
            np.multiply(factor, inputs, out=sums)
        else:
            self._sum_products(np.broadcast_to(factor, inputs.shape), inputs, sums)
        if bias is not None:
            products = self._space.scratch("factor", bias[0].size, np.float64).reshape(bias[0].shape)
            sums += np.multiply(bias[0], bias[1] * scale, out=products)
        sums += 0.5
        return sums

    def _sum_products(self, left: NDArray[Any], right: NDArray[Any], sums: NDArray[Any]) -> None:
        outer, inner = len(self._outer), len(self._inner)
        lanes = outer + inner
        axes = list(range(lanes + 1))
        np.einsum(left, axes, right, axes, [*range(outer), lanes], out=sums)

    def _accumulate_integers(
        self, words: Floats, inputs: Floats, bias: tuple[Floats, Floats] | None, shape: tuple[int, ...]
    ) -> Floats:
        """Sums products and bias in integers and rounds them: for sums that float64 cannot hold."""
        whole = words.astype(np.int64)
        factor = {Operand.POSITIVE: whole > 0, Operand.SIGN: np.sign(whole)}.get(self._operand, whole)
        total = np.zeros(shape, np.int64)
        self._sum_products(np.broadcast_to(factor, inputs.shape), inputs.astype(np.int64), total)
        if bias is not None:
            total += (bias[0] * bias[1]).astype(np.int64)
        total += 1 << self._drain.shift >> 1
        return (total >> self._drain.shift).astype(np.float64)
