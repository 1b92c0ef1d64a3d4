"""Data sets that packages and programs make: the same bits, made once, a way out of errors."""

from __future__ import annotations

import hashlib
import random
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from dither.data import DataError, Samples, japanese_vowels, made, mnist1d
from dither.data.made import kept, package
from dither.data.vowels import FRAMES
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
    samples = mnist1d()
    assert (random.random(), np.random.random()) == expected  # The package seeds both, and we put them back.
    assert samples.test is not None
    assert (samples.inputs.shape, samples.test.inputs.shape) == ((4000, 40), (1000, 40))
    # Of the file mnist1d_data.pkl in the repository greydanus/mnist1d, rounded to float32.
    parts = samples.inputs, samples.labels, samples.test.inputs, samples.test.labels
    assert digest(*parts) == "f61bdd28b5651fcd"


def test_japanese_vowels(no_cache: None) -> None:
    pytest.importorskip("aeon", reason="the package aeon, which holds the data, is not installed")
    samples = japanese_vowels()
    assert samples.test is not None
    assert samples.scaling is not None
    assert np.bincount(samples.labels).tolist() == [30] * 9
    assert np.bincount(samples.test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert samples.classes == tuple(range(1, 10))
    # The first utterance has 20 frames, so four stand before it and five behind.
    frames = samples.scaling(samples.inputs)[0].reshape(FRAMES, 12)
    assert np.flatnonzero(np.abs(frames).max(axis=1) > 1e-6).tolist() == list(range(4, 24))
    assert samples.inputs[0].reshape(FRAMES, 12)[4:7, 0] == pytest.approx([1.860936, 1.891651, 1.939205])
    parts = samples.inputs, samples.labels, samples.test.inputs, samples.test.labels
    assert digest(*parts) == "f578296e01f72385"
