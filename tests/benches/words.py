"""Words of several signed numbers, as memories and buses hold them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "pack_fields", "pack_parts", "unpack"]


def pack(numbers: Iterable[int], width: int) -> int:
    """One word of signed numbers of ``width`` bits, number 0 lowest."""
    mask = (1 << width) - 1
    return sum((int(number) & mask) << (width * i) for i, number in enumerate(numbers))


def pack_parts(words: NDArray[np.int64], parts: int, width: int) -> list[int]:
    """Words, shape (words, numbers), as a memory holds them whose words are so many parts of
    these.
    """
    return [pack(part, width) for part in words.reshape(len(words) * parts, -1)]


def unpack(word: int, count: int, width: int) -> NDArray[np.int64]:
    """The inverse of :func:`pack`."""
    sign, mask = 1 << (width - 1), (1 << width) - 1
    return np.array([(((word >> (width * i)) & mask) ^ sign) - sign for i in range(count)], dtype=np.int64)


def pack_fields(words: Iterable[int]) -> int:
    """The bit string of an instruction from its encoded 32-bit words: the units' ``fields``
    ports.
    """
    return sum(word << (32 * i) for i, word in enumerate(words))
