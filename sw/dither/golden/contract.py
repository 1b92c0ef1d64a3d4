"""CONTRACT, fast: every instruction becomes a few matrix products on views of the activation memory.

Activations and weights are held as float64. Products and sums of integers below 2**53 are exact in float64 in any
order, so BLAS gives the engine's bits; so is the right shift by a power of two, folded into the weights. The rest of
the drain (rounding, saturation, activation) works on blocks that stay in the second-level cache.

A nest is planned once (:class:`ContractPlan`). Its loops fall in three groups: those that move the weights alone give
the rows M of a matrix product, those that move the inputs alone its positions, those that move both are taken one by
one. Where the reduction loops merge into one stride, BLAS reads the activation memory in place; else (convolutions) the
inputs of a block are gathered first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..device import DeviceError
from ..engine import EngineConfig
from ..isa import Activation, Instruction
from ..tables import Table
from .nest import Loop, Piece, analyse, validate
from .workspace import Floats, Workspace

__all__ = ["ContractPlan", "ContractResult", "contract", "exact_in_float"]

_BLOCK = 1 << 16
"""Outputs of one block: half a megabyte of float64."""
_LANES = 64
"""Blocks do not cut a word into fewer lanes than this."""
_EXACT_BITS = 53


def exact_in_float(width: int, count: int) -> bool:
    """Whether ``count`` products of two numbers of ``width`` bits, and half a unit, always add exactly in float64."""
    return (count + 1) << (2 * width - 2) < 1 << _EXACT_BITS


@dataclass(frozen=True, slots=True)
class ContractResult:
    """What one execution counted."""

    clips: int
    lowest: int
    """Least output after the shift, before it was clipped."""
    highest: int
    """Greatest output after the shift, before it was clipped."""

    @classmethod
    def joint(cls, results: Sequence[ContractResult]) -> ContractResult:
        """The result of several parts together."""
        return cls(
            sum(result.clips for result in results),
            min(result.lowest for result in results),
            max(result.highest for result in results),
        )


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a plan's outputs, as views."""

    inputs: Floats
    """Shape (positions ..., K, columns), or with all axes apart, (K ..., columns ..., lanes), to be gathered."""
    products: tuple[int, ...]
    """Shape of the matrix products, (positions ..., M, columns)."""
    sums: tuple[int, ...]
    """The same with all columns apart, (positions ..., M, columns ..., lanes)."""
    outputs: Floats
    """The same with all rows apart too, (positions ..., rows ..., columns ..., lanes)."""
    bias: tuple[slice, ...]
    """What of the bias belongs to the sums."""


