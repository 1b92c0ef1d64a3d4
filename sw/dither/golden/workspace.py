"""Working data of CONTRACT, CORRELATE and DITHER: memories as float64, tables, scratch, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.tables import Table, expand_activation

__all__ = ["Floats", "Window", "Workspace"]

Floats = NDArray[np.float64]
"""Array of float64, which in this package mostly holds integers."""
_Expanded = tuple[NDArray[np.float32], NDArray[np.bool_] | None]
"""What a table gives for each input, from 0 up and then negative ones; and where it is clipped."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Window:
    """A strided view of the activation memory, counted from a word that is not yet known."""

    shape: tuple[int, ...]
    """Shape of the view."""
    _first: int
    """Offset of the first number in bytes, like the strides."""
    _strides: tuple[int, ...]

    @classmethod
    def of(
        cls, config: EngineConfig, word: int, axes: Sequence[tuple[int, int]], columns: int, *, first_lane: int = 0
    ) -> Window:
        """Makes a window of ``columns`` numbers from each of some words on.

        A line may reach into the words that follow.

        :param word: the first word, counted from the base.
        :param axes: count and stride, in words, of each axis but the last.
        :param first_lane: lane of the first number of each line.
        """
        size = np.dtype(np.float64).itemsize
        pitch = config.lanes * size
        shape = (*(count for count, _ in axes), columns)
        return cls(shape, word * pitch + first_lane * size, (*(stride * pitch for _, stride in axes), size))

    def at(self, memory: Floats, base: int) -> Floats:
        """Returns the view of an activation memory, with words counted from ``base``."""
        return np.ndarray(self.shape, np.float64, memory, self._first + base * memory.strides[0], self._strides)


class Workspace:
    """Activation and weight memory of one engine, zero at first, with what speeds up their use.

    :param threads: how many threads share an instruction's blocks.
    """

    def __init__(self, config: EngineConfig, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.config = config
        self.activation: Floats = np.zeros((config.activation_depth, config.lanes))
        """The activation memory: integers of shape (activation_depth, L)."""
        self.weight: Floats = np.zeros((config.weight_depth, config.rows))
        """The weight memory: integers of shape (weight_depth, R)."""
        self.version = 0
        """Version of the weights, which whoever writes weights must increase.

        Plans keep copies of the weights until it changes.
        """
        segments = np.zeros(1 << config.table_bits, np.int64)
        self._entries: dict[int, Table] = dict.fromkeys(range(config.activation_tables), (segments, segments))
        self._expanded: dict[int, _Expanded] = {}
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._scratch = threading.local()

    def set_table(self, number: int, table: Table) -> None:
        """Gives an activation table its contents (values and slopes)."""
        self._entries[number] = table[0].copy(), table[1].copy()
        self._expanded.pop(number, None)

    def table(self, number: int) -> NDArray[np.float32]:
        """Returns an activation table's output for all inputs: from 0 up, then negative ones."""
        return self._whole(number)[0]

    def table_clips(self, number: int) -> NDArray[np.bool_] | None:
        """Returns where :meth:`table` is clipped; None if nowhere.

        Tables that are built from functions are clipped nowhere.
        """
        return self._whole(number)[1]

    def _whole(self, number: int) -> _Expanded:
        """Expands a table when it is first looked at: many programs load tables and use none."""
        found = self._expanded.get(number)
        if found is None:
            outputs, clipped = expand_activation(*self._entries[number], self.config.width)
            rolled = np.roll(outputs, len(outputs) // 2).astype(np.float32)
            found = rolled, np.roll(clipped, len(clipped) // 2) if clipped.any() else None
            self._expanded[number] = found
        return found

    def scratch(self, name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        """Returns a one-dimensional array of arbitrary contents, for intermediate results.

        The next call with that name in the same thread returns the same memory.
        """
        arrays: dict[str, NDArray[Any]] = self._scratch.__dict__
        if name not in arrays or arrays[name].size < size:
            arrays[name] = np.empty(size, dtype)
        return arrays[name][:size]

    def spread(self, items: Sequence[_Item], work: Callable[[Sequence[_Item]], _Result]) -> list[_Result]:
        """Lets each thread work on a share of the items and returns the results."""
        if self._pool is None or len(items) < self._threads:
            return [work(items)]
        return list(self._pool.map(work, [items[first :: self._threads] for first in range(self._threads)]))

    def close(self) -> None:
        """Ends the threads that share an instruction's blocks."""
        if self._pool is not None:
            self._pool.shutdown()
