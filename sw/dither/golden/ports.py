"""The golden machine's input and output streams: segments consumed and announced, in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import Memory
from ..arch.streams import Expect, Segment, slots

__all__ = ["InputPort", "OutputPort"]


def _name(kind: Memory | None) -> str:
    return "scalars" if kind is None else kind.name


class InputPort:
    """The input stream: hands out the words of input segments in order.

    :raises DeviceError: if a segment's values have another shape than its kind needs.
    """

    def __init__(self, config: EngineConfig, segments: Sequence[Segment]) -> None:
        for segment in segments:
            count, shape = slots(config, segment.kind)[0], np.shape(segment.values)
            if len(shape) != 2 or shape[1] != count:
                raise DeviceError(f"a segment of {_name(segment.kind)} needs {count} slots a beat, not shape {shape}")
        self._config = config
        self.segments = [segment for segment in segments if len(segment.values)]
        self.current = 0
        self.taken = 0

    def take(self, kind: Memory | None, beats: int) -> NDArray[np.int64]:
        """Returns the next words of the stream, int64 of shape (beats, slots).

        :param beats: number of words.
        :raises DeviceError: if there are not so many, or they are of another kind.
        """
        parts = [np.zeros((0, slots(self._config, kind)[0]), np.int64)]
        missing = beats
        while missing:
            if self.current == len(self.segments):
                raise DeviceError(f"the input stream ends, but the program wants {missing} more beats of {_name(kind)}")
            segment = self.segments[self.current]
            if segment.kind is not kind:
                raise DeviceError(f"the program wants {_name(kind)}, but the input stream has {_name(segment.kind)}")
            part = np.asarray(segment.values[self.taken : self.taken + missing], dtype=np.int64)
            parts.append(part)
            missing -= len(part)
            self.taken += len(part)
            if self.taken == len(segment.values):
                self.current, self.taken = self.current + 1, 0
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def finish(self) -> None:
        """Checks that all input was consumed.

        :raises DeviceError: with the number of words left over.
        """
        left = sum(len(segment.values) for segment in self.segments[self.current :]) - self.taken
        if left:
            raise DeviceError(f"the program ended with {left} beats of input left over")


class OutputPort:
    """The output stream: collects words into the segments that were announced."""

    def __init__(self, expects: Sequence[Expect]) -> None:
        self._expects = list(expects)
        self._parts: list[list[NDArray[np.int64]]] = [[] for _ in expects]
        self.current = 0
        self.filled = 0

    def send(self, kind: Memory | None, values: NDArray[np.int64]) -> None:
        """Takes words of one kind, int64 of shape (words, slots).

        :raises DeviceError: if others, or no more, are expected.
        """
        while len(values):
            self._skip_full()
            if self.current == len(self._expects):
                raise DeviceError(f"the program sends {len(values)} beats of {_name(kind)} that nobody expects")
            expect = self._expects[self.current]
            if expect.kind is not kind:
                raise DeviceError(f"the program sends {_name(kind)}, but {_name(expect.kind)} is expected")
            part = values[: expect.beats - self.filled]
            self._parts[self.current].append(part)
            self.filled += len(part)
            values = values[len(part) :]

    def _skip_full(self) -> None:
        while self.current < len(self._expects) and self.filled >= self._expects[self.current].beats:
            self.current, self.filled = self.current + 1, 0

    def finish(self, config: EngineConfig) -> list[NDArray[np.int64]]:
        """Returns the announced segments' values, int64 of shape (words, slots) each.

        :raises DeviceError: if words are missing.
        """
        self._skip_full()
        missing = sum(expect.beats for expect in self._expects[self.current :]) - self.filled
        if missing:
            raise DeviceError(f"the program ended with {missing} expected beats of output missing")
        return [
            np.concatenate([np.zeros((0, slots(config, expect.kind)[0]), np.int64), *parts])
            for expect, parts in zip(self._expects, self._parts, strict=True)
        ]
