"""The perturbation generator in software: Threefry-2x32 with 20 rounds, vectorised.

Threefry is a counter-based generator: a fixed function of a key and a counter, so that any block of
64 bits comes from its coordinates alone, without replay. Here the key is (seed, step) and the
counter (block, probe); ``step`` is the number of the optimiser step.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, *Parallel random numbers: as easy as 1,
2, 3*, SC'11.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BLOCK_BITS",
    "INDEX_ALIGNMENT",
    "KEY_PARITY",
    "ROTATIONS",
    "ROUNDS",
    "ROUNDS_PER_INJECTION",
    "blocks",
    "index_pitch",
    "signs",
    "stream",
]

ROUNDS = 20
"""Number of rounds of one block's computation."""
ROUNDS_PER_INJECTION = 4
"""Number of rounds from one key injection to the next."""
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
"""Left rotations of the second word in bits, by round modulo 8."""
KEY_PARITY = 0x1BD11BDA
"""Constant from which the third key word is made: its exclusive or with the two given ones."""
BLOCK_BITS = 64
"""Number of bits of one block: output word 0 gives bits 0 to 31, word 1 bits 32 to 63."""

INDEX_ALIGNMENT = 8
"""Alignment of the parameter index at which each input of a tensor begins.

It is the largest number of rows, so that indices, and with them random bits, do not depend on the
engine's geometry.
"""

_CHUNK = 1 << 13  # blocks: the working set of one chunk stays in the first-level cache


def index_pitch(columns: int) -> int:
    """Returns the distance between parameter indices of successive inputs of a tensor.

    It is the number of outputs, ``columns``, rounded up to :data:`INDEX_ALIGNMENT`.
    """
    return -(-columns // INDEX_ALIGNMENT) * INDEX_ALIGNMENT


def _words(values: ArrayLike) -> NDArray[np.uint32]:
    return (np.asarray(values, dtype=np.int64) & 0xFFFFFFFF).astype(np.uint32)


def blocks(
    seed: ArrayLike, step: ArrayLike, block: ArrayLike, probe: ArrayLike
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Returns the blocks of 64 random bits that stand at given coordinates.

    :param seed: first key word; this and the others are integers modulo 2**32 of any shapes that
        broadcast.
    :param step: second key word.
    :param block: first counter word.
    :param probe: second counter word.
    :returns: bits 0 to 31 and bits 32 to 63 of every block, uint32, of the shape that the arguments
        broadcast to.
    """
    key0, key1, count0, count1 = np.broadcast_arrays(_words(seed), _words(step), _words(block), _words(probe))
    shape = count0.shape
    low, high = _threefry(np.ravel(key0), np.ravel(key1), np.ravel(count0), np.ravel(count1))
    return low.reshape(shape), high.reshape(shape)


def _threefry(
    key0: NDArray[np.uint32], key1: NDArray[np.uint32], count0: NDArray[np.uint32], count1: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Computes Threefry-2x32-20 of one-dimensional arrays; keys may have length 1."""
    keys = (key0, key1, key0 ^ key1 ^ np.uint32(KEY_PARITY))
    low, high = count0 + key0, count1 + key1
    carry = np.empty_like(high)
    for number in range(ROUNDS):
        rotation = ROTATIONS[number % len(ROTATIONS)]
        low += high
        np.right_shift(high, 32 - rotation, out=carry)
        np.left_shift(high, rotation, out=high)
        high |= carry
        high ^= low
        injection, rest = divmod(number + 1, ROUNDS_PER_INJECTION)
        if rest == 0:
            low += keys[injection % 3]
            high += keys[(injection + 1) % 3] + np.uint32(injection)
    return low, high


def stream(seed: int, step: int, probe: int, count: int, *, first: int = 0) -> NDArray[np.uint32]:
    """Returns many successive blocks of one probe, faster than :func:`blocks`.

    :param count: number of blocks.
    :param first: number of the first block; block numbers are modulo 2**32.
    :returns: uint32 of shape (2 * count,): the two words of each block in turn, so that bit ``i``
        of the whole array, counted from the lowest bit of word 0, is the bit of parameter index
        ``64 * first + i``.
    :raises ValueError: if ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, not {count}")
    result = np.empty((count, 2), np.uint32)
    key0, key1, count1 = _words([seed]), _words([step]), _words([probe])
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        count0 = _words(np.arange(first + start, first + stop))
        result[start:stop, 0], result[start:stop, 1] = _threefry(key0, key1, count0, np.repeat(count1, len(count0)))
    return result.reshape(-1)


def signs(seed: ArrayLike, step: ArrayLike, probe: ArrayLike, index: ArrayLike) -> NDArray[np.int64]:
    """Returns the Rademacher number of each parameter index: +1 where its random bit is 1, else -1.

    Index ``i`` is bit ``i & 63`` of block ``i >> 6``. A block is computed again for every index in
    it; for whole tensors use :func:`stream`.

    :returns: int64 of the shape that the arguments broadcast to.
    """
    indices = np.asarray(index, dtype=np.int64)
    low, high = blocks(seed, step, indices >> 6, probe)
    word = np.where((indices >> 5) & 1, high, low)
    return (((word.astype(np.int64) >> (indices & 31)) & 1) << 1) - 1
