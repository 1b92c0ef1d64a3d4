"""What a host writes to fill a store, and the beats by which it names samples afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.isa import WORD_BITS
from ..arch.streams import beat_words
from .layout import MAX_FIELDS, StoreImage
from .registers import DATA_WINDOW, NUMBER_BIT, TABLE_WINDOW, address

__all__ = ["StoreWrites", "number_beats", "store_writes"]

StoreWrites = list[tuple[int, list[int]]]
"""Addresses and the values written there, in order."""
_KIND_PLACE = 16


def store_writes(image: StoreImage) -> StoreWrites:
    """Returns all that must be written to hold a data set: its layout, its table, its contents.

    Values for the table go to neighbouring addresses; those for the data window, to any within it.
    """
    mask = (1 << WORD_BITS) - 1
    fields = [field.words | field.kind << _KIND_PLACE for field in image.layout.fields]
    return [
        (address("store_samples"), [image.samples]),
        (address("store_field0"), fields + [0] * (MAX_FIELDS - len(fields))),
        (address("store_background0"), [field.background & mask for field in image.layout.fields]),
        (TABLE_WINDOW, [value & mask for value in image.layout.table]),
        (address("store_place"), [0]),
        (DATA_WINDOW, np.frombuffer(image.data, "<u4").tolist()),
    ]


def number_beats(config: EngineConfig, samples: Sequence[int]) -> NDArray[np.uint32]:
    """Returns the beats that name samples, one for each lane of as many groups as there are.

    Each comes as often as words have parts, as scalars do.

    :returns: shape (beats, 32-bit words).
    """
    beats = np.zeros((len(samples), beat_words(config)), np.uint32)
    beats[:, 0] = samples
    beats[:, NUMBER_BIT // WORD_BITS] |= np.uint32(1 << NUMBER_BIT % WORD_BITS)
    return beats.repeat(config.word_parts, axis=0)
