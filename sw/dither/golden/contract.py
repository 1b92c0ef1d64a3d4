"""CONTRACT, fast: an instruction becomes a few matrix products on views of the activation memory.

Activations and weights are held as float64. Products and sums of integers below 2**53 are exact in
float64 in any order, so BLAS gives the engine's bits; so is the right shift by a power of two,
folded into the weights. The rest of the drain (rounding, saturation, activation) works on blocks
that stay in the second-level cache.

A nest is planned once (:class:`ContractPlan`), whatever its index registers: a plan counts words
from the operands' bases, which it gets when it runs. Lane-wise operands have a plan of their own
(:mod:`.lanewise`). With weights, loops fall in three groups: those that move the weights alone give
the rows M of a matrix product, those that move the inputs alone its positions, those that move both
are taken one by one. Where the reduction loops merge into one stride, BLAS reads the activation
memory in place; otherwise (convolutions) the inputs of a block are gathered first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.isa import Instruction, Operand
from ..arch.tables import Table
from .drain import ContractResult, Drain, exact_in_float
from .lanewise import LaneWise
from .nest import Loop, Piece, analyse_contract, resolve
from .rules import validate_contract
from .workspace import Floats, Window, Workspace

__all__ = ["NO_INDEX", "ContractPlan", "contract"]

NO_INDEX = (0, 0, 0, 0)
"""Values of the index registers ``wxyb`` of an instruction that uses none."""

_BLOCK = 1 << 16
"""Number of outputs of one block: half a megabyte of float64."""
_LANES = 64
"""Least number of lanes of a block."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a plan's outputs, small enough to stay in cache."""

    inputs: Window
    """Inputs of the block, shape (positions ..., K, columns).

    Where they have to be gathered, (K ..., columns ..., lanes), with all axes apart.
    """
    products: tuple[int, ...]
    """Shape of the matrix products, (positions ..., M, columns)."""
    sums: tuple[int, ...]
    """Shape of the sums with all columns apart, (positions ..., M, columns ..., lanes)."""
    outputs: Window
    """Outputs with all rows apart too, (positions ..., rows ..., columns ..., lanes)."""
    bias: tuple[slice, ...]
    """Part of the bias that is added to the block's sums."""


