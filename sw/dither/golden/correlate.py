"""CORRELATE, fast: sums of products over lanes as matrix products on views of activations.

The nest is that of the contraction whose gradient it is, with the roles of weights and outputs
exchanged. Its loops fall in groups: those that move the left operand alone give the rows M of a
matrix product, those that move the right operand alone its columns K. Loops that move both are
further lanes where they lead from one word to its neighbour and leave the gradient where it is; the
others make a stack of matrix products. Each of them is exact in float64; what they add up to is
int64, which is exact modulo 2**48.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.isa import Instruction
from .drain import exact_in_float
from .nest import Loop, Piece, analyse_correlate, resolve
from .probes import wrap_gradients
from .rules import validate_correlate
from .workspace import Floats, Window, Workspace

__all__ = ["NO_INDEX", "CorrelatePlan", "correlate"]

NO_INDEX = (0, 0, 0)
"""Values of the index registers ``dxg`` of an instruction that uses none."""
_BLOCK = 1 << 16
"""Number of elements of one block's largest array: half a megabyte."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a piece's work, small enough to stay in cache."""

    left: Window
    """Left operands, axes (stack ..., M ..., lanes)."""
    right: Window
    """Right operands, axes (stack ..., K ..., lanes)."""
    target: tuple[slice, ...]
    """Part of the piece's sums that the block adds to."""


