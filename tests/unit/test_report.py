"""The report: one page that parses, needs nothing else and says what the run's files say."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dither.arch.config import PRESETS
from dither.arch.regmap import COUNTERS
from dither.report import render_report, write_report
from dither.runs import CurveRow, RunError, RunFolder, parameter_digest

REGIONS = [{"name": "x", "base": 0, "words": 16}]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def description(**changes: Any) -> dict[str, Any]:
    counters = {counter.name: 0 for counter in COUNTERS}
    counters |= {"cycles_contract": 9_000_000, "cycles_loss": 700_000, "cycles_fetch": 300_000, "row_steps": 12_000_000}
    return {
        "task": "toy",
        "title": "toy <task>",
        "seed": 1,
        "steps": 40,
        "device": "golden",
        "created": "2025-01-01 12:00",
        "engine": PRESETS["2x16"].to_dict(),
        "recipe": {"batch": 64, "rule": "ADAM"},
        "sizes": [2, 3],
        "samples": {"train": 100, "test": 20},
        "versions": {"dither": "0", "numpy": "2"},
        "command": "dither train toy --seed 1 && echo <done>",
        "tensors": [{"name": "w", "shape": [2, 3], "frac": 28}, {"name": "b", "shape": [3], "frac": 20}],
        "plan": {"headings": ["layer", "MACs"], "lines": [["w", 123456]], "notes": ["planned"]},
        "memories": [{"name": "activation", "depth": 64, "used": 16, "regions": REGIONS}],
        "progress": {"step": 40, "seconds": 12.5, "counters": counters | {"saturations_weight": 3}},
    } | changes


def make(path: Path, rows: int = 5, **changes: Any) -> RunFolder:
    run = RunFolder.create(path, description(**changes))
    for number in range(rows):
        step = 10 * number
        record = (np.arange(9) - 4) * (step + 1) << 20
        run.append(
            CurveRow(step, step * 64, step * 640, 1.0, 2 / (1 + number), 0.1 * number, parameter_digest(record)), record
        )
    return run


def test_page_is_whole_and_self_contained(tmp_path: Path) -> None:
    text = write_report(make(tmp_path / "run")).read_text()
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    assert "svg" in page.seen
    assert "link" not in page.seen
    assert "script" not in page.seen
    assert all(reference.startswith("#") for reference in page.references)
    for outside in ("http:", "https:", "//fonts", "@import", "url(h"):
        assert outside not in text
    assert "prefers-color-scheme: dark" in text


def test_page_says_what_the_run_says(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    text = render_report(run)
    assert "40.0%" in text
    assert "60.0%" in text  # 12 M row steps of 10 M cycles × 2 rows
    assert "250\N{NARROW NO-BREAK SPACE}000" in text  # cycles a step
    assert run.curve()[-1].digest in text
    assert "contract</td>" in text
    assert "wait</td>" not in text
    assert "toy &lt;task&gt;" in text
    assert "echo &lt;done&gt;" in text
    assert "<task>" not in text


def test_page_says_what_streaming_cost(tmp_path: Path) -> None:
    assert "Streaming" not in render_report(make(tmp_path / "golden"))
    values = description()
    values["progress"]["counters"]["cycles_wait"] = 2_500_000
    run = make(tmp_path / "board", device="/dev/ttyUSB0@3000000", progress=values["progress"])
    text = render_report(run)
    assert "2\N{NARROW NO-BREAK SPACE}500\N{NARROW NO-BREAK SPACE}000 cycles besides, 20.0% of all" in text


def test_report_before_the_first_step(tmp_path: Path) -> None:
    nothing = {counter.name: 0 for counter in COUNTERS}
    run = make(tmp_path / "run", rows=1, progress={"step": 0, "seconds": 0.0, "counters": nothing})
    assert "No step has been trained yet" in render_report(run)


def test_runs_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no step yet"):
        render_report(make(tmp_path / "empty", rows=0))
    with pytest.raises(RunError, match="cannot report on"):
        render_report(make(tmp_path / "old", progress={}))
    with pytest.raises(RunError, match="cannot write"):
        write_report(make(tmp_path / "run"), tmp_path / "nowhere" / "report.html")