class _Matrix:
    """A piece without loops that move both weights and inputs: one matrix times many."""

    def __init__(self, space: Workspace, piece: Piece, instruction: Instruction) -> None:
        piece = _upright(piece)
        self._space = space
        self._origin = (piece.x, piece.y)
        reduction = _merged(piece.reduction)
        positions = _merged([loop for loop in piece.outer if loop.x])
        self._gather = len(reduction) > 1 or any(loop.x == 0 for loop in reduction)
        if self._gather:
            columns = positions
        else:
            # BLAS takes neighbouring positions as more columns, where a term's columns end before the next term's. Of
            # overlapping windows, whose loops both go on by one word, only one can be neighbours.
            pitch = reduction[0].x if reduction else space.config.activation_depth
            columns = [loop for loop in positions if loop.x == 1 and loop.count <= pitch][:1]
        # From here on, outermost loops first, as axes of arrays.
        self._columns = columns[::-1]
        self._positions = [loop for loop in positions if not any(loop is column for column in columns)][::-1]
        self._rows = [loop for loop in piece.outer if not loop.x][::-1]
        self._reduction = reduction[::-1]
        self._terms = math.prod(loop.count for loop in reduction)
        self._shift = instruction["shift"]
        self._exact = exact_in_float(space.config.width, self._terms + instruction["bias"])
        slots = _outer_sum(piece.w, [loop.w for loop in (*self._rows, *self._reduction)])
        self._weight_slots = slots.reshape(-1, self._terms)
        self._bias_slots = self._still_bias(piece.b) if instruction["bias"] else None
        self._one = space.activation[instruction["one"]] if instruction["bias"] else None
        self._blocks = [self._block(cut) for cut in self._cuts()]
        self._weights: NDArray[Any] = np.empty(0)
        self._version = -1

    def _still_bias(self, base: int) -> NDArray[np.intp]:
        """Bias slots, shape (positions ..., M, columns ..., 1), with length 1 where the bias stands still."""
        positions, columns = (
            [loop.b if loop.b.any() else loop.b[:1] for loop in loops] for loops in (self._positions, self._columns)
        )
        slots = _outer_sum(base, [*positions, *(loop.b for loop in self._rows), *columns])
        return slots.reshape(*map(len, positions), -1, *map(len, columns), 1)

    def _cuts(self) -> Iterator[tuple[slice, ...]]:
        """How the axes (positions ..., columns ..., lanes) are cut into blocks."""
        sizes = [*(loop.count for loop in (*self._positions, *self._columns)), self._space.config.lanes]
        size = math.prod(sizes) * max(len(self._weight_slots), self._terms if self._gather else 1)
        cuts = []
        for axis, count in enumerate(sizes):
            least = min(count, _LANES) if axis == len(sizes) - 1 else 1
            chunk = min(count, max(least, count * _BLOCK // size))
            chunk = -(-count // -(-count // chunk))
            size = size // count * chunk
            cuts.append([slice(start, min(start + chunk, count)) for start in range(0, count, chunk)])
        return itertools.product(*cuts)

    def _block(self, cut: tuple[slice, ...]) -> _Block:
        loops = [*self._positions, *self._columns]
        sizes = [part.stop - part.start for part in cut]
        x, y = self._origin
        x += sum(part.start * loop.x for part, loop in zip(cut, loops, strict=False))
        y += sum(part.start * loop.y for part, loop in zip(cut, loops, strict=False))
        split, lanes, m = len(self._positions), cut[-1], len(self._weight_slots)
        outside, inside = sizes[:split], sizes[split:]
        x_axes, y_axes = ([*zip(sizes, (getattr(loop, way) for loop in loops), strict=False)] for way in "xy")
        terms_axes = [(loop.count, loop.x) for loop in self._reduction]
        if self._gather:
            inputs = self._view(x, [*terms_axes, *x_axes], lanes, sizes[-1])
        else:
            axes = [*x_axes[:split], *(terms_axes or [(1, self._space.config.activation_depth)])]
            inputs = self._view(x, axes, lanes, math.prod(inside))
        rows_axes = [(loop.count, loop.y) for loop in self._rows]
        bias: tuple[slice, ...] = ()
        if self._bias_slots is not None:
            parts = (*cut[:split], slice(None), *cut[split:-1])
            bias = tuple(
                part if size > 1 else slice(None) for part, size in zip(parts, self._bias_slots.shape, strict=False)
            )
        return _Block(
            inputs=inputs,
            products=(*outside, m, math.prod(inside)),
            sums=(*outside, m, *inside),
            outputs=self._view(y, [*y_axes[:split], *rows_axes, *y_axes[split:]], lanes, sizes[-1]),
            bias=(*bias, lanes),
        )

    def _view(self, word: int, axes: Sequence[tuple[int, int]], lanes: slice, columns: int) -> Floats:
        """Words of the activation memory from ``word`` on, axes as (count, stride in words), and so many columns."""
        memory = self._space.activation
        pitch, size = memory.strides
        shape = (*(count for count, _ in axes), columns)
        steps = (*(stride * pitch for _, stride in axes), size)
        return np.ndarray(shape, np.float64, memory, word * pitch + lanes.start * size, steps)

    def run(self, activation: Activation, table: int) -> ContractResult:
        """Execute the piece."""
        if self._version != self._space.version:
            self._version = self._space.version
            weights = self._space.weight.ravel().take(self._weight_slots)
            self._weights = np.ldexp(weights, -self._shift) if self._exact else weights.astype(np.int64)
        bias = self._bias()
        return ContractResult.joint(
            self._space.spread(self._blocks, lambda blocks: self._run_blocks(blocks, bias, activation, table))
        )

    def _run_blocks(
        self, blocks: Sequence[_Block], bias: NDArray[Any] | None, activation: Activation, table: int
    ) -> ContractResult:
        clips, lowest, highest = 0, math.inf, -math.inf
        for block in blocks:
            sums = self._space.scratch("sums", math.prod(block.products), np.float64)
            inputs = self._gathered(block) if self._gather else block.inputs
            self._accumulate(inputs, bias, block, sums)
            least, greatest = float(sums.min()), float(sums.max())
            self._check(least, greatest)
            clips += self._finish(sums, least, greatest, block.outputs, activation, table)
            lowest, highest = min(lowest, least), max(highest, greatest)
        return ContractResult(clips, math.floor(lowest), math.floor(highest))

    def _bias(self) -> NDArray[Any] | None:
        """Products of bias and constant, and half a unit of the result, in units of the result (or of the sums)."""
        if self._bias_slots is None or self._one is None:
            return None
        one = self._one[:1] if (self._one == self._one[0]).all() else self._one
        products: NDArray[Any] = self._space.weight.ravel().take(self._bias_slots) * one
        if not self._exact:
            return products.astype(np.int64)
        products = np.ldexp(products, -self._shift)
        return products + 0.5

    def _gathered(self, block: _Block) -> Floats:
        gathered = self._space.scratch("inputs", block.inputs.size, np.float64)
        np.copyto(gathered.reshape(block.inputs.shape), block.inputs)
        return gathered.reshape(self._terms, -1)

    def _accumulate(self, inputs: Floats, bias: NDArray[Any] | None, block: _Block, sums: Floats) -> None:
        """Sums of products and bias, shifted, plus half a unit: what rounding down finishes."""
        products = sums.reshape(block.products)
        share: NDArray[Any] | float = 0.5
        if bias is not None:
            share = bias[block.bias] if bias.shape[-1] > 1 else bias[block.bias[:-1]]
        if not self._exact:
            total = np.matmul(self._weights, inputs.astype(np.int64)).reshape(block.sums)
            total += share if bias is not None else 0
            total += 1 << self._shift >> 1
            products[...] = (total >> self._shift).reshape(block.products)
            return
        if self._terms == 1:
            np.multiply(self._weights, inputs, out=products)
        else:
            np.matmul(self._weights, inputs, out=products)
        shaped = sums.reshape(block.sums)
        shaped += share

    def _check(self, least: float, greatest: float) -> None:
        limit = math.ldexp(1.0, self._space.config.accumulator_width - 1 - self._shift)
        if least < -limit or greatest >= limit + 0.5:  # rounding is in the sums
            raise DeviceError(f"CONTRACT: a sum overflows its {self._space.config.accumulator_width} bits")

    def _finish(
        self, sums: Floats, least: float, greatest: float, outputs: Floats, activation: Activation, table: int
    ) -> int:
        """Round, saturate, activate and write a block; returns how many values were clipped."""
        half, clips = 1 << (self._space.config.width - 1), 0
        if least < -half or greatest >= half:
            np.floor(sums, out=sums)
            clips = int(np.count_nonzero((sums < -half) | (sums >= half)))
            np.clip(sums, -half, half - 1, out=sums)
        if activation is Activation.TABLE:
            index = self._space.scratch("index", sums.size, np.intp)
            picked = self._space.scratch("picked", sums.size, np.float32)
            np.floor(sums, out=sums)
            np.copyto(index, sums, casting="unsafe")
            np.take(self._space.table(table), index, out=picked, mode="wrap")
            if (clipped := self._space.table_clips(table)) is not None:
                clips += int(np.count_nonzero(clipped.take(index, mode="wrap")))
            outputs[...] = picked.reshape(outputs.shape)
            return clips
        if activation is Activation.RELU and least < 0:
            np.clip(sums, 0, half - 1, out=sums)  # NumPy's maximum takes twice as long
        np.floor(sums.reshape(outputs.shape), out=outputs)
        return clips


class ContractPlan:
    """One CONTRACT, checked and planned for one workspace.

    :raises DeviceError: if the instruction breaks a rule of the instruction set or leaves a memory.
    """

    def __init__(self, space: Workspace, instruction: Instruction) -> None:
        validate(space.config, instruction)
        self._activation = Activation(instruction["activation"])
        self._table = instruction["table"]
        pieces = [part for piece in analyse(space.config, instruction) for part in _separate(piece)]
        self._parts = [_Matrix(space, piece, instruction) for piece in pieces]

    def run(self) -> ContractResult:
        """Execute it once.

        :raises DeviceError: if a sum does not fit an accumulator.
        """
        return ContractResult.joint([part.run(self._activation, self._table) for part in self._parts])


def contract(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    weight: ArrayLike,
    tables: Sequence[Table] = (),
) -> tuple[NDArray[np.int64], int]:
    """Execute one CONTRACT on given memories.

    :param activation: the activation memory, integers of shape (activation_depth, L).
    :param weight: the weight memory, integers of shape (parameter_depth, R).
    :param tables: values and slopes of each activation table.
    :returns: the activation memory afterwards, int64, and the number of clips.
    :raises DeviceError: as :class:`ContractPlan`.
    """
    space = Workspace(config)
    space.activation[...] = activation
    space.weight[...] = weight
    for number, table in enumerate(tables):
        space.set_table(number, table)
    clips = ContractPlan(space, instruction).run().clips
    return space.activation.astype(np.int64), clips


def _separate(piece: Piece) -> Iterator[Piece]:
    """The piece without loops that move both weights and inputs."""
    both = next((loop for loop in piece.outer if loop.x and loop.w.any()), None)
    if both is None:
        yield piece
        return
    for index in range(both.count):
        yield from _separate(piece.fixed(both, index))


def _upright(piece: Piece) -> Piece:
    """The same piece with no loop that runs backwards through the inputs: outputs and sums don't depend on order."""

    def turned(loop: Loop) -> Loop:
        return Loop(loop.count, -loop.x, -loop.y, loop.w[::-1], loop.b[::-1]) if loop.x < 0 else loop

    back = [loop for loop in (*piece.outer, *piece.reduction) if loop.x < 0]
    return replace(
        piece,
        x=piece.x + sum((loop.count - 1) * loop.x for loop in back),
        y=piece.y + sum((loop.count - 1) * loop.y for loop in back),
        outer=tuple(map(turned, piece.outer)),
        reduction=tuple(map(turned, piece.reduction)),
    )


def _merged(loops: Sequence[Loop]) -> list[Loop]:
    """The loops of more than one iteration by increasing input stride, joined where they can be."""
    result: list[Loop] = []
    for loop in sorted((loop for loop in loops if loop.count > 1), key=lambda loop: loop.x):
        joint = loop.around(result[-1]) if result else None
        if joint is None:
            result.append(loop)
        else:
            result[-1] = joint
    return result


def _outer_sum(base: int, offsets: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """``base + offsets[0][i] + offsets[1][j] + ...`` as an array with one axis for each."""
    total: NDArray[np.intp] = np.asarray(base, dtype=np.intp)
    for offset in offsets:
        total = np.add.outer(total, offset)
    return total
