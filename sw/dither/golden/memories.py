"""The golden machine's memories, and what LOAD and STORE do to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import Memory
from ..arch.streams import memory_depth, slots
from ..arch.tables import ScalarTable
from .probes import perturb
from .workspace import Floats, Workspace

__all__ = ["Memories", "memory_words", "stored_words"]

_STATE = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)


def _wrapped(values: NDArray[np.int64], width: int, signed: bool) -> NDArray[np.int64]:
    """Returns values modulo 2**width: a memory takes so many bits of what a stream carries."""
    lowest = -(1 << (width - 1)) if signed else 0
    highest = lowest + (1 << width) - 1
    if values.size == 0 or (values.min() >= lowest and values.max() <= highest):
        return values
    result: NDArray[np.int64] = ((values - lowest) & ((1 << width) - 1)) + lowest
    return result


def memory_words(config: EngineConfig, kind: Memory, base: int, count: int, what: str) -> slice:
    """Returns the words ``base`` to ``base + count - 1`` of a memory as a slice.

    :param what: name of the instruction, for messages.
    :raises DeviceError: if ``count`` is zero, or the memory has fewer words.
    """
    if count < 1:
        raise DeviceError(f"{what}: count must be at least 1")
    depth = memory_depth(config, kind)
    if base + count > depth:
        raise DeviceError(f"{what}: words {base} to {base + count - 1} are beyond the {depth} of {kind.name}")
    return slice(base, base + count)


def stored_words(config: EngineConfig, kind: Memory, base: int, count: int) -> slice:
    """Returns the words that a STORE sends as a slice.

    :raises DeviceError: if the memory cannot be stored or has fewer words.
    """
    words = memory_words(config, kind, base, count, "STORE")
    if kind in (Memory.ACTIVATION_TABLE, Memory.SCALAR_TABLE):
        raise DeviceError(f"STORE: {kind.name} cannot be read back")
    return words


class Memories:
    """All data memories of one engine, zero at first.

    Activations and weights live in :attr:`space` as float64; the others are int64 arrays.
    """

    def __init__(self, config: EngineConfig, *, threads: int = 1) -> None:
        self.config = config
        self.space = Workspace(config, threads=threads)
        self.state = {kind: np.zeros((config.parameter_depth, config.rows), np.int64) for kind in _STATE}
        self._rounded: dict[tuple[int, int], tuple[Floats, int]] = {}
        segments = 1 << config.table_bits
        self._activation_tables = np.zeros((config.activation_tables * segments, 2), np.int64)
        self._scalar_tables = np.zeros((len(ScalarTable) * segments, 2), np.int64)

    @property
    def scalar_tables(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Values and slopes of exp, log and rsqrt, one behind the other."""
        return self._scalar_tables[:, 0], self._scalar_tables[:, 1]

    def load(self, kind: Memory, base: int, values: NDArray[np.int64]) -> None:
        """Does what LOAD does: writes integers of shape (words, slots), modulo the width of a slot.

        :raises DeviceError: if the memory has fewer words.
        """
        words = memory_words(self.config, kind, base, len(values), "LOAD")
        width = slots(self.config, kind)[1]
        match kind:
            case Memory.ACTIVATION:
                self.space.activation[words] = _wrapped(values, width, signed=True)
            case Memory.WEIGHT:
                self.space.weight[words] = _wrapped(values, self.config.width, signed=True)
                self.space.version += 1
            case Memory.ACTIVATION_TABLE:
                self._activation_tables[words] = _wrapped(values, width, signed=True)
                self._expand_tables(words)
            case Memory.SCALAR_TABLE:
                self._scalar_tables[words, 0] = _wrapped(values[:, 0], width, signed=False)
                self._scalar_tables[words, 1] = _wrapped(values[:, 1], width, signed=True)
            case _:
                self.state[kind][words] = _wrapped(values, width, signed=kind is not Memory.MOMENT2)
                if kind is Memory.MASTER:
                    self.masters_changed()

    def masters_changed(self) -> None:
        """Forgets rounded masters; whoever writes masters must call it."""
        self._rounded.clear()

    def rounded_masters(self, words: slice) -> tuple[Floats, int]:
        """Returns working weights without perturbation, and how many of them are clipped.

        They are kept until masters change, because probes of single coordinates want them for every
        parameter.
        """
        key = words.start, words.stop
        kept = self._rounded.get(key)
        if kept is None:
            weights, clips = perturb(self.state[Memory.MASTER][words], 0, 0, self.config.width)
            kept = self._rounded[key] = weights.astype(np.float64), clips
        return kept

    def _expand_tables(self, words: slice) -> None:
        segments = 1 << self.config.table_bits
        for number in range(words.start // segments, (words.stop - 1) // segments + 1):
            part = self._activation_tables[number * segments : (number + 1) * segments]
            self.space.set_table(number, (part[:, 0], part[:, 1]))

    def store(self, kind: Memory, base: int, count: int) -> NDArray[np.int64]:
        """Does what STORE does: returns a copy of the words, int64 of shape (count, slots).

        :raises DeviceError: if the memory cannot be stored or has fewer words.
        """
        words = stored_words(self.config, kind, base, count)
        match kind:
            case Memory.ACTIVATION:
                return self.space.activation[words].astype(np.int64)
            case Memory.WEIGHT:
                return self.space.weight[words].astype(np.int64)
            case _:
                return self.state[kind][words].copy()
