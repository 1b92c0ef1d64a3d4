"""Recorded results: the first steps of every one of them, repeated on the golden machine, and their
page.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from dither.arch.config import EngineConfig
from dither.data import IMAGE_SETS, DataError
from dither.data.keywords import espeak_version
from dither.report.records import FIRST_ORDER, FIRST_STEPS, check_record, load_record
from dither.report.results import load_records, render_results, yardsticks
from dither.report.yardsticks import FILE, render_yardsticks
from dither.train.tasks import TaskError, load_task
from tests.conftest import ROOT, image_folder

RESULTS = ROOT / "docs" / "results"
ESPEAK = "1.51"
"""Version of espeak-ng with which results were recorded."""
QUICK = 1e11
"""Multiply-accumulates that take seconds."""


def folders() -> list[Path]:
    return sorted(file.parent for file in RESULTS.glob("*/result.json"))


def first_steps() -> list[ParameterSet]:
    """All records; that of a sparse grid's 925 nodes takes minutes to find number formats for."""
    slow = {"hjb-sparse"}
    return [
        pytest.param(folder, id=folder.name, marks=[pytest.mark.slow] if folder.name in slow else [])
        for folder in folders()
    ]


@pytest.mark.parametrize("folder", first_steps())
def test_first_steps_give_the_recorded_digests(folder: Path) -> None:
    record = load_record(folder)
    if record.get("kind") == FIRST_ORDER:
        pytest.skip("a first-order baseline has no bits to repeat")
    steps = FIRST_STEPS if FIRST_STEPS * record["mac"] / record["steps"] <= QUICK else 1
    data = image_folder(record["task"]) if record["task"] in IMAGE_SETS else None
    try:
        if record["task"] == "keywords" and (version := espeak_version()) != ESPEAK:
            pytest.skip(f"espeak-ng {ESPEAK} said the words of the record, {version} is here")
        load_task(record["task"], data=data)
    except (DataError, TaskError) as error:
        pytest.skip(str(error))
    check = check_record(folder, steps=steps, data=data)
    assert check.found == check.recorded[:steps]


@pytest.mark.parametrize(("rows", "parameter_depth"), [(8, 1024), (4, 2048)])
def test_mnist_trains_in_a_boards_memories(rows: int, parameter_depth: int, mnist: Path) -> None:
    """The default recipe runs in chunks there, and gives the bits of the record's deep engine."""
    engine = EngineConfig(rows=rows, lanes=16, parameter_depth=parameter_depth, program_depth=2048)
    assert engine.activation_depth == 4096
    check = check_record(RESULTS / "mnist-mirror", engine=engine, data=mnist)
    assert check.identical


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_records_are_whole(folder: Path) -> None:
    record = load_record(folder)
    assert {"command", "seed", "mac", "saturations", "title"} <= set(record)
    assert ("test_accuracy" in record) != ("relative_l2" in record)
    assert ("image_forwards" in record) != ("network_evaluations" in record)
    assert (folder / "curve.csv").is_file()
    assert (folder / "curve.svg").is_file()


@pytest.mark.skipif(not folders(), reason="nothing is recorded")
def test_the_page_is_up_to_date() -> None:
    assert (RESULTS / "README.md").read_text() == render_results(RESULTS), "run: make results"


@pytest.mark.skipif(not folders(), reason="nothing is recorded")
def test_the_page_s_pictures_are_there() -> None:
    shown = re.findall(r"^!\[.*\]\((.*)\)$", (RESULTS / "README.md").read_text(), re.MULTILINE)
    assert {"mnist.svg", "hybrid.svg", "equations.svg"} < set(shown)
    assert [picture for picture in shown if not (RESULTS / picture).is_file()] == []


@pytest.mark.skipif(not folders(), reason="nothing is recorded")
def test_reports_compare_with_the_recorded_baselines() -> None:
    packaged = files("dither.report").joinpath(FILE).read_text()
    assert packaged == render_yardsticks(yardsticks(load_records(RESULTS))), "run: make results"
