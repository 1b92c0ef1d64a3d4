"""Data sets that packages and programs make: the same bits, made once, a way out of errors."""

from __future__ import annotations

import hashlib
import random
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dither.data import DataError, Samples, load_japanese_vowels, load_keywords, load_mnist1d, made
from dither.data import keywords as spoken
from dither.data.made import kept, package
from dither.train.tasks import TaskError, load_task


def digest(*parts: np.ndarray) -> str:
    """The beginning of the SHA-256 of arrays as float32."""
    return hashlib.sha256(b"".join(part.astype("<f4").tobytes() for part in parts)).hexdigest()[:16]


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is in the cache yet."""
    monkeypatch.setenv("DITHER_CACHE", str(tmp_path / "cache"))


def test_samples_are_made_once(no_cache: None) -> None:
    calls = []

    def make() -> Samples:
        calls.append(len(calls))
        inputs = np.full((4, 3), len(calls), np.float32)
        return Samples(inputs, np.arange(4), Samples(inputs, np.arange(4)), tuple("abcd"), name="toy")

    first, again, other = kept("toy", make, 1), kept("toy", make, 1), kept("toy", make, 2)
    assert calls == [0, 1]
    assert again.inputs.dtype == np.float32
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(other.inputs, first.inputs + 1)
    assert again.classes == tuple("abcd")


def test_other_code_makes_samples_again(no_cache: None, tmp_path: Path) -> None:
    code = tmp_path / "toy.py"
    for value in (1, 2):
        code.write_text(
            "import numpy as np\nfrom dither.data import Samples\n"
            f"def make():\n    return Samples(np.full((2, 1), {value}, np.float32), np.arange(2), name='toy')\n"
        )
        names: dict[str, Any] = {}
        exec(compile(code.read_text(), code, "exec"), names)
        assert kept("toy", names["make"]).inputs[0, 0] == value


def test_a_missing_package_is_one_line(no_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"toy needs the package nowhere_at_all: pip install nowhere_at_all$"):
        package("nowhere_at_all.part", "toy")
    monkeypatch.setattr(made, "import_module", lambda name: import_module("nowhere_at_all"))
    with pytest.raises(TaskError, match=r"mnist1d needs the package mnist1d"):
        load_task("mnist1d")


def test_a_package_that_lacks_another_one_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lacking.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match=r"toy needs the package lacking \(No module named 'nowhere_at_all'\): pip"):
        package("lacking", "toy")


def test_mnist1d_is_the_published_set(no_cache: None) -> None:
    pytest.importorskip("mnist1d")
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    samples = load_mnist1d()
    assert (random.random(), np.random.random()) == expected  # The package seeds both, and we put them back.
    assert samples.test is not None
    assert (samples.inputs.shape, samples.test.inputs.shape) == ((4000, 40), (1000, 40))
    # Of the file mnist1d_data.pkl in the repository greydanus/mnist1d, rounded to float32.
    parts = samples.inputs, samples.labels, samples.test.inputs, samples.test.labels
    assert digest(*parts) == "f61bdd28b5651fcd"


def test_japanese_vowels(no_cache: None) -> None:
    pytest.importorskip("aeon", reason="the package aeon, which holds the data, is not installed")
    samples = load_japanese_vowels()
    assert samples.test is not None
    assert samples.scaling is not None
    assert np.bincount(samples.labels).tolist() == [30] * 9
    assert np.bincount(samples.test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert samples.classes == tuple(range(1, 10))
    # The first utterance has 20 frames, so four stand before it and five behind.
    frames = samples.scaling(samples.inputs)[0].reshape(29, 12)
    assert np.flatnonzero(np.abs(frames).max(axis=1) > 1e-6).tolist() == list(range(4, 24))
    assert samples.inputs[0].reshape(29, 12)[4:7, 0] == pytest.approx([1.860936, 1.891651, 1.939205])
    parts = samples.inputs, samples.labels, samples.test.inputs, samples.test.labels
    assert digest(*parts) == "f578296e01f72385"


@pytest.fixture
def few_voices(no_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two voices speak, one of them held out, in one accent."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("the program espeak-ng, which says the words, is not installed")
    monkeypatch.setattr(spoken, "VOICES", {"train": ("m1",), "test": ("f3",)})
    monkeypatch.setattr(spoken, "ACCENTS", ("en-us",))


def test_keywords_are_the_same_bits_for_a_seed(few_voices: None) -> None:
    first = load_keywords()
    assert first.test is not None
    assert first.classes == spoken.WORDS
    assert (first.inputs.shape, first.test.inputs.shape) == ((30, 32 * 16), (20, 32 * 16))
    assert np.bincount(first.labels).tolist() == [3] * 10
    again, other = spoken._made(0), load_keywords(1)
    assert again.test is not None
    for mine, theirs in ((first, again), (first.test, again.test)):
        assert np.array_equal(mine.inputs, theirs.inputs)
        assert np.array_equal(mine.labels, theirs.labels)
    assert (first.inputs != other.inputs).any(axis=1).all()


def test_a_tone_is_in_its_band() -> None:
    time = np.arange(spoken.FRAMES * spoken.HOP) / spoken.RATE
    bands = [spoken._energies(np.sin(2 * np.pi * hertz * time)).argmax(axis=1) for hertz in (200, 1000, 5000)]
    # Bands' middles are a seventeenth of 150.5 … 2840 mel apart: 308.7, 466.9, …
    mel = 2595 * np.log10(1 + np.array([200, 1000, 5000]) / 700)
    expected = np.round((mel - 150.49) / ((2840.02 - 150.49) / (spoken.BANDS + 1)) - 1)
    for found, band in zip(bands, expected, strict=True):
        assert (found == band).all()


def test_noise_is_as_loud_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    word = np.r_[np.zeros(500), np.full(spoken._LENGTH, 1000), np.zeros(500)].astype(np.int16)
    for decibels in (0, 20):
        monkeypatch.setattr(spoken, "LOUDNESS", (decibels, decibels))
        mixed = spoken._mixed(word, np.random.default_rng(1))
        assert len(mixed) == spoken._LENGTH
        assert np.std(mixed - 1) == pytest.approx(10 ** (-decibels / 20))


def test_held_out_voices_are_others() -> None:
    assert not set(spoken.VOICES["train"]) & set(spoken.VOICES["test"])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "keywords needs the program espeak-ng: apt install espeak-ng$"),
        ("exit 1", "espeak-ng does not speak: .*; apt install --reinstall espeak-ng$"),
        ("echo 1.51", "espeak-ng says nothing; apt install --reinstall"),
    ],
)
def test_without_a_voice(
    no_cache: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, message: str
) -> None:
    if script is not None:
        (tmp_path / "espeak-ng").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "espeak-ng").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TaskError, match=message) as caught:
        load_task("keywords")
    assert "\n" not in str(caught.value)