class _Matrix:
    """A piece without loops that move both weights and inputs: one matrix times many."""

    def __init__(self, space: Workspace, piece: Piece, instruction: Instruction, drain: Drain) -> None:
        piece = _upright(piece)
        self._space = space
        self._drain = drain
        self._origin = (piece.x, piece.y)
        reduction = _merged(piece.reduction)
        positions = _merged([loop for loop in piece.outer if loop.x])
        self._gather = len(reduction) > 1 or any(loop.x == 0 for loop in reduction)
        if self._gather:
            columns = positions
        else:
            # Neighbouring positions become further columns of one matrix product, if the columns of
            # one term end before those of the next begin. With overlapping windows, two loops move
            # on by one word; only one of them can be taken this way.
            pitch = reduction[0].x if reduction else space.config.activation_depth
            columns = [loop for loop in positions if loop.x == 1 and loop.count <= pitch][:1]
        # From here on, outermost loops first, as axes of arrays.
        self._columns = columns[::-1]
        self._positions = [loop for loop in positions if not any(loop is column for column in columns)][::-1]
        self._rows = [loop for loop in piece.outer if not loop.x][::-1]
        self._reduction = reduction[::-1]
        self._terms = math.prod(loop.count for loop in reduction)
        self._exact = exact_in_float(space.config.width, self._terms + instruction["bias"])
        slots = _outer_sum(piece.w, [loop.w for loop in (*self._rows, *self._reduction)])
        self._weight_slots = slots.reshape(-1, self._terms)
        self._bias_slots = self._still_bias(piece.b) if instruction["bias"] else None
        self._one = space.activation[instruction["one"]] if instruction["bias"] else None
        self._blocks = [self._block(cut) for cut in self._cuts()]
        self._weights: NDArray[Any] = np.empty(0)
        self._held: tuple[int, int] | None = None
        """Version and base of the weights that ``_weights`` is a copy of."""

    def _still_bias(self, base: int) -> NDArray[np.intp]:
        """Returns bias slots, shape (positions ..., M, columns ..., 1).

        Axes along which the bias does not move have length 1.
        """
        positions, columns = (
            [loop.b if loop.b.any() else loop.b[:1] for loop in loops] for loops in (self._positions, self._columns)
        )
        slots = _outer_sum(base, [*positions, *(loop.b for loop in self._rows), *columns])
        return slots.reshape(*map(len, positions), -1, *map(len, columns), 1)

    def _cuts(self) -> Iterator[tuple[slice, ...]]:
        """Yields the parts of the axes (positions ..., columns ..., lanes) that make blocks."""
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
        window = partial(Window.of, self._space.config, first_lane=cut[-1].start)
        split, lanes, m = len(self._positions), cut[-1], len(self._weight_slots)
        outside, inside = sizes[:split], sizes[split:]
        x_axes, y_axes = ([*zip(sizes, (getattr(loop, way) for loop in loops), strict=False)] for way in "xy")
        terms_axes = [(loop.count, loop.x) for loop in self._reduction]
        if self._gather:
            inputs = window(x, [*terms_axes, *x_axes], sizes[-1])
        else:
            axes = [*x_axes[:split], *(terms_axes or [(1, self._space.config.activation_depth)])]
            inputs = window(x, axes, math.prod(inside))
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
            outputs=window(y, [*y_axes[:split], *rows_axes, *y_axes[split:]], sizes[-1]),
            bias=(*bias, lanes),
        )

    def run(self, bases: Mapping[str, int]) -> ContractResult:
        """Executes the piece.

        :param bases: base addresses of the operands, by their letters ``wxyb``.
        """
        if self._held != (self._space.version, bases["w"]):
            self._held = self._space.version, bases["w"]
            weights = self._parameters(self._weight_slots, bases["w"])
            self._weights = np.ldexp(weights, -self._drain.shift) if self._exact else weights.astype(np.int64)
        bias = self._bias(bases["b"])
        return ContractResult.joint(
            self._space.spread(self._blocks, lambda blocks: self._run_blocks(blocks, bases["x"], bases["y"], bias))
        )

    def _parameters(self, slots: NDArray[np.intp], base: int) -> Floats:
        """Returns the weight memory's contents at slots that are counted from a base."""
        return self._space.weight.ravel().take(slots + base * self._space.config.rows)

    def _run_blocks(self, blocks: Sequence[_Block], x: int, y: int, bias: NDArray[Any] | None) -> ContractResult:
        memory, results = self._space.activation, []
        for block in blocks:
            sums = self._space.scratch("sums", math.prod(block.products), np.float64)
            inputs = block.inputs.at(memory, x)
            self._accumulate(self._gathered(inputs) if self._gather else inputs, bias, block, sums)
            results.append(self._drain.finish(sums, block.outputs.at(memory, y)))
        return ContractResult.joint(results)

    def _bias(self, base: int) -> NDArray[Any] | None:
        """Returns the products of bias and constant, in units of the result, plus half a unit.

        Where sums do not fit float64: in units of the sums, and without the half.
        """
        if self._bias_slots is None or self._one is None:
            return None
        one = self._one[:1] if (self._one == self._one[0]).all() else self._one
        products: NDArray[Any] = self._parameters(self._bias_slots, base) * one
        if not self._exact:
            return products.astype(np.int64)
        products = np.ldexp(products, -self._drain.shift)
        return products + 0.5

    def _gathered(self, inputs: Floats) -> Floats:
        gathered = self._space.scratch("inputs", inputs.size, np.float64)
        np.copyto(gathered.reshape(inputs.shape), inputs)
        return gathered.reshape(self._terms, -1)

    def _accumulate(self, inputs: Floats, bias: NDArray[Any] | None, block: _Block, sums: Floats) -> None:
        """Sums products and bias, shifted, plus half a unit, so that a floor rounds them."""
        products = sums.reshape(block.products)
        share: NDArray[Any] | float = 0.5
        if bias is not None:
            share = bias[block.bias] if bias.shape[-1] > 1 else bias[block.bias[:-1]]
        if not self._exact:
            total = np.matmul(self._weights, inputs.astype(np.int64)).reshape(block.sums)
            total += share if bias is not None else 0
            total += 1 << self._drain.shift >> 1
            products[...] = (total >> self._drain.shift).reshape(block.products)
            return
        if self._terms == 1:
            np.multiply(self._weights, inputs, out=products)
        else:
            np.matmul(self._weights, inputs, out=products)
        shaped = sums.reshape(block.sums)
        shaped += share


