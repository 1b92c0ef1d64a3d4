"""PERTURB and ACCUMULATE in software: parameter indices, working weights, gradient accumulators.

Words of a tensor are arrays of shape (T*K, R): word ``t*K + k`` holds the weights of input k and
outputs ``t*R`` to ``t*R + R - 1``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.fixedpoint import saturate
from ..arch.generator import BLOCK_BITS, index_pitch, stream
from ..arch.isa import GRADIENT_BITS, MASTER_BITS, Distribution

__all__ = [
    "accumulate",
    "coordinate_place",
    "parameter_indices",
    "perturb",
    "perturb_one",
    "row_pitch",
    "tensor_probes",
    "wrap_gradients",
]


def wrap_gradients(values: ArrayLike) -> NDArray[np.int64]:
    """Returns integers modulo 2**48, from -2**47 to 2**47 - 1."""
    unused = 64 - GRADIENT_BITS
    # Shifted up, the highest bit that counts becomes the sign.
    wrapped: NDArray[np.int64] = (np.asarray(values, dtype=np.int64) << unused) >> unused
    return wrapped


def row_pitch(tiles: int, rows: int) -> int:
    """Returns the distance of parameter indices of one output from input to input.

    It is T*R, rounded up to a multiple of 8.
    """
    return index_pitch(tiles * rows)


def parameter_indices(block: int, inner: int, tiles: int, rows: int) -> NDArray[np.int64]:
    """Returns ``64 * block + i`` for every parameter i of a tensor, in word order, shape (T*K, R).

    With one random bit for each parameter, these are the places of the bits; COORDINATE compares
    them with the probe.
    """
    tile, k, row = np.ogrid[:tiles, :inner, :rows]
    indices: NDArray[np.int64] = BLOCK_BITS * block + k * row_pitch(tiles, rows) + tile * rows + row
    return indices.reshape(tiles * inner, rows)


def coordinate_place(probe: int, *, block: int, inner: int, tiles: int, rows: int) -> tuple[int, int] | None:
    """Returns word and row of the parameter that COORDINATE moves; None if the tensor lacks it.

    :param probe: the probe's number, modulo 2**32: the index of the parameter.
    """
    k, output = divmod((probe & 0xFFFFFFFF) - BLOCK_BITS * block, row_pitch(tiles, rows))
    if not (0 <= k < inner and output < tiles * rows):
        return None
    tile, row = divmod(output, rows)
    return tile * inner + k, row


@lru_cache(maxsize=32)
def tensor_probes(
    distribution: Distribution, seed: int, step: int, probe: int, *, block: int, inner: int, tiles: int, rows: int
) -> NDArray[Any]:
    """Returns the number xi of each parameter of a tensor for one probe.

    :returns: int8 (UNIFORM: int16) of shape (T*K, R), in word order. The array is not writable,
        because the latest results are kept: a probe's are wanted two or three times, for one side,
        for the other and for the gradient.
    """
    shape = (tiles * inner, rows)
    if distribution.bits == 0:
        result = np.zeros(shape, np.int8)
        if distribution is Distribution.COORDINATE:
            place = coordinate_place(probe, block=block, inner=inner, tiles=tiles, rows=rows)
            if place is not None:
                result[place] = 1
    else:
        pitch = row_pitch(tiles, rows)
        bits = inner * pitch * distribution.bits
        words = stream(seed, step, probe, -(-bits // BLOCK_BITS), first=block).astype("<u4", copy=False)
        xi = _numbers(distribution, words)[: inner * pitch].reshape(inner, pitch)[:, : tiles * rows]
        result = xi.reshape(inner, tiles, rows).transpose(1, 0, 2).reshape(shape)
    result.setflags(write=False)
    return result


def _numbers(distribution: Distribution, words: NDArray[np.uint32]) -> NDArray[Any]:
    """Returns the xi of successive parameters from the generator's words.

    The first parameter's bits are the lowest of the first word.
    """
    match distribution:
        case Distribution.RADEMACHER:
            return (np.unpackbits(words.view(np.uint8), bitorder="little").astype(np.int8) << 1) - 1
        case Distribution.UNIFORM:
            return (words.view(np.uint8).astype(np.int16) << 1) - 255
        case Distribution.GAUSSIAN:
            ones: NDArray[np.int8] = np.bitwise_count(words.view("<u2")).astype(np.int8)
            return ones - 8
        case _:
            raise ValueError(f"{distribution.name} takes no random bits")


def perturb(masters: ArrayLike, xi: ArrayLike, amplitude: int, width: int) -> tuple[NDArray[np.int64], int]:
    """Returns working weights: ``sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))``.

    :param masters: integers of 32 bits, of any shape.
    :param xi: a probe's number for each of them, or whatever broadcasts.
    :param amplitude: size of the perturbation for xi = 1, in units of a master.
    :param width: W, bits of a working weight.
    :returns: the working weights, int64, and how many were clipped.
    """
    moved = np.asarray(masters, dtype=np.int64) + np.multiply(xi, amplitude, dtype=np.int64)
    return saturate((moved + (1 << (MASTER_BITS - 1 - width))) >> (MASTER_BITS - width), width)


def perturb_one(master: int, change: int, width: int) -> tuple[int, bool]:
    """Returns the working weight of one parameter moved by ``change``, and whether it was clipped.

    :param master: the master parameter, an integer of 32 bits.
    :param change: what is added to it before rounding.
    :param width: W, bits of a working weight.
    """
    exact = (master + change + (1 << (MASTER_BITS - 1 - width))) >> (MASTER_BITS - width)
    limit = 1 << (width - 1)
    weight = max(-limit, min(exact, limit - 1))
    return weight, weight != exact


def accumulate(gradients: ArrayLike, xi: ArrayLike, difference: int) -> NDArray[np.int64]:
    """Returns gradient accumulators after ``gradient += difference * xi``, modulo 2**48.

    :param difference: an integer of 32 bits, signed.
    :returns: int64, from -2**47 to 2**47 - 1.
    """
    return wrap_gradients(np.asarray(gradients, dtype=np.int64) + np.multiply(xi, difference, dtype=np.int64))
