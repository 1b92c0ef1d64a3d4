"""The example of an evolution strategy in whole numbers: its arithmetic, and what its file says."""

from __future__ import annotations

import csv
import importlib.util
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import ROOT

STUDY = ROOT / "examples" / "evolution.py"


@pytest.fixture(scope="module")
def evolution() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evolution", STUDY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["evolution"] = module
    spec.loader.exec_module(module)
    return module


def samples(images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (images, 784)), rng.integers(0, 10, images)


def plain(net, recurrence: np.ndarray, readout: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The outputs for one image, in integers of 64 bits."""
    state = np.zeros(160, np.int64)
    for row in pixels.astype(np.int64).reshape(28, 28):
        sums = np.concatenate([state, row, [127]]) @ recurrence
        state = np.where(sums >= 0, 127, -127) if net.signs else np.clip(sums >> 8, -127, 127)
    return np.concatenate([state, [127]]) @ readout


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("side", [1, -1])
def test_moves_of_rank_one_are_those_of_whole_matrices(evolution: ModuleType, signs: bool, side: int) -> None:
    rng = np.random.default_rng(1)
    net = evolution.Net.random(rng, True, signs)
    pixels = net.pixels(samples(6)[0])
    shapes = net.recurrence.shape, net.readout.shape
    left, right = (tuple(evolution.random_signs(rng, 3, shape[axis]) for shape in shapes) for axis in (0, 1))
    moves = evolution.Moves(left, right, 4)
    found = net.outputs(pixels, moves.part(0, 6, 2), side)
    for number, image in enumerate(pixels):
        moved = [
            (weights + side * 4 * np.outer(a[number // 2], b[number // 2])).astype(np.int64)
            for weights, a, b in zip((net.recurrence, net.readout), left, right, strict=True)
        ]
        assert (found[number] == plain(net, *moved, image)).all()


def test_sums_that_float32_does_not_hold_are_refused(evolution: ModuleType) -> None:
    with pytest.raises(ValueError, match="beyond what float32 holds"):
        evolution.product(np.full((1, 1100), 127.0), np.full((1100, 1), 127.0))


def test_votes_move_weights_by_whole_units(evolution: ModuleType) -> None:
    run = replace(evolution.BLANK, forwards=640, pairs=40, images=2, threshold=2, seed=3)
    first, again = (evolution.Evolution(run, *samples(50)) for _ in range(2))
    begin = first.net.recurrence.copy()
    assert first.steps == 4
    first.train()
    again.train()
    assert (first.net.recurrence == again.net.recurrence).all()
    change = first.net.recurrence - begin
    assert change.any()
    assert (change == np.rint(change)).all()
    assert np.abs(first.net.recurrence).max() <= 127
    assert np.abs(first.votes[0]).max() < 1 << run.threshold + 2


def test_the_better_side_wins(evolution: ModuleType) -> None:
    labels = np.array([1, 1, 0])
    outputs = np.array([[0, 5, 2], [7, 5, 2], [1 << 20, 0, 0]], np.float32)
    assert evolution.fitness(outputs, labels).tolist() == [3, -2, evolution.MARGIN]


def test_the_file_holds_all_runs(evolution: ModuleType) -> None:
    """The command makes nothing again, and nothing else is in it."""
    study = evolution.Study(STUDY.with_suffix(".csv"))
    study.samples = None  # Nothing is to be run.
    assert [run.purpose for run in study.results()] == ["test"] * 4
    assert len(study.done) == len(evolution.FIRST) + len(evolution.SECOND) + 4
    assert len(list(csv.DictReader(study.path.open()))) == len(study.done)
