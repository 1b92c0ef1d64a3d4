"""The study of random directions and coordinates: a few of its runs are what its file says."""

from __future__ import annotations

import csv
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dither.data import DATA_VARIABLE
from tests.conftest import ROOT

STUDY = ROOT / "examples" / "hybrid.py"


def test_runs_are_repeated(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(mnist))
    spec = importlib.util.spec_from_file_location("hybrid", STUDY)
    assert spec is not None
    assert spec.loader is not None
    hybrid = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hybrid", hybrid)
    spec.loader.exec_module(hybrid)
    recorded = hybrid.Study(STUDY.with_suffix(".csv"))._done.values()
    cheapest = [run for run in recorded if run.cost == hybrid.COSTS[0]]
    chosen = [next(run for run in cheapest if run.share == share) for share in hybrid.SHARES]
    study = hybrid.Study(tmp_path / "again.csv")
    for run in chosen:
        assert study.run(replace(run, forwards=0, accuracy=0.0)) == run
    assert len(list(csv.DictReader(study.path.open()))) == len(chosen)
