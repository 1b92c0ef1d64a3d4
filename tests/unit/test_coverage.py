"""The points that tests are asked to meet, how they are noted, and the page about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dither.arch.isa import INSTRUCTIONS, Distribution, Instruction, LossKind, LossMode, Rule
from tests.benches import coverage
from tests.coverage.page import page
from tests.coverage.unreachable import reason


def test_points_derive_from_the_table() -> None:
    found = coverage.points()
    assert list(found) == [form.name for form in INSTRUCTIONS]
    assert {f"rule {rule.name}" for rule in Rule} <= set(found["UPDATE"])
    assert {f"distribution {name.name}" for name in Distribution} <= set(found["PERTURB"])
    pairs = {f"kind {kind.name}, mode {mode.name}" for kind in LossKind for mode in LossMode}
    assert pairs <= set(found["LOSS"])
    assert {"stream reluctant", "memory MOMENT2", "count one"} <= set(found["STORE"])
    assert "stream reluctant" not in found["LOAD"]
    assert found["HALT"] == ["executed"]
    for own in found.values():
        assert len(set(own)) == len(own)


def test_each_instruction_meets_one_class_of_each_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(coverage.FOLDER, str(tmp_path))
    monkeypatch.setattr(coverage, "_seen", set())
    for form in INSTRUCTIONS:
        coverage.meet(coverage.UNITS, Instruction.make(form.name, **{field.name: 0 for field in form.fields}))
        met = {point for name, point in coverage.merge(tmp_path)[coverage.UNITS] if name == form.name}
        assert met <= set(coverage.points()[form.name])
        for field in form.fields:
            # A count of zero is illegal, and in no class.
            most = 0 if "at least 1" in field.doc or "1 to R" in field.doc else 1
            assert sum(point.startswith(f"{field.name} ") and "," not in point for point in met) == most, field.name


def test_patterns_count_for_the_stream_that_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(coverage.FOLDER, str(tmp_path))
    monkeypatch.setattr(coverage, "_seen", set())
    patterns = {"input": "bursts", "output": "reluctant"}
    coverage.meet(coverage.PROGRAMS, Instruction.make("PULL", target=3), patterns)
    coverage.meet(coverage.PROGRAMS, Instruction.make("EMIT", source=0), patterns)
    assert coverage.merge(tmp_path) == {
        coverage.UNITS: set(),
        coverage.PROGRAMS: {
            ("PULL", "target another register"),
            ("PULL", "stream bursts"),
            ("EMIT", "source register 0"),
            ("EMIT", "stream reluctant"),
        },
    }


def test_nothing_is_noted_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(coverage.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    coverage.meet(coverage.UNITS, Instruction.make("HALT"))
    assert not list(tmp_path.iterdir())


def test_the_page_lists_holes() -> None:
    every = {(name, point) for name, own in coverage.points().items() for point in own}
    gone = {("UPDATE", "rule ADAM"), ("HALT", "executed")}
    text = page({coverage.UNITS: every - gone, coverage.PROGRAMS: set()})
    assert "- **UPDATE**: rule ADAM." in text
    assert "- **HALT**: executed." in text
    assert "| HALT | 1 | 0 | 0 | 0 | 0 |" in text
    whole = page({coverage.UNITS: every, coverage.PROGRAMS: every})
    assert "## Not met\n\nNothing.\n" in whole
    assert reason("STORE", "memory SCALAR_TABLE") in whole
    assert reason("LOAD", "memory SCALAR_TABLE") is None
