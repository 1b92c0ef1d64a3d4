"""CONTRACT's loop nest as affine maps: strides from steps, address ranges, conflicts.

A *step* is what an address register adds when its loop advances and every loop inside has just wrapped; it includes
the way back. A *stride* is how far apart two iterations of one loop lie: addresses are
``base + sum(i_loop * stride_loop)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..device import DeviceError
from ..engine import EngineConfig
from ..isa import OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction
from ..timing import drain_cycles_per_row

__all__ = ["MAX_SHIFT", "Loop", "Piece", "analyse", "strides", "terms", "validate"]

MAX_SHIFT = 47
_MODULUS = 1 << 16


def _signed(value: int) -> int:
    return (value + _MODULUS // 2) % _MODULUS - _MODULUS // 2


def strides(counts: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Strides of nested loops, innermost first, each from -2**15 to 2**15 - 1; zero for loops of one iteration.

    Memories have at most 2**15 words, so if all addresses are within one, the signed strides tell their differences
    without wrapping.
    """
    result = []
    way = 0  # how far the loops inside have moved when all of them are at their last iteration
    for count, step in zip(counts, steps, strict=True):
        stride = _signed(step + way) if count > 1 else 0
        way += (count - 1) * stride
        result.append(stride)
    return result


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop of a piece. Weight and bias offsets count rows of words (address * R + row); they need not be affine."""

    count: int
    x: int
    """Stride of the input, in words."""
    y: int
    """Stride of the output, in words; 0 for reduction loops."""
    w: NDArray[np.intp]
    b: NDArray[np.intp]

    @classmethod
    def affine(cls, count: int, *, w: int = 0, x: int = 0, y: int = 0, b: int = 0) -> Loop:
        """A loop whose weight and bias offsets have strides too."""
        steps = np.arange(count, dtype=np.intp)
        return cls(count, x, y, steps * w, steps * b)

    def around(self, inner: Loop) -> Loop | None:
        """This loop and the one inside as one loop, or None where inputs or outputs are not equally spaced."""
        if self.x != inner.count * inner.x or self.y != inner.count * inner.y:
            return None
        w, b = (np.add.outer(mine, other).ravel() for mine, other in ((self.w, inner.w), (self.b, inner.b)))
        return Loop(self.count * inner.count, inner.x, inner.y, w, b)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a CONTRACT that one set of strides describes."""

    w: int
    x: int
    y: int
    b: int
    """Offsets of the first weight, input word, output word and bias."""
    outer: tuple[Loop, ...]
    """Loops over outputs, rows included, innermost first."""
    reduction: tuple[Loop, ...]

    def fixed(self, loop: Loop, index: int) -> Piece:
        """The piece at one iteration of one of its outer loops."""
        return replace(
            self,
            w=self.w + int(loop.w[index]), x=self.x + index * loop.x, y=self.y + index * loop.y,
            b=self.b + int(loop.b[index]), outer=tuple(other for other in self.outer if other is not loop),
        )  # fmt: skip


def validate(config: EngineConfig, instruction: Instruction) -> None:
    """Check what the instruction set demands of a CONTRACT, but for its addresses.

    :raises DeviceError: with one line that says which demand is not met.
    """

    def require(good: bool, message: str) -> None:
        if not good:
            raise DeviceError(f"CONTRACT: {message}")

    for name in (*REDUCTION_LOOPS, *OUTER_LOOPS):
        require(instruction[f"n_{name}"] >= 1, f"n_{name} must be at least 1")
    require(instruction["shift"] <= MAX_SHIFT, f"shift must be from 0 to {MAX_SHIFT}, not {instruction['shift']}")
    require(1 <= instruction["last_rows"] <= config.rows,
            f"last_rows must be from 1 to {config.rows}, not {instruction['last_rows']}")  # fmt: skip
    require(instruction["activation"] in list(Activation), f"unknown activation {instruction['activation']}")
    activation = Activation(instruction["activation"])
    if activation is Activation.TABLE:
        require(instruction["table"] < config.activation_tables,
                f"table {instruction['table']} is not one of {config.activation_tables}")  # fmt: skip
    tile = terms(instruction) + instruction["bias"] + instruction["idle"]
    drain = config.rows * drain_cycles_per_row(config, activation)
    require(tile >= drain, f"a tile of {tile} cycles is shorter than its drain of {drain}")


def terms(instruction: Instruction) -> int:
    """Products in one sum, without the bias."""
    n0, n1, n2 = (instruction[f"n_{name}"] for name in REDUCTION_LOOPS)
    return n0 * n1 * n2


