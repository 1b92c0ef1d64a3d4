"""Japanese vowels: who of nine men says /ae/, by twelve cepstral coefficients in 7 to 29 frames.

Source: M. Kudo, J. Toyama, M. Shimbo, *Multidimensional Curve Classification Using Passing-Through
Regions*, Pattern Recognition Letters 20 (1999); UCI Machine Learning Repository, *Japanese Vowels*.
The package ``aeon`` holds the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .made import kept, package
from .samples import Samples
from .scaling import Scaling

__all__ = ["FRAMES", "load_japanese_vowels"]

FRAMES = 29
"""Frames of the longest utterance, and of a sample."""


def load_japanese_vowels() -> Samples:
    """Returns the published set: 270 utterances to train on, 370 held out; nine speakers, from 1.

    A sample is its frames one after the other. Shorter utterances stand in the middle, between
    frames of nothing but mean values. Means and largest distances from them, which become 0 and 1,
    are those of each coefficient in the utterances to train on.

    :raises DataError: if the package ``aeon`` is missing.
    """
    return kept("japanese-vowels", _made)


def _made() -> Samples:
    load = package("aeon.datasets", "japanese-vowels").load_japanese_vowels
    (utterances, speakers), (test, test_speakers) = load(split="train"), load(split="test")
    frames = np.concatenate(utterances, axis=1)
    centre = frames.mean(axis=1)
    reach = np.abs(frames - centre[:, None]).max(axis=1)
    names, labels = np.unique(speakers.astype(np.int64), return_inverse=True)
    return Samples(
        _padded(utterances, centre),
        labels,
        Samples(_padded(test, centre), np.searchsorted(names, test_speakers.astype(np.int64))),
        tuple(names.tolist()),
        Scaling(tuple(np.tile(centre, FRAMES).tolist()), tuple(np.tile(reach, FRAMES).tolist())),
        "japanese-vowels",
    )


def _padded(utterances: Sequence[NDArray[Any]], filling: NDArray[Any]) -> NDArray[np.float32]:
    """Utterances of shape (coefficients, frames), as samples, shape (utterances, features)."""
    found = np.tile(filling.astype(np.float32), (len(utterances), FRAMES, 1))
    for sample, utterance in zip(found, utterances, strict=True):
        first = (FRAMES - utterance.shape[1]) // 2
        sample[first : first + utterance.shape[1]] = utterance.T
    return found.reshape(len(utterances), -1)
