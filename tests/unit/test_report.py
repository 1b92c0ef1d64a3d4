"""The report: one page that parses, needs nothing else and says what the run's files say."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dither.arch.config import PRESETS
from dither.arch.regmap import COUNTERS, PHASES
from dither.cli import main
from dither.recipe import Recipe
from dither.report import render_report, write_report
from dither.report.clips import PLACES, weigh
from dither.report.facts import collect
from dither.runs import CurveRow, RunError, RunFolder, parameter_digest
from dither.train.tasks import load_task

NARROW = "\N{NARROW NO-BREAK SPACE}"
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
        add(run, number)
    return run


def add(run: RunFolder, number: int) -> None:
    """Logs one more step."""
    step = 10 * number
    record = (np.arange(9) - 4) * (step + 1) << 20
    row = CurveRow(step, step * 64, step * 640, 1.0, 2 / (1 + number), 0.1 * number, parameter_digest(record))
    run.append(row, record)


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


def texts(page: str) -> str:
    """The page's words, without markup and style."""
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


def test_cards_fill_their_grid(tmp_path: Path) -> None:
    nothing = {counter.name: 0 for counter in COUNTERS}
    for name, number, changes in (
        ("run", 6, {}),
        ("begun", 4, {"progress": {"step": 0, "seconds": 0.0, "counters": nothing}}),
    ):
        section = render_report(make(tmp_path / name, **changes)).split('<section class="headline">')[1]
        assert section.split("</section>")[0].count("<div>") == number


def test_phases_and_regions_have_colours_of_their_own(tmp_path: Path) -> None:
    values = description()
    busy = {f"cycles_{phase}": 1_000_000 for phase in PHASES if phase != "wait"}
    values["progress"]["counters"] |= busy
    regions = [{"name": f"r{number}", "base": number, "words": 1} for number in range(26)]
    memory = {"name": "activation", "depth": 32, "used": 26, "regions": regions}
    text = render_report(make(tmp_path / "run", progress=values["progress"], memories=[memory]))
    bar, legend = text.split('<div class="bar"')[1].split("</div>")[0], text.split('<p class="legend">')[1]
    phases = re.findall(r'class="(k[^"]*)" style="--k: (var\(--c\d+\))', bar)
    assert len(phases) == len(set(phases)) == len(busy)
    assert {classes for classes, _ in phases} == {"k"}
    colors = re.findall(r'class="key (k[^"]*)" style="--k: (var\(--c\d+\))', legend)
    assert len(colors) == len(set(colors)) == 26


def test_thousands_are_written_one_way(tmp_path: Path) -> None:
    plan = {"headings": ["layer", "MACs"], "lines": [["w", 123456]], "notes": ["takes 357,792 of 1,234,567"]}
    recipe = {"batch": 64, "schedule_steps": 5625}
    text = texts(render_report(make(tmp_path / "run", plan=plan, recipe=recipe, sizes=[784, 1024, 10], steps=12345)))
    for number in ("357_792", "1_234_567", "123_456", "5_625", "1_024", "12_345"):
        assert number.replace("_", NARROW) in text
    assert not re.search(r"\d,\d{3}\b", text)


def test_what_differs_from_the_defaults_comes_first(tmp_path: Path) -> None:
    recipe = Recipe(batch=64, rate=2**-7, estimator=("mirror", "exact"), shared_probe=True).to_dict()
    facts = collect(make(tmp_path / "run", recipe=recipe))
    own = {each.name: (each.value, each.default) for each in facts.recipe if each.own}
    assert own == {
        "batch": ("64", "512"),
        "rate": ("2⁻⁷", "0.001"),
        "estimator": ("mirror, exact", "tensorwise"),
        "shared probe": ("yes", "no"),
    }
    assert [each.own for each in facts.recipe] == sorted((each.own for each in facts.recipe), reverse=True)
    assert {each.name for each in facts.recipe} == {name.replace("_", " ") for name in recipe}
    assert [each.name for each in facts.engine if each.own] == ["rows", "lanes", "parameter depth"]


def test_ranges_are_in_bits(tmp_path: Path) -> None:
    seen = {"name": "out", "width": 18, "frac": 12, "lowest": -4096, "highest": 100, "clips": 2}
    facts = collect(make(tmp_path / "run", activations=[seen]))
    (out,) = facts.activations
    assert (out.bits, out.point, out.now, out.spare) == (18, 6, 13.0, 5.0)
    w, b = facts.ranges
    # Parameters were up to 4 × 41 × 2²⁰, which is a little more than 27 bits and a sign.
    assert (w.bits, w.point, b.point) == (32, 4, 12)
    assert w.now == w.ever == pytest.approx(1 + math.log2(164 * 2**20))
    assert 'aria-label="13.0 of 18 bits"' in render_report(make(tmp_path / "again", activations=[seen]))