def analyse(config: EngineConfig, instruction: Instruction) -> list[Piece]:
    """The pieces of a valid CONTRACT, to be executed in order; no piece writes a word twice.

    :raises DeviceError: if an address is beyond its memory or an output is an input too.
    """
    piece, tail = _whole(config, instruction)
    parts = _parts(piece, tail)
    inputs = np.zeros(config.activation_depth, bool)
    outputs = np.zeros(config.activation_depth, bool)
    for part in parts:
        inputs |= _reached(
            "input", config.activation_depth, part.x, [(o.count, o.x) for o in (*part.outer, *part.reduction)]
        )
        outputs |= _reached("output", config.activation_depth, part.y, [(o.count, o.y) for o in part.outer])
        _check_slots("weight", config, part.w, [o.w for o in (*part.outer, *part.reduction)])
        if instruction["bias"]:
            _check_slots("bias", config, part.b, [o.b for o in part.outer])
    if instruction["bias"]:
        inputs |= _reached("constant", config.activation_depth, instruction["one"], [])
    if (inputs & outputs).any():
        raise DeviceError(f"CONTRACT: word {int(np.argmax(inputs & outputs))} is both input and output")
    written = sum(int(np.prod([loop.count for loop in part.outer])) for part in parts)
    if written == np.count_nonzero(outputs):
        return parts
    return list(_in_order(piece, tail))


def _whole(config: EngineConfig, instruction: Instruction) -> tuple[Piece, int]:
    """The nest with its row loop first, as if all tiles had R rows, and how many rows the last tile really has."""
    names = (*REDUCTION_LOOPS, *OUTER_LOOPS)
    counts = [instruction[f"n_{name}"] for name in names]
    w = strides(counts, [instruction[f"w_{name}"] for name in names])
    x = strides(counts, [instruction[f"x_{name}"] for name in names])
    outer_counts = counts[len(REDUCTION_LOOPS) :]
    y = strides(outer_counts, [instruction[f"y_{name}"] for name in OUTER_LOOPS])
    b = strides(outer_counts, [instruction[f"b_{name}"] for name in OUTER_LOOPS])
    rows, split = config.rows, len(REDUCTION_LOOPS)
    reduction = [Loop.affine(counts[i], w=w[i] * rows, x=x[i]) for i in range(split)]
    outer = [
        Loop.affine(outer_counts[i], w=w[split + i] * rows, x=x[split + i], y=y[i], b=b[i] * rows)
        for i in range(len(OUTER_LOOPS))
    ]
    row = Loop.affine(rows, w=1, y=instruction["y_row"], b=1)
    piece = Piece(
        w=instruction["w_base"] * rows, x=instruction["x_base"], y=instruction["y_base"],
        b=instruction["b_base"] * rows, outer=(row, *outer), reduction=tuple(reduction),
    )  # fmt: skip
    return piece, instruction["last_rows"]


def _parts(piece: Piece, tail: int) -> list[Piece]:
    """The piece without the rows that do not count: one part if rows and tiles merge into one loop, else up to two."""
    row, tile, *others = piece.outer
    merged = tile.around(row) if tile.count > 1 else row
    if merged is not None:
        return [replace(piece, outer=(_cut(merged, merged.count - row.count + tail), *others))]
    full = replace(piece, outer=(row, _cut(tile, tile.count - 1), *others))
    if tail == row.count:
        return [piece]
    last = replace(piece.fixed(tile, tile.count - 1), outer=(_cut(row, tail), *others))
    return [full, last]


def _cut(loop: Loop, count: int) -> Loop:
    return replace(loop, count=count, w=loop.w[:count], b=loop.b[:count])


def _in_order(piece: Piece, tail: int) -> Iterator[Piece]:
    """Single outputs in the order of the nest, for nests that write a word more than once: the last write counts."""
    row, tile, *others = piece.outer
    if others:
        for index in range(others[-1].count):
            yield from _in_order(piece.fixed(others[-1], index), tail)
        return
    for number in range(tile.count):
        part = piece.fixed(tile, number)
        for index in range(tail if number == tile.count - 1 else row.count):
            yield part.fixed(row, index)


def _reached(what: str, depth: int, base: int, loops: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which words of a memory an affine map reaches."""
    lowest = base + sum(min(0, (count - 1) * stride) for count, stride in loops)
    highest = base + sum(max(0, (count - 1) * stride) for count, stride in loops)
    _require_within(what, lowest, highest, depth)
    mask = np.zeros(depth, bool)
    mask[lowest] = True
    for count, stride in loops:
        step, covered = abs(stride), 1
        while step and covered < count:
            more = min(covered, count - covered)
            mask[more * step :] |= mask[: depth - more * step].copy()
            covered += more
    return mask


def _check_slots(what: str, config: EngineConfig, base: int, offsets: Sequence[NDArray[np.intp]]) -> None:
    lowest = base + sum(int(offset.min()) for offset in offsets)
    highest = base + sum(int(offset.max()) for offset in offsets)
    _require_within(what, lowest // config.rows, highest // config.rows, config.parameter_depth)


def _require_within(what: str, lowest: int, highest: int, depth: int) -> None:
    if lowest < 0 or highest >= depth:
        where = f"{lowest % _MODULUS} to {highest % _MODULUS}" if lowest != highest else f"{lowest % _MODULUS}"
        raise DeviceError(f"CONTRACT: {what} address {where} is beyond the memory's {depth} words")
