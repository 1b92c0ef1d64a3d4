"""Ten spoken words, said by many synthetic voices in noise, as energies of bands over time.

The program espeak-ng says them (``apt install espeak-ng``); voices that are held out are never
trained on. The words are those of the ten-word task of P. Warden, *Speech Commands*, arXiv
1804.03209, whose recordings have no part in this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import DataError
from .made import kept
from .samples import Samples
from .scaling import Scaling

__all__ = ["BANDS", "FRAMES", "VOICES", "WORDS", "espeak_version", "load_keywords"]

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""Words to tell from one another, in the order of their classes."""
FRAMES, BANDS = 32, 16
"""Frames of a sample, and bands of a frame, the lowest first."""
ACCENTS = ("en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us")
"""Ways to say a word: espeak-ng's Englishes."""
VOICES = {
    "train": (
        *("m1", "m2", "m4", "m5", "m7", "m8", "adam", "david", "edward", "max"),
        *("f1", "f2", "f4", "Annie", "belinda", "steph"),
    ),
    "test": ("m3", "m6", "Alex", "victor", "f3", "f5", "linda", "grandma"),
}
"""Throats to say it with: espeak-ng's variants of a voice."""
TAKES = {"train": 3, "test": 2}
"""How often each voice says each word in each accent."""
PITCHES, SPEEDS = (20, 80), (120, 220)
"""Ranges of espeak-ng's pitch, and of its words a minute."""
LOUDNESS, COLOUR = (0.0, 20.0), (0.0, 2.0)
"""Ranges of the decibels of speech above noise, and of the power of 1/frequency in the noise's
spectrum: from white to brown."""
RATE, HOP, WINDOW = 22050, 551, 1024
"""Numbers a second in the sound, from frame to frame (25 ms), and in a frame (46 ms)."""
LOWEST, HIGHEST = 100.0, 8000.0
"""Frequencies in Hz at which the first band begins and the last one ends."""
_LENGTH = FRAMES * HOP
_HEADER = 44  # Bytes of a WAV file before its numbers; through a pipe, its sizes are wrong.
_SILENCE = 64
_GRID = 64  # Units in 1: coarse enough that other FFTs' last bits hardly ever show.


def load_keywords(seed: int = 0) -> Samples:
    """Returns 3,360 spoken words to train on and 1,120 of other voices, float32.

    A sample is its frames one after the other, each the decimal logarithms of its bands' energies.
    Each has a pitch, a speed, a beginning, a noise and a loudness of its own.

    :param seed: seed of all these; it gives the same bits with the same version of espeak-ng.
    :raises DataError: if espeak-ng is missing or fails.
    """
    return kept("keywords", lambda: _made(seed), seed, espeak_version())


def espeak_version() -> str:
    """Returns the version of espeak-ng; others speak otherwise.

    :raises DataError: if espeak-ng is missing or fails.
    """
    found = re.search(rb"\d+\.\S+", _espeak("--version"))
    return found[0].decode() if found else "unknown"


def _espeak(*arguments: str) -> bytes:
    try:
        return subprocess.run(["espeak-ng", *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise DataError("keywords needs the program espeak-ng: apt install espeak-ng") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise DataError(f"espeak-ng does not speak: {error}; apt install --reinstall espeak-ng") from None


def _made(seed: int) -> Samples:
    print("keywords: espeak-ng speaks all samples, once; that takes up to three minutes", file=sys.stderr)
    train, test = (_spoken(part, np.random.Generator(np.random.Philox([seed, n]))) for n, part in enumerate(VOICES))
    return Samples(train.inputs, train.labels, test, WORDS, Scaling.fit(train.inputs, "one"), "keywords")


def _spoken(part: str, rng: np.random.Generator) -> Samples:
    """Every word in every accent by every voice of a part."""
    script = list(product(VOICES[part], ACCENTS, range(len(WORDS)), range(TAKES[part])))
    pitches, speeds = (rng.integers(*each, len(script), endpoint=True) for each in (PITCHES, SPEEDS))

    def say(line: int) -> NDArray[Any]:
        voice, accent, word, _ = script[line]
        manner = ("-v", f"{accent}+{voice}", "-p", str(pitches[line]), "-s", str(speeds[line]))
        return np.frombuffer(_espeak(*manner, "--stdout", WORDS[word])[_HEADER:], "<i2")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        inputs = np.array([_energies(_mixed(sound, rng)) for sound in pool.map(say, range(len(script)))])
    return Samples(inputs.reshape(len(script), -1), np.array([word for _, _, word, _ in script]))


def _mixed(sound: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """A word, cut out of its silence, somewhere in as much noise as a sample lasts."""
    heard = np.flatnonzero(np.abs(sound) > _SILENCE)
    if not len(heard):
        raise DataError("espeak-ng says nothing; apt install --reinstall espeak-ng espeak-ng-data")
    word = sound[heard[0] : heard[-1] + 1].astype(np.float64)[:_LENGTH]
    first = int(rng.integers(0, _LENGTH - len(word), endpoint=True))
    spectrum = np.fft.rfft(rng.standard_normal(_LENGTH))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** (rng.uniform(*COLOUR) / 2)
    noise = np.fft.irfft(spectrum, _LENGTH)
    mixed: NDArray[Any] = noise / noise.std() * 10 ** (-rng.uniform(*LOUDNESS) / 20)
    mixed[first : first + len(word)] += word / np.sqrt(np.mean(word**2))
    return mixed


def _energies(sound: NDArray[Any]) -> NDArray[np.float32]:
    """Decimal logarithms of the energies in bands as wide as they are for the ear, triangles that
    overlap by half on the mel scale, 2595 log10(1 + f / 700 Hz); shape (frames, bands)."""
    before = (WINDOW - HOP) // 2
    padded = np.pad(sound, (before, WINDOW - HOP - before))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    lowest, highest = np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    edges = 700 * (10 ** np.linspace(lowest, highest, BANDS + 2) - 1)
    bands = np.array([np.interp(frequencies, edges[band : band + 3], [0, 1, 0]) for band in range(BANDS)])
    energies = np.abs(np.fft.rfft(windows)) ** 2 @ bands.T
    return np.asarray(np.round(np.log10(1 + energies) * _GRID) / _GRID, np.float32)
