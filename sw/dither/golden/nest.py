"""Loop nests of CONTRACT and CORRELATE as affine maps: strides, address ranges, conflicts.

In an instruction, a *step* of an address is what is added when a loop advances and every loop
inside has just wrapped; it includes the way back. A *stride* is how far apart two iterations of one
loop lie: addresses are ``base + sum(i_loop * stride_loop)``. Bases may depend on registers, so
everything here is counted from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Instruction, Operand

__all__ = [
    "MODULUS",
    "Loop",
    "Nest",
    "Piece",
    "Reach",
    "analyse_contract",
    "analyse_correlate",
    "resolve",
    "strides",
    "terms",
]

MODULUS = 1 << 16
"""Number of addresses: address arithmetic is modulo 2**16."""


def _signed(value: int) -> int:
    return (value + MODULUS // 2) % MODULUS - MODULUS // 2


def strides(counts: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Returns the strides of nested loops, innermost first, from -2**15 to 2**15 - 1.

    Loops of one iteration have stride zero. Memories have at most 2**15 words, so if all addresses
    are within one, the signed strides tell their differences without wrapping.

    :param counts: iterations of each loop, innermost first.
    :param steps: the instruction's address steps, in the same order.
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
    """One loop of a piece: its iterations, and how it moves each operand.

    Offsets in the parameter memories (weights, biases, gradients) count rows of words,
    ``address * R + row``, and need not be affine; those of a lane-wise operand or bias count words.
    """

    count: int
    """Number of iterations of this loop."""
    x: int
    """Stride of the input (CORRELATE: of the right operand), in words."""
    y: int
    """Stride of the output (CORRELATE: of the left operand), in words; 0 for reduction loops."""
    w: NDArray[np.intp]
    """Offset of the weight (CORRELATE: of the gradient) in each iteration."""
    b: NDArray[np.intp]
    """Offset of the bias in each iteration."""

    @classmethod
    def affine(cls, count: int, *, w: int = 0, x: int = 0, y: int = 0, b: int = 0) -> Loop:
        """Makes a loop whose weight and bias offsets have equal strides too."""
        steps = np.arange(count, dtype=np.intp)
        return cls(count, x, y, steps * w, steps * b)

    def around(self, inner: Loop) -> Loop | None:
        """Returns this loop and the one inside as one loop.

        None where inputs or outputs would not be equally spaced.
        """
        if self.x != inner.count * inner.x or self.y != inner.count * inner.y:
            return None
        w, b = (np.add.outer(mine, other).ravel() for mine, other in ((self.w, inner.w), (self.b, inner.b)))
        return Loop(self.count * inner.count, inner.x, inner.y, w, b)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a nest in which each loop has one stride for each operand."""

    w: int
    """Offset of the first weight (CORRELATE: gradient) from its base."""
    x: int
    """Offset of the first input word (CORRELATE: right operand) from its base."""
    y: int
    """Offset of the first output word (CORRELATE: left operand) from its base."""
    b: int
    """Offset of the first bias from its base."""
    outer: tuple[Loop, ...]
    """Loops over outputs (CORRELATE: left operands), rows included, innermost first."""
    reduction: tuple[Loop, ...]
    """Loops over the terms of a sum, innermost first."""

    def fixed(self, loop: Loop, index: int) -> Piece:
        """Returns the piece at one iteration of one of its outer loops."""
        return replace(
            self,
            w=self.w + int(loop.w[index]),
            x=self.x + index * loop.x,
            y=self.y + index * loop.y,
            b=self.b + int(loop.b[index]),
            outer=tuple(other for other in self.outer if other is not loop),
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """The words of its memory that an operand needs, counted from its base."""

    name: str
    """Name of the instruction, for messages."""
    what: str
    """Name of the operand, for messages."""
    depth: int
    """Number of words of the memory."""
    lowest: int
    """Offset of the first word that the operand needs."""
    highest: int
    """Offset of the last word that the operand needs."""
    words: NDArray[np.bool_]
    """Whether each word from ``lowest`` to ``highest`` is needed; empty if that is not asked."""

    def require_within(self, base: int) -> None:
        """Checks that the operand's addresses are within its memory.

        :raises DeviceError: if one is beyond it.
        """
        if base + self.lowest < 0 or base + self.highest >= self.depth:
            lowest, highest = ((base + offset) % MODULUS for offset in (self.lowest, self.highest))
            where = f"{lowest} to {highest}" if lowest != highest else f"{lowest}"
            raise DeviceError(f"{self.name}: {self.what} address {where} is beyond the memory's {self.depth} words")

    def shared(self, base: int, other: Reach, other_base: int) -> int | None:
        """Returns the first word that another operand of the same memory needs too, or None."""
        start, other_start = base + self.lowest, other_base + other.lowest
        first = max(start, other_start)
        end = min(start + len(self.words), other_start + len(other.words))
        if first >= end:
            return None
        both = self.words[first - start : end - start] & other.words[first - other_start : end - other_start]
        return first + int(np.argmax(both)) if both.any() else None


@dataclass(frozen=True, slots=True)
class Nest:
    """The loop nest of one instruction, analysed."""

    pieces: tuple[Piece, ...]
    """Pieces to be executed in this order; no piece of a CONTRACT writes a word twice."""
    reaches: dict[str, Reach]
    """Words that each operand needs, by the operand's letter.

    ``one`` is the constant that a bias is multiplied by, which has no base.
    """
    inputs: tuple[str, ...]
    """Letters of the operands in the memory that ``y`` is written to."""

    def check(self, bases: Mapping[str, int]) -> None:
        """Checks the addresses that some bases lead to.

        :param bases: base addresses, by the letters of :attr:`reaches`.
        :raises DeviceError: if one is beyond its memory or an output is an input too.
        """
        for letter, reach in self.reaches.items():
            reach.require_within(bases.get(letter, 0))
        for letter in self.inputs:
            word = self.reaches["y"].shared(bases["y"], self.reaches[letter], bases.get(letter, 0))
            if word is not None:
                raise DeviceError(f"CONTRACT: word {word} is both input and output")


def resolve(instruction: Instruction, letters: str, indices: Sequence[int]) -> dict[str, int]:
    """Returns an instruction's base addresses by the letters of its operands.

    They are the sums of fields and index registers, modulo 2**16.

    :param indices: values of the index registers, in the order of the letters.
    """
    return {
        letter: (instruction[f"{letter}_base"] + index) % MODULUS
        for letter, index in zip(letters, indices, strict=True)
    }


def terms(instruction: Instruction) -> int:
    """Returns the number of iterations of the inner loops.

    They are the products in one sum of a CONTRACT (without the bias), or the gradient words that a
    tile of a CORRELATE visits.
    """
    n0, n1, n2 = (instruction[f"n_{name}"] for name in REDUCTION_LOOPS)
    return n0 * n1 * n2


def analyse_contract(config: EngineConfig, instruction: Instruction, bases: Mapping[str, int]) -> Nest:
    """Analyses the nest of a valid CONTRACT.

    :param bases: some bases, by the letters ``wxyb``; the result is right for others too.
    :raises DeviceError: if an address is beyond its memory or an output is an input too, with these
        bases.
    """
    lane_wise, bias = Operand(instruction["operand"]) is not Operand.WEIGHT, bool(instruction["bias"])
    rows, depth = 1 if lane_wise else config.rows, config.activation_depth
    piece = _whole(rows, instruction, w="w", x="x", y="y", b="b")
    parts = _parts(piece, instruction["last_rows"])
    reaches = {
        "x": _reach("CONTRACT", "input", depth, bases["x"], [(p.x, _x_maps((*p.outer, *p.reduction))) for p in parts]),
        "y": _reach("CONTRACT", "output", depth, bases["y"], [(p.y, [(o.count, o.y) for o in p.outer]) for p in parts]),
    }
    weights = [(p.w, [o.w for o in (*p.outer, *p.reduction)]) for p in parts]
    biases = [(p.b, [o.b for o in p.outer]) for p in parts]
    inputs = ["x"]
    for letter, what, offsets in (("w", "weight", weights), ("b", "bias", biases))[: 2 if bias else 1]:
        if lane_wise:
            maps = [(first, [_affine(steps) for steps in loops]) for first, loops in offsets]
            reaches[letter] = _reach("CONTRACT", what, depth, bases[letter], maps)
            inputs.append(letter)
        else:
            reaches[letter] = _reach_of_rows("CONTRACT", what, config.rows, config.weight_depth, bases[letter], offsets)
    if bias:
        reaches["one"] = _reach("CONTRACT", "constant", depth, 0, [(instruction["one"], [])])
        inputs.append("one")
    nest = Nest(tuple(parts), reaches, tuple(inputs))
    nest.check(bases)
    written = sum(int(np.prod([loop.count for loop in part.outer])) for part in parts)
    if written == np.count_nonzero(reaches["y"].words):
        return nest
    return replace(nest, pieces=tuple(_in_order(piece, instruction["last_rows"])))


def analyse_correlate(config: EngineConfig, instruction: Instruction, bases: Mapping[str, int]) -> Nest:
    """Analyses the nest of a valid CORRELATE: that of the contraction whose gradient it is.

    :param bases: some bases, by the letters ``dxg``; the result is right for others too.
    :raises DeviceError: if an address is beyond its memory, with these bases.
    """
    parts = _parts(_whole(config.rows, instruction, w="g", x="x", y="d"), instruction["last_rows"])
    depth = config.activation_depth
    left = [(p.y, [(o.count, o.y) for o in p.outer]) for p in parts]
    right = [(p.x, [(o.count, o.x) for o in (*p.outer, *p.reduction)]) for p in parts]
    gradients = [(p.w, [o.w for o in (*p.outer, *p.reduction)]) for p in parts]
    reaches = {
        "d": _reach("CORRELATE", "left", depth, bases["d"], left),
        "x": _reach("CORRELATE", "right", depth, bases["x"], right),
        "g": _reach_of_rows("CORRELATE", "gradient", config.rows, config.parameter_depth, bases["g"], gradients),
    }
    return Nest(tuple(parts), reaches, ())


def _whole(rows: int, instruction: Instruction, *, w: str, x: str, y: str, b: str = "") -> Piece:
    """Returns the nest with its row loop first, as if all tiles had ``rows`` rows.

    The other parameters are the letters of the instruction's operands for the pieces' ``w``, ``x``,
    ``y`` and ``b``.
    """
    counts = [instruction[f"n_{loop}"] for loop in LOOPS]
    split = len(REDUCTION_LOOPS)

    def inner_and_outer(letter: str) -> list[int]:
        return strides(counts, [instruction[f"{letter}_{loop}"] for loop in LOOPS])

    def outer_only(letter: str) -> list[int]:
        return strides(counts[split:], [instruction[f"{letter}_{loop}"] for loop in OUTER_LOOPS])

    ws, xs, ys = inner_and_outer(w), inner_and_outer(x), outer_only(y)
    bs = outer_only(b) if b else [0] * len(OUTER_LOOPS)
    reduction = [Loop.affine(counts[i], w=ws[i] * rows, x=xs[i]) for i in range(split)]
    outer = [
        Loop.affine(counts[split + i], w=ws[split + i] * rows, x=xs[split + i], y=ys[i], b=bs[i] * rows)
        for i in range(len(OUTER_LOOPS))
    ]
    row = Loop.affine(rows, w=1, y=instruction[f"{y}_row"] if rows > 1 else 0, b=1)
    return Piece(w=0, x=0, y=0, b=0, outer=(row, *outer), reduction=tuple(reduction))


def _x_maps(loops: Sequence[Loop]) -> list[tuple[int, int]]:
    return [(loop.count, loop.x) for loop in loops]


_Maps = Sequence[tuple[int, Sequence[tuple[int, int]]]]
"""Affine maps: an offset, and count and stride of each loop."""


def _reach(name: str, what: str, depth: int, base: int, maps: _Maps) -> Reach:
    """Returns the words that some affine maps reach together."""

    def bound(choose: Callable[[int, int], int], offset: int, loops: Sequence[tuple[int, int]]) -> int:
        return offset + sum(choose(0, (count - 1) * stride) for count, stride in loops)

    lowest = min(bound(min, *one) for one in maps)
    highest = max(bound(max, *one) for one in maps)
    Reach(name, what, depth, lowest, highest, np.empty(0, bool)).require_within(base)
    words = np.zeros(highest - lowest + 1, bool)
    for offset, loops in maps:
        part = np.zeros(len(words), bool)
        part[bound(min, offset, loops) - lowest] = True
        for count, stride in loops:
            step, covered = abs(stride), 1
            while step and covered < count:
                more = min(covered, count - covered)
                part[more * step :] |= part[: len(part) - more * step].copy()
                covered += more
        words |= part
    return Reach(name, what, depth, lowest, highest, words)


def _reach_of_rows(
    name: str,
    what: str,
    rows: int,
    depth: int,
    base: int,
    maps: Sequence[tuple[int, Sequence[NDArray[np.intp]]]],
) -> Reach:
    """Returns the reach of offsets that count rows of words; which words it needs is left open."""
    lowest = min(offset + sum(int(steps.min()) for steps in loops) for offset, loops in maps)
    highest = max(offset + sum(int(steps.max()) for steps in loops) for offset, loops in maps)
    words = (lowest // rows, highest // rows)
    reach = Reach(name, what, depth, *words, np.empty(0, bool))
    reach.require_within(base)
    return reach


def _affine(offsets: NDArray[np.intp]) -> tuple[int, int]:
    """Returns count and stride of a loop's offsets."""
    return len(offsets), int(offsets[1] - offsets[0]) if len(offsets) > 1 else 0


def _parts(piece: Piece, tail: int) -> list[Piece]:
    """Cuts off the rows that do not count.

    One part is left if rows and tiles merge into one loop, otherwise up to two.
    """
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
    """Yields single outputs in the order of the nest.

    It is for nests that write a word more than once, where the last write counts.
    """
    row, tile, *others = piece.outer
    if others:
        for index in range(others[-1].count):
            yield from _in_order(piece.fixed(others[-1], index), tail)
        return
    for number in range(tile.count):
        part = piece.fixed(tile, number)
        for index in range(tail if number == tile.count - 1 else row.count):
            yield part.fixed(row, index)
