"""The twins of PERTURB and ACCUMULATE: parameter indices, working weights, gradient accumulators.

Words of a tensor are arrays of shape (T*K, R): word ``t*K + k`` holds the weights of input k and outputs
``t*R`` to ``t*R + R - 1``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..fixedpoint import saturate
from ..generator import BLOCK_BITS, index_pitch, stream

__all__ = ["MASTER_BITS", "accumulate", "parameter_indices", "perturb", "row_pitch", "tensor_signs", "wrap32"]

MASTER_BITS = 32


def wrap32(values: ArrayLike) -> NDArray[np.int64]:
    """Integers modulo 2**32, from -2**31 to 2**31 - 1."""
    integers = np.asarray(values, dtype=np.int64)
    return ((integers + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def row_pitch(tiles: int, rows: int) -> int:
    """Distance of the parameter indices of one output from input to input: T*R rounded up to a multiple of 8."""
    return index_pitch(tiles * rows)


def parameter_indices(block: int, inner: int, tiles: int, rows: int) -> NDArray[np.int64]:
    """Parameter index of every weight of a tensor, int64 of shape (T*K, R), in word order."""
    tile, k, row = np.ogrid[:tiles, :inner, :rows]
    indices: NDArray[np.int64] = BLOCK_BITS * block + k * row_pitch(tiles, rows) + tile * rows + row
    return indices.reshape(tiles * inner, rows)


@lru_cache(maxsize=32)
def tensor_signs(
    seed: int, step: int, probe: int, *, block: int, inner: int, tiles: int, rows: int
) -> NDArray[np.int8]:
    """The Rademacher numbers of a tensor: :func:`dither.generator.signs` of its indices, fast.

    :returns: int8 of shape (T*K, R), in word order; not writable, because the latest few are kept: a probe's signs are
        wanted two or three times, for one side, for the other and for the gradient.
    """
    pitch = row_pitch(tiles, rows)
    words = stream(seed, step, probe, -(-inner * pitch // BLOCK_BITS), first=block)
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little", count=inner * pitch)
    xi = bits.reshape(inner, pitch)[:, : tiles * rows].reshape(inner, tiles, rows).transpose(1, 0, 2)
    result = (xi.reshape(tiles * inner, rows).astype(np.int8) << 1) - 1
    result.setflags(write=False)
    return result


def perturb(masters: ArrayLike, signs: ArrayLike, amplitude: int, width: int) -> tuple[NDArray[np.int64], int]:
    """Working weights from masters: ``sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))``.

    :param masters: integers of 32 bits, of any shape.
    :param signs: +1 or -1 for each of them (whatever broadcasts, where the amplitude is 0).
    :param amplitude: probe step in units of a master.
    :param width: W, bits of a working weight.
    :returns: the working weights, int64, and how many were clipped.
    """
    moved = np.asarray(masters, dtype=np.int64) + amplitude * np.asarray(signs, dtype=np.int64)
    return saturate((moved + (1 << (MASTER_BITS - 1 - width))) >> (MASTER_BITS - width), width)


def accumulate(gradients: ArrayLike, signs: ArrayLike, difference: int) -> NDArray[np.int64]:
    """Gradient accumulators after ``gradient += difference * xi``, modulo 2**32, signed, int64."""
    return wrap32(np.asarray(gradients, dtype=np.int64) + difference * np.asarray(signs, dtype=np.int64))