def test_the_most_frequent_mistake_is_named(tmp_path: Path) -> None:
    counts = [[9, 1, 0], [4, 1500, 0], [0, 2, 8]]
    run = make(tmp_path / "run", confusion={"step": 40, "counts": counts})
    text = texts(render_report(run))
    assert "The most frequent mistake: 1 taken for 0, 4 of 1 504 times.".replace("1 5", f"1{NARROW}5") in text
    confusion = collect(run).confusion
    assert confusion is not None
    assert [confusion.weight(*cell) for cell in ((0, 0), (1, 0), (2, 1), (0, 2))] == [0.9, 1.0, 0.5, 0.0]
    assert "taken for" not in texts(render_report(make(tmp_path / "equation")))
    many = [[0] * 200 for _ in range(200)]
    assert "taken for" not in texts(render_report(make(tmp_path / "many", confusion={"step": 1, "counts": many})))
    with pytest.raises(RunError, match="cannot report on"):
        render_report(make(tmp_path / "odd", confusion={"step": 1, "counts": [[1, 2], [3]]}))


def test_runs_hold_what_classes_were_taken_for(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert main(["train", "digits", "--engine", "1x8", "--steps", "2", "--log-every", "1", "--out", str(path)]) == 0
    run = RunFolder.open(path)
    kept = run.description["confusion"]
    counts = np.array(kept["counts"])
    assert kept["step"] == 2
    assert counts.shape == (10, 10)
    assert counts.sum() == run.description["samples"]["test"]
    assert np.trace(counts) / counts.sum() == run.curve()[-1].metric
    assert "What is taken for what" in (path / "report.html").read_text()


def test_back_propagation_is_drawn_in_where_it_is_recorded(tmp_path: Path) -> None:
    model = load_task("hjb").model.to_dict()
    changes = {"task": "hjb", "metric": "relative_l2", "model": model}
    facts = collect(make(tmp_path / "run", **changes))
    assert facts.yardstick is not None
    assert facts.yardstick.record == "baseline-hjb"
    text = render_report(make(tmp_path / "again", **changes))
    assert f"back-propagation, {facts.yardstick.value:.4g}" in text
    assert f"back-propagation: {facts.yardstick.value:.3g}" in texts(text)
    assert collect(make(tmp_path / "toy")).yardstick is None


@pytest.mark.parametrize(
    ("clips", "full", "said"),
    [
        ({}, [], "Nothing was clipped in training: every number stayed within its format."),
        ({"loss": 5}, [], "In training 5 losses (one in 200 samples) were clipped: that is rare"),
        (
            {"requantise": 4, "update": 100},
            [],
            "(one in 250 samples) and 100 gradients or moments (one in 200 parameter updates) were clipped: that is",
        ),
        ({"requantise": 2000}, [], "(2 for each sample) were clipped: that is often; a larger --hidden-headr"),
        (
            {"weight": 1},
            [],
            "In training 1 perturbed weight (one in 20 000 parameter updates) was clipped: that is rare",
        ),
        ({"update": 2}, ["w"], "were clipped, and w came to the end of the format: parameters could not grow"),
    ],
)
def test_clips_are_weighed(clips: dict[str, int], full: list[str], said: str) -> None:
    found = weigh({place: clips.get(place, 0) for place in PLACES}, 1000, 20_000, full)
    assert said in found.text.replace(NARROW, " ")
    assert found.text.count(".") == 1
    assert found.serious == ("often" in said or "could not grow" in said)


def test_the_page_weighs_the_run_s_own_clips(tmp_path: Path) -> None:
    # Three weights, of nine parameters in 40 steps.
    assert "In training 3 perturbed weights (one in 120 parameter updates)" in texts(
        render_report(make(tmp_path / "run"))
    )


def test_dates_do_not_wrap_and_tables_fit_a_phone(tmp_path: Path) -> None:
    text = render_report(make(tmp_path / "run"))
    assert '<span class="whole">begun 2025-01-01 12:00</span>' in text
    assert ".whole { white-space: nowrap; }" in text
    assert "@media (max-width: 44rem)" in text
    assert re.findall(r'data-label="([^"]*)"', text) == ["layer", "MACs"]
