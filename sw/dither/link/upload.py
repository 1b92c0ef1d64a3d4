"""A program's input stream on its way to a board, packed piece by piece.

Megabytes of input thus need no memory twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.streams import Segment, pack, physical_beats, slots
from ..store.image import number_beats
from .packing import pack_input
from .shelf import Named

__all__ = ["Upload"]

_PIECE = 2048
"""Number of words packed at once, about."""


class Upload:
    """The packed bytes of input segments, to be taken piece by piece.

    :param config: configuration of the engine.
    :param inputs: segments in the order in which the program takes them; some may be named only.
    :param previous: the last word's beats sent in this session, as from
        :func:`~dither.link.packing.beats_before`; None if none were.
    :raises DeviceError: if a segment's values have another shape than its kind needs.
    """

    def __init__(
        self, config: EngineConfig, inputs: Sequence[Segment | Named], previous: NDArray[np.uint32] | None
    ) -> None:
        for segment in inputs:
            if isinstance(segment, Named):
                continue
            count, shape = slots(config, segment.kind)[0], np.shape(segment.values)
            if len(shape) != 2 or shape[1] != count:
                kind = "scalars" if segment.kind is None else segment.kind.name
                raise DeviceError(f"a segment of {kind} needs {count} slots a beat, not shape {shape}")
        self.beats = sum(
            segment.words * config.word_parts if isinstance(segment, Named) else physical_beats(config, segment)
            for segment in inputs
        )
        """Number of beats of all segments together, as the engine takes them."""
        self.last = previous
        """Beats of the last word packed so far."""
        self._config = config
        self._pieces = self._pack(inputs)
        self._held = b""

    def left(self, enough: int) -> int:
        """Returns how many bytes are still to be taken, at most ``enough``."""
        while len(self._held) < enough:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        return min(enough, len(self._held))

    def take(self, size: int) -> bytes:
        """Returns the next bytes, at most ``size``; none at the end."""
        part = self._held[: self.left(size)]
        self._held = self._held[len(part) :]
        return part

    def _beats(self, group: list[Segment] | Named) -> NDArray[np.uint32]:
        if isinstance(group, Named):
            return number_beats(self._config, group.numbers)
        return pack(self._config, group)

    def _pack(self, inputs: Sequence[Segment | Named]) -> Iterator[bytes]:
        for group in _groups(inputs):
            beats = self._beats(group)
            packed, self.last = pack_input(self._config, beats, self.last)
            yield packed


def _groups(inputs: Sequence[Segment | Named]) -> Iterator[list[Segment] | Named]:
    """Cuts and joins segments, so that each group has about as many words as are packed at once."""
    group: list[Segment] = []
    beats = 0
    for segment in inputs:
        if isinstance(segment, Named):
            if group:
                yield group
                group, beats = [], 0
            yield segment
            continue
        for start in range(0, len(segment.values), _PIECE):
            part = segment.values[start : start + _PIECE]
            group.append(Segment(segment.kind, part))
            beats += len(part)
            if beats >= _PIECE:
                yield group
                group, beats = [], 0
    if group:
        yield group
