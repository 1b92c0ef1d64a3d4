"""Comparing runs: identical, first difference, unusable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dither.runs import CurveRow, RunError, RunFolder, parameter_digest
from dither.runs.compare import compare

TENSORS = [{"name": "w", "shape": [2, 3], "frac": 4}, {"name": "b", "shape": [3], "frac": 0}]


def make(
    path: Path, steps: list[int], changes: dict[tuple[int, int], int] | None = None, **description: object
) -> RunFolder:
    """A run whose parameter i at step s is 10 * s + i, plus planted changes by (step, position)."""
    run = RunFolder.create(path, {"tensors": TENSORS, **description})
    for step in steps:
        record = 10 * step + np.arange(9)
        for (when, position), value in (changes or {}).items():
            if when == step:
                record[position] += value
        run.append(CurveRow(step, step * 8, step * 80, float("nan"), 0.25, 0.5, parameter_digest(record)), record)
    return run


def test_identical(tmp_path: Path) -> None:
    result = compare(make(tmp_path / "a", [0, 5, 10]), make(tmp_path / "b", [0, 5, 10]))
    assert result.identical
    assert (result.steps, result.parameters) == (3, 9)


def test_planted_difference_is_named(tmp_path: Path) -> None:
    b = make(tmp_path / "b", [0, 5, 10], {(5, 4): 1, (5, 8): 3, (10, 0): 7})
    result = compare(make(tmp_path / "a", [0, 5, 10]), b)
    assert not result.identical
    difference = result.difference
    assert difference is not None
    assert (difference.step, difference.tensor, difference.index) == (5, "w", (1, 1))
    assert difference.raw == (54, 55)
    assert difference.values == (54 / 16, 55 / 16)
    assert difference.differing == 2
    assert "w[1, 1]: 54 against 55 (3.375 against 3.4375)" in str(result.reason)


def test_difference_in_a_later_tensor(tmp_path: Path) -> None:
    result = compare(make(tmp_path / "a", [0]), make(tmp_path / "b", [0], {(0, 8): -1}))
    assert result.difference is not None
    assert (result.difference.tensor, result.difference.index) == ("b", (2,))


def test_difference_in_the_curve_alone(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", [0, 5]), make(tmp_path / "b", [0, 5])
    lines = (b.path / "curve.csv").read_text().replace("5,40,400,nan,0.25", "5,40,400,nan,0.375")
    (b.path / "curve.csv").write_text(lines)
    result = compare(a, b)
    assert result.reason is not None
    assert "step 5: loss is 0.25 against 0.375" in result.reason


def test_missing_steps(tmp_path: Path) -> None:
    result = compare(make(tmp_path / "a", [0, 5, 10]), make(tmp_path / "b", [0, 5]))
    assert result.reason is not None
    assert "step 10 is logged in" in result.reason
    assert "all 2 common steps agree" in result.reason


def test_different_formats(tmp_path: Path) -> None:
    other = [TENSORS[0] | {"frac": 6}, TENSORS[1]]
    result = compare(make(tmp_path / "a", [0]), make(tmp_path / "b", [0], tensors=other))
    assert result.reason is not None
    assert "tensor w has 4 fraction bits against 6" in result.reason


@pytest.mark.parametrize(
    "tensors", [[TENSORS[0]], [TENSORS[1], TENSORS[0]], [TENSORS[0], {**TENSORS[1], "shape": [4]}]]
)
def test_different_models_are_refused(tmp_path: Path, tensors: list[dict[str, object]]) -> None:
    a = make(tmp_path / "a", [0])
    b = RunFolder.create(tmp_path / "b", {"tensors": tensors})
    with pytest.raises(RunError, match="different models"):
        compare(a, b)


def test_no_common_step_and_corrupt_history_are_refused(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", [1]), make(tmp_path / "b", [2])
    with pytest.raises(RunError, match="no logged step in common"):
        compare(a, b)
    (b.path / "history").write_bytes(bytes(36))
    with pytest.raises(RunError, match="damaged"):
        compare(a, b)


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    recipe, engine = {"seed": 1, "rate": 0.5, "probes": [4, 16]}, {"rows": 2, "lanes": 16, "width": 18}
    common = {"recipe": recipe, "engine": engine, "log_every": 1, "numerics": {"width": 18, "formats": {"w": "Q1.2"}}}
    a = make(tmp_path / "a", [0], **common)
    other = {
        "recipe": recipe | {"seed": 2, "probes": 1},
        "engine": engine | {"rows": 1},
        "log_every": 2,
        "numerics": {"width": 16, "formats": {"w": "Q9.2"}},
    }
    b = make(tmp_path / "b", [0], **other)
    assert compare(a, a).settings == ()
    assert compare(a, b).settings == (
        "width 18 against 16",
        "seed 1 against 2",
        "probes 4,16 against 1",
        "log_every 1 against 2",
        "engine 2×16 against 1×16",
    )
