"""TRANSPOSE in software: a matrix of working weights with inputs and outputs exchanged."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import Instruction

__all__ = ["transpose", "transpose_words"]


def transpose(words: ArrayLike, inner: int, columns: int) -> NDArray[np.float64]:
    """Returns the words that a TRANSPOSE writes.

    :param words: the source, integers of shape (T*K, R): word ``t*K + k`` holds outputs ``t*R`` to
        ``t*R + R - 1`` of input k.
    :param inner: K, input positions of the source.
    :param columns: M, outputs of the source; T = ceil(M / R).
    :returns: float64 of shape (U*M, R), U = ceil(K / R): word ``u*M + m`` holds inputs ``u*R`` to
        ``u*R + R - 1`` of output m, zero where there is no such input.
    """
    source = np.asarray(words)
    rows = source.shape[-1]
    tiles = -(-inner // rows)
    matrix = np.zeros((tiles * rows, columns))
    matrix[:inner] = source.reshape(-1, inner, rows).transpose(1, 0, 2).reshape(inner, -1)[:, :columns]
    return matrix.reshape(tiles, rows, columns).transpose(0, 2, 1).reshape(-1, rows)


def transpose_words(config: EngineConfig, instruction: Instruction) -> tuple[slice, slice]:
    """Returns the words of the weight memory that a TRANSPOSE reads and those that it writes.

    :raises DeviceError: if there are none, they are beyond the memory, or they overlap.
    """
    inner, columns, depth = instruction["inner"], instruction["columns"], config.weight_depth
    for name in ("inner", "columns"):
        if instruction[name] < 1:
            raise DeviceError(f"TRANSPOSE: {name} must be at least 1")
    counts = inner * -(-columns // config.rows), columns * -(-inner // config.rows)
    source, target = (
        slice(instruction[name], instruction[name] + count)
        for name, count in zip(("base", "target"), counts, strict=True)
    )
    for part in (source, target):
        if part.stop > depth:
            raise DeviceError(f"TRANSPOSE: words {part.start} to {part.stop - 1} are beyond the {depth} of WEIGHT")
    if source.start < target.stop and target.start < source.stop:
        raise DeviceError("TRANSPOSE: source and result overlap")
    return source, target
