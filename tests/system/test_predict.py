"""A bundle on the simulated gateware and on a simulated board gives the bits of its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import dither
from dither.cli import main
from dither.inference import Bundle, Predictor
from dither_sim.board import VirtualBoard
from tests.system.test_virtual_board import BOARD, ENGINE

SAMPLES = 6
"""More than two groups of lanes, the last one not full."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dither.Run]:
    """A network of 16 bits that an engine without local learning has trained for a few steps."""
    x, y = load_digits(return_X_y=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        yield dither.train(
            x, y, model=(8,), engine=ENGINE, steps=8, estimator="layerwise", probes=2, batch=16, tile=8, out="run"
        )


def test_the_gateware_gives_the_run_s_bits(run: dither.Run) -> None:
    x = load_digits().data[:SAMPLES]
    assert (run.outputs(x, device="rtl") == run.outputs(x)).all()


@pytest.mark.slow
def test_a_board_gives_the_run_s_bits(run: dither.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_digits(return_X_y=True)
    run.export(tmp_path / "net.bundle")
    np.savez(tmp_path / "some.npz", x=x[:SAMPLES], y=y[:SAMPLES])
    out = tmp_path / "found.npz"
    with VirtualBoard(ENGINE, **BOARD) as board:
        words = [str(tmp_path / "net.bundle"), str(tmp_path / "some.npz"), "--device", board.path]
        assert main(["predict", *words, "--out", str(out)]) == 0
        with Predictor(Bundle.load(tmp_path / "net.bundle"), board.path) as predictor:
            assert (predictor.outputs(x[:SAMPLES]) == run.outputs(x[:SAMPLES])).all()
        other = dither.engine("1x8")
        wide = dither.train(x, y, model=(8,), steps=1, out=tmp_path / "wide").export(tmp_path / "wide.bundle", other)
        assert main(["predict", str(wide), words[1], "--device", board.path]) == 2  # another engine
    found = np.load(out)
    assert (found["class"] == run.predict(x[:SAMPLES])).all()
    assert "computed by /dev/pts/" in capsys.readouterr().out
