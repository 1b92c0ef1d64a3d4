"""Which samples a board's store holds, and numbers of samples in place of their words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.isa import Memory
from ..arch.streams import Segment
from ..store.layout import StoreImage

__all__ = ["Named", "Shelf"]

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Named:
    """A segment of activations that the store gives the engine, a sample in each lane."""

    numbers: tuple[int, ...]
    """Numbers of the samples, one for each lane."""
    words: int
    """Number of words of a sample."""


class Shelf:
    """The samples of a store, found by what they hold.

    So whoever runs a program need not know of the store: a segment of activations whose lanes are
    all samples on the shelf is named instead of sent, and the engine gets the same words.

    :param image: the data set as the store holds it.
    :param samples: the same samples, shape (samples, words).
    """

    def __init__(self, image: StoreImage, samples: NDArray[np.int64]) -> None:
        self.image = image
        rows = np.ascontiguousarray(samples, np.int64)
        # Of equal samples the first one will do.
        self._numbers = {_digest(row): number for number, row in reversed(list(enumerate(rows)))}

    def named(self, inputs: Sequence[Segment]) -> list[Segment | Named] | None:
        """Returns the segments of a program with numbers in place of activations.

        None if one of them is not on the shelf, or there are none.
        """
        words, found = self.image.layout.words, list[Segment | Named]()
        names = 0
        for segment in inputs:
            if segment.kind is None:
                found.append(segment)
                continue
            if segment.kind is not Memory.ACTIVATION or len(segment.values) != words:
                return None
            numbers = [self._numbers.get(_digest(lane)) for lane in np.ascontiguousarray(segment.values.T, np.int64)]
            known = tuple(number for number in numbers if number is not None)
            if len(known) < len(numbers):
                return None
            found.append(Named(known, words))
            names += 1
        return found if names else None


def _digest(row: NDArray[np.int64]) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).digest()
