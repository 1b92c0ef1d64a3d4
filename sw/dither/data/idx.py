"""The IDX format: a small header, then an array of bytes."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from .files import DataError

__all__ = ["read_idx"]

_BYTES = 8
"""Type code of unsigned bytes, the only one that occurs here."""


def read_idx(content: bytes, axes: int, where: str) -> NDArray[np.uint8]:
    """Returns the array in an IDX file of unsigned bytes.

    The file holds two zero bytes, a type code, the number of axes, their lengths as big-endian
    32-bit numbers, then the elements.

    :param axes: how many axes there must be.
    :param where: name for messages.
    :raises DataError: if it is no such file, or of another length than its header says.
    """
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes((0, 0, _BYTES, axes)):
        raise DataError(f"{where} is no IDX file of unsigned bytes with {axes} axes")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if len(content) != header + math.prod(shape):
        raise DataError(f"{where} has {len(content)} bytes, but its header asks for {header + math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