class ContractPlan:
    """One CONTRACT, checked and planned for one workspace.

    :param indices: values of the index registers ``wxyb`` that it is checked with.
    :raises DeviceError: if the instruction breaks a rule of the instruction set or leaves a memory.
    """

    def __init__(self, space: Workspace, instruction: Instruction, indices: Sequence[int] = NO_INDEX) -> None:
        validate_contract(space.config, instruction)
        self._instruction = instruction
        self._indices = tuple(indices)
        self._bases = resolve(instruction, "wxyb", indices)
        self._nest = analyse_contract(space.config, instruction, self._bases)
        drain = Drain(space, instruction)
        self._parts: list[_Matrix] | list[LaneWise]
        if Operand(instruction["operand"]) is Operand.WEIGHT:
            pieces = [part for piece in self._nest.pieces for part in _separate(piece)]
            self._parts = [_Matrix(space, piece, instruction, drain) for piece in pieces]
        else:
            self._parts = [LaneWise(space, piece, instruction, drain) for piece in self._nest.pieces]

    def run(self, indices: Sequence[int] = NO_INDEX) -> ContractResult:
        """Executes the instruction once on the workspace's memories.

        :param indices: values of the index registers ``wxyb``.
        :raises DeviceError: if they lead out of a memory, or a sum does not fit an accumulator.
        """
        if self._indices != tuple(indices):
            bases = resolve(self._instruction, "wxyb", indices)
            self._nest.check(bases)
            self._indices, self._bases = tuple(indices), bases
        return ContractResult.joint([part.run(self._bases) for part in self._parts])


def contract(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    weight: ArrayLike,
    tables: Sequence[Table] = (),
    indices: Sequence[int] = NO_INDEX,
) -> tuple[NDArray[np.int64], int]:
    """Executes one CONTRACT on given memories.

    :param activation: the activation memory, integers of shape (activation_depth, L).
    :param weight: the weight memory, integers of shape (weight_depth, R).
    :param tables: values and slopes of each activation table.
    :param indices: values of the index registers ``wxyb``.
    :returns: the activation memory afterwards, int64, and the number of clips.
    :raises DeviceError: as :class:`ContractPlan`.
    """
    space = Workspace(config)
    space.activation[...] = activation
    space.weight[...] = weight
    for number, table in enumerate(tables):
        space.set_table(number, table)
    clips = ContractPlan(space, instruction, indices).run(indices).clips
    return space.activation.astype(np.int64), clips


def _separate(piece: Piece) -> Iterator[Piece]:
    """Cuts a piece into pieces without loops that move both weights and inputs."""
    both = next((loop for loop in piece.outer if loop.x and loop.w.any()), None)
    if both is None:
        yield piece
        return
    for index in range(both.count):
        yield from _separate(piece.fixed(both, index))


def _upright(piece: Piece) -> Piece:
    """Returns the same piece with no loop that runs backwards through the inputs.

    Outputs and sums do not depend on the order.
    """

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
    """Returns the loops of more than one iteration, joined where possible.

    They are ordered by increasing input stride.
    """
    result: list[Loop] = []
    for loop in sorted((loop for loop in loops if loop.count > 1), key=lambda loop: loop.x):
        joint = loop.around(result[-1]) if result else None
        if joint is None:
            result.append(loop)
        else:
            result[-1] = joint
    return result


def _outer_sum(base: int, offsets: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Returns ``base + offsets[0][i] + offsets[1][j] + ...`` as an array with one axis for each."""
    total: NDArray[np.intp] = np.asarray(base, dtype=np.intp)
    for offset in offsets:
        total = np.add.outer(total, offset)
    return total
