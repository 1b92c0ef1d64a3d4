"""Runs that change their recipe on the way: the same bits however they are cut, and what each phase
promises.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dither.arch.config import preset
from dither.compiler import CompileError
from dither.runs import RunFolder
from dither.runs.compare import compare
from dither.train.experiment import Experiment
from dither.train.prepared import prepare

SMALL = {"batch": 32, "tile": 16, "probes": 1, "mu": 2**-6}


def experiment(then: list[str], steps: int = 14, **changes: object) -> Experiment:
    return Experiment.of_task(
        "digits",
        device="golden",
        engine=preset("1x8"),
        steps=steps,
        log_every=2,
        checkpoint_every=3,
        recipe=SMALL | changes,
        then=then,
    )


def train(chosen: Experiment, path: Path, stops: tuple[int, ...] = ()) -> RunFolder:
    """Trains to the end, with interruptions behind some steps."""
    for stop in (*stops, None):
        prepared = prepare(chosen)
        if path.exists():
            trainer = prepared.trainer(RunFolder.open(path))
            trainer.resume()
        else:
            trainer = prepared.trainer(RunFolder.create(path, prepared.describe()))
            trainer.start()
        trainer.train(report=lambda progress: None, stop=lambda: trainer.step == stop)  # noqa: B023
        prepared.close()
    return RunFolder.open(path)


HYBRID = ["after=5,rule=sign,rate=0.01", "after=4,estimator=layerwise,probes=2,sides=two"]


def test_interruptions_change_nothing(tmp_path: Path) -> None:
    whole = train(experiment(HYBRID), tmp_path / "whole")
    # Before, at and behind the changes of phase, which fall behind steps 5 and 9.
    cut = train(experiment(HYBRID), tmp_path / "cut", (1, 5, 6, 9, 12))
    assert compare(whole, cut).identical
    assert Experiment.of_run(whole).phases == experiment(HYBRID).phases


def test_phases_begin_where_the_one_before_ended(tmp_path: Path) -> None:
    first = train(experiment([], steps=5, rate=0.002), tmp_path / "first")
    both = train(experiment(["after=5,rate=0.02"], steps=8, rate=0.002), tmp_path / "both")
    assert [row.digest for row in both.curve()][:3] == [row.digest for row in first.curve()][:3]
    assert both.curve()[-1].digest != first.curve()[-1].digest


def test_costs_add_up_over_phases(tmp_path: Path) -> None:
    rows = train(experiment(["after=4,probes=5"], steps=8), tmp_path / "run").curve()
    cheap, dear = rows[1].forwards, rows[-1].forwards - rows[-2].forwards
    assert rows[2].forwards == 2 * cheap
    assert dear > 3 * cheap
    assert rows[-1].forwards == 2 * cheap + 2 * dear
    assert rows[-1].macs > rows[2].macs > rows[1].macs > 0


def test_a_plateau_ends_a_phase(tmp_path: Path) -> None:
    # A rate of next to nothing brings no new low, so that the phase ends as soon as it may.
    still = experiment(["after=plateau:2,rate=0.01"], steps=16, rate=1e-8)
    whole = train(still, tmp_path / "whole")
    checkpoint = whole.load_checkpoint()
    assert checkpoint.meta["phase"]["number"] == 1
    assert compare(whole, train(still, tmp_path / "cut", (3, 7, 11))).identical


def test_formats_must_agree() -> None:
    with pytest.raises(CompileError, match=r"phase 2 would need format .* use the same mu"):
        prepare(experiment(["after=2,mu=8.0"]))