class _Product:
    """A piece of the nest as matrix products of one left and one right operand."""

    def __init__(self, space: Workspace, piece: Piece) -> None:
        self._space = space
        self._piece = piece = _upright(piece)
        loops = [loop for loop in (*piece.reduction, *piece.outer) if loop.count > 1]
        both = [loop for loop in loops if loop.x and loop.y]
        self._neighbours, lanes = _neighbours(space.config, both)
        # From here on, outermost loops first, as axes of arrays.
        self._stack = [loop for loop in both if not any(loop is other for other in lanes)][::-1]
        self._m = sorted((loop for loop in loops if loop.y and not loop.x), key=lambda loop: -loop.y)
        self._k = sorted((loop for loop in loops if not loop.y), key=lambda loop: -loop.x)
        self._gather_left = not _is_matrix([(loop.count, loop.y) for loop in self._m], self._neighbours)
        self._gather_right = not _is_matrix([(loop.count, loop.x) for loop in self._k], self._neighbours)
        axes = (*self._stack, *self._m, *self._k)
        # Loops that do not move the gradient address: their products are added up first.
        self._summed = tuple(number for number, loop in enumerate(axes) if not loop.w.any())
        kept = [loop.w for number, loop in enumerate(axes) if number not in self._summed]
        self._sums = tuple(map(len, kept))
        slots = _outer_sum(kept)
        self._first = piece.w + int(slots.min())
        self._slots = (slots - slots.min()).reshape(-1)
        self._unique = len(np.unique(self._slots)) == len(self._slots)
        self._blocks = [self._block(cut) for cut in self._cuts()]

    def _cuts(self) -> Iterator[tuple[slice, ...]]:
        """Yields the parts into which the axes (stack ..., M ...) are cut for blocks."""
        m, k = (math.prod(loop.count for loop in loops) for loops in (self._m, self._k))
        columns = self._neighbours * self._space.config.lanes
        right = k * columns if self._gather_right else 0
        left = columns if self._gather_left else 0
        cuts, size = [], math.prod(loop.count for loop in self._stack) * max(m * max(k, left), right)
        for number, loop in enumerate((*self._stack, *self._m)):
            if number == len(self._stack):
                size = m * max(k, left)
            chunk = max(1, min(loop.count, loop.count * _BLOCK // size))
            chunk = -(-loop.count // -(-loop.count // chunk))
            size = size // loop.count * chunk
            cuts.append([slice(start, min(start + chunk, loop.count)) for start in range(0, loop.count, chunk)])
        return itertools.product(*cuts)

    def _block(self, cut: tuple[slice, ...]) -> _Block:
        columns = self._neighbours * self._space.config.lanes
        parts = list(zip((*self._stack, *self._m), cut, strict=True))
        stack = parts[: len(self._stack)]
        left = self._piece.y + sum(part.start * loop.y for loop, part in parts)
        right = self._piece.x + sum(part.start * loop.x for loop, part in stack)
        left_axes = [(part.stop - part.start, loop.y) for loop, part in parts]
        right_axes = [(part.stop - part.start, loop.x) for loop, part in stack]
        right_axes += [(loop.count, loop.x) for loop in self._k]
        whole = (*cut, *[slice(None)] * len(self._k))
        return _Block(
            left=Window.of(self._space.config, left, left_axes, columns),
            right=Window.of(self._space.config, right, right_axes, columns),
            target=tuple(part for number, part in enumerate(whole) if number not in self._summed),
        )

    def run(self, flat: NDArray[np.int64], d: int, x: int, g: int) -> None:
        """Executes the piece.

        :param flat: the gradient memory, all rows one behind the other.
        :param d: base address of the left operand.
        :param x: base address of the right operand.
        :param g: base address of the gradients.
        """
        total, *others = self._space.spread(self._blocks, lambda blocks: self._run_blocks(blocks, d, x))
        for share in others:
            total += share
        gradients = flat[g * self._space.config.rows + self._first :]
        if self._unique:
            gradients[self._slots] = wrap_gradients(gradients[self._slots] + total.reshape(-1))
        else:
            np.add.at(gradients, self._slots, total.reshape(-1))
            gradients[self._slots] = wrap_gradients(gradients[self._slots])

    def _run_blocks(self, blocks: Sequence[_Block], d: int, x: int) -> NDArray[np.int64]:
        memory, sums = self._space.activation, np.zeros(self._sums, np.int64)
        for block in blocks:
            left = self._matrices(block.left.at(memory, d), "left", self._gather_left)
            right = self._matrices(block.right.at(memory, x), "right", self._gather_right)
            shape = (*left.shape[:-1], right.shape[-2])
            products = self._space.scratch("sums", math.prod(shape), np.float64).reshape(shape)
            np.matmul(left, right.swapaxes(-1, -2), out=products)
            whole = products.astype(np.int64)
            whole = whole.reshape((*block.left.shape[:-1], *block.right.shape[len(self._stack) : -1]))
            sums[block.target] += whole.sum(axis=self._summed)
        return sums

    def _matrices(self, words: Floats, name: str, gather: bool) -> Floats:
        """Returns an operand as a stack of matrices of shape (M or K, lanes)."""
        shape = words.shape[: len(self._stack)]
        if gather:
            gathered = self._space.scratch(name, words.size, np.float64)
            np.copyto(gathered.reshape(words.shape), words)
            words = gathered
        return words.reshape(*shape, -1, self._neighbours * self._space.config.lanes)


class CorrelatePlan:
    """One CORRELATE, checked and planned for one workspace, whatever its index registers.

    :param indices: values of the index registers ``dxg`` that it is checked with.
    :raises DeviceError: if the instruction breaks a rule of the instruction set or leaves a memory.
    """

    def __init__(self, space: Workspace, instruction: Instruction, indices: Sequence[int] = NO_INDEX) -> None:
        validate_correlate(space.config, instruction)
        self._instruction = instruction
        self._indices = tuple(indices)
        self._bases = resolve(instruction, "dxg", indices)
        self._nest = analyse_correlate(space.config, instruction, self._bases)
        self._products = [_Product(space, piece) for piece in self._nest.pieces]

    def run(self, gradient: NDArray[np.int64], indices: Sequence[int] = NO_INDEX) -> None:
        """Executes the instruction once, on the workspace's activations and the given gradients.

        :param gradient: the gradient memory, contiguous, shape (parameter_depth, R): 48 bits,
            signed. It is changed in place.
        :param indices: values of the index registers ``dxg``.
        :raises DeviceError: if they lead out of a memory.
        """
        if self._indices != tuple(indices):
            bases = resolve(self._instruction, "dxg", indices)
            self._nest.check(bases)
            self._indices, self._bases = tuple(indices), bases
        flat = gradient.reshape(-1)
        for product in self._products:
            product.run(flat, **self._bases)


def correlate(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    gradient: ArrayLike,
    indices: Sequence[int] = NO_INDEX,
) -> NDArray[np.int64]:
    """Executes one CORRELATE on given memories.

    :param activation: the activation memory, integers of shape (activation_depth, L).
    :param gradient: the gradient memory, integers of shape (parameter_depth, R).
    :param indices: values of the index registers ``dxg``.
    :returns: the gradient memory afterwards, int64.
    :raises DeviceError: as :class:`CorrelatePlan`.
    """
    space = Workspace(config)
    space.activation[...] = activation
    result = np.array(gradient, dtype=np.int64)
    CorrelatePlan(space, instruction, indices).run(result, indices)
    return result


def _upright(piece: Piece) -> Piece:
    """Returns the same piece with no loop that runs backwards; sums do not depend on the order.

    A loop runs backwards if it goes to lower words of the right operand or, where that does not
    move, of the left one.
    """

    def backward(loop: Loop) -> bool:
        return loop.x < 0 or (loop.x == 0 and loop.y < 0)

    def turned(loop: Loop) -> Loop:
        if not backward(loop):
            return loop
        return Loop(loop.count, -loop.x, -loop.y, loop.w[::-1] - loop.w[-1], loop.b)

    back = [loop for loop in (*piece.outer, *piece.reduction) if backward(loop)]
    return replace(
        piece,
        w=piece.w + sum(int(loop.w[-1]) for loop in back),
        x=piece.x + sum((loop.count - 1) * loop.x for loop in back),
        y=piece.y + sum((loop.count - 1) * loop.y for loop in back),
        outer=tuple(map(turned, piece.outer)),
        reduction=tuple(map(turned, piece.reduction)),
    )


def _neighbours(config: EngineConfig, loops: Sequence[Loop]) -> tuple[int, list[Loop]]:
    """Finds loops that lead from word to neighbouring word in both operands.

    :returns: how many words all of them together lead through, and the loops.
    """
    words, found = 1, []
    for loop in sorted(loops, key=lambda loop: loop.x):
        if loop.w.any() or not exact_in_float(config.width, words * loop.count * config.lanes):
            continue
        if loop.x == loop.y == words:
            words *= loop.count
            found.append(loop)
    return words, found


def _is_matrix(axes: Sequence[tuple[int, int]], neighbours: int) -> bool:
    """Returns whether axes of words merge into one axis whose lines do not overlap.

    :param axes: count and stride in words of each axis, outermost first.
    :param neighbours: length of a line in words.
    """
    if not axes:
        return True
    (_, pitch), *others = axes[::-1]
    extent = pitch
    for (count, _), (_, stride) in zip(axes[::-1], others, strict=False):
        extent *= count
        if stride != extent:
            return False
    return pitch >= neighbours


def _outer_sum(offsets: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Returns ``offsets[0][i] + offsets[1][j] + ...`` as an array with one axis for each."""
    total: NDArray[np.intp] = np.zeros((), np.intp)
    for offset in offsets:
        total = np.add.outer(total, offset)
    return total
