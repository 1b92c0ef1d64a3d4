"""Where a compact engine's memories stand in its state memory, one of 16,384 words of 16 bits.

A parameter has two words in MASTER and in either moment, three in GRADIENT, lowest first; the area
of MASTER begins at word 0. Masters stand with their highest bit inverted (master + 2**31,
unsigned), so that a sum's carry tells whether it is out of range. An entry of a scalar table has
the three words that it comes as: the value in the lowest 18 bits, the slope in the next 18. Behind
the areas are words for the microprogram's own tables.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...config import EngineConfig
from ...isa import Memory

__all__ = [
    "MASTER_OFFSET",
    "SCALAR_TABLES",
    "SCRATCH_WORDS",
    "STATE_MEMORIES",
    "STATE_WORDS",
    "Area",
    "Layout",
    "layout",
]

STATE_WORDS = 1 << 14
"""Words of the state memory."""
SCALAR_TABLES = 3
"""Number of scalar tables: exp, log and rsqrt."""
MASTER_OFFSET = 1 << 31
"""What a master is more in the state memory than it is."""

STATE_MEMORIES = {Memory.MASTER: 2, Memory.GRADIENT: 3, Memory.MOMENT1: 2, Memory.MOMENT2: 2, Memory.SCALAR_TABLE: 3}
"""Memories that are areas of the state memory, in their order there, and their words for a
parameter or an entry.
"""

SCRATCH_WORDS = 32
"""Words behind the areas that an instruction may use as it likes."""

_VALUE_BITS = 18
_VALUE_MASK = (1 << _VALUE_BITS) - 1


@dataclass(frozen=True, slots=True)
class Area:
    """A memory's place: ``count`` items of ``words`` words from ``base`` on."""

    base: int
    words: int
    count: int

    @property
    def end(self) -> int:
        """Address of the first word behind the area."""
        return self.base + self.words * self.count


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each area of the state memory begins, and how large it is."""

    areas: dict[Memory, Area]
    scratch: int
    """The first of the microprogram's own words."""

    def base(self, memory: Memory) -> int:
        """The first word of a memory."""
        return self.areas[memory].base

    def table(self, number: int) -> int:
        """The first word of a scalar table: 0 exp, 1 log, 2 rsqrt."""
        area = self.areas[Memory.SCALAR_TABLE]
        return area.base + number * area.words * (area.count // SCALAR_TABLES)

    def write(self, state: MutableSequence[int], memory: Memory, first: int, values: ArrayLike) -> None:
        """Puts items into a state memory.

        :param values: integers of shape (items,), or (items, 2) for SCALAR_TABLE: values and
            slopes.
        """
        numbers = np.asarray(values, dtype=np.int64)
        if memory is Memory.SCALAR_TABLE:
            numbers = (numbers[:, 0] & _VALUE_MASK) | (numbers[:, 1] & _VALUE_MASK) << _VALUE_BITS
        if memory is Memory.MASTER:
            numbers = numbers + MASTER_OFFSET
        words = numbers[:, None] >> 16 * np.arange(self.areas[memory].words)
        begin = self._begin(memory, first)
        for offset, word in enumerate((words & 0xFFFF).reshape(-1).tolist()):
            state[begin + offset] = word

    def read(self, state: Sequence[int], memory: Memory, first: int, count: int) -> NDArray[np.int64]:
        """The inverse of :meth:`write`: int64, signed but for second moments and the values of
        scalar tables.
        """
        size = self.areas[memory].words
        begin = self._begin(memory, first)
        words = np.array(state[begin : begin + size * count], np.int64).reshape(count, size)
        unsigned: NDArray[np.int64] = (words << 16 * np.arange(size)).sum(axis=1)
        if memory is Memory.SCALAR_TABLE:
            return np.stack([unsigned & _VALUE_MASK, _signed(unsigned >> _VALUE_BITS, _VALUE_BITS)], axis=1)
        if memory is Memory.MASTER:
            return unsigned - MASTER_OFFSET
        return unsigned if memory is Memory.MOMENT2 else _signed(unsigned, 16 * size)

    def _begin(self, memory: Memory, first: int) -> int:
        return self.areas[memory].base + first * self.areas[memory].words


def _signed(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return values - (values >> (bits - 1) << bits)


def layout(config: EngineConfig) -> Layout:
    """Returns where everything stands in a configuration's state memory.

    :raises ValueError: if the engine is not compact or its memories are too large.
    """
    if not config.compact:
        raise ValueError("only compact engines have a state memory")
    areas, base = {}, 0
    for memory, words in STATE_MEMORIES.items():
        count = SCALAR_TABLES << config.table_bits if memory is Memory.SCALAR_TABLE else config.parameter_depth
        areas[memory] = Area(base, words, count)
        base = areas[memory].end
    end = base + SCRATCH_WORDS
    if end > STATE_WORDS:
        raise ValueError(
            f"parameter_depth {config.parameter_depth} and table_bits {config.table_bits} need {end} words of state, "
            f"more than {STATE_WORDS}"
        )
    return Layout(areas, base)
