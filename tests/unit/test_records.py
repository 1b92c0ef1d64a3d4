"""Recorded results: what a record holds, what its check notices, and the page that sets records
side by side.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dither.arch.config import PRESETS, EngineConfig, engine_name
from dither.cli import main
from dither.report.pictures import draw_results
from dither.report.records import (
    Check,
    add_check,
    check_record,
    first_digests,
    load_record,
    recorded_experiment,
    write_record,
)
from dither.report.results import Point, at_cost, load_records, render_results, side_by_side, yardsticks
from dither.runs import RunError, RunFolder
from dither.train.experiment import Experiment

TINY = ["--engine", "1x8", "--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "2", "--steps", "4"]
NARROW = "\N{NARROW NO-BREAK SPACE}"
NEEDED = ("command", "seed", "test_accuracy", "image_forwards", "mac", "saturations", "first_digests", "digest")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that changes its estimator on the way."""
    path = tmp_path_factory.mktemp("finished") / "run"
    phase = ["--estimator", "tensorwise", "--then", "after=3,estimator=mirror:exact"]
    assert main(["train", "digits", *TINY, *phase, "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def recorded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its record."""
    folder = tmp_path_factory.mktemp("recorded") / "tiny"
    write_record(RunFolder.open(finished), folder, "a | b", "hybrid")
    return folder


@pytest.fixture
def record(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the record, alone in a folder, for tests that do harm."""
    return Path(shutil.copytree(recorded, tmp_path / "results" / "tiny"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = load_record(folder)
    edit(values)
    (folder / "result.json").write_text(json.dumps(values))


def test_a_record_holds_what_the_run_says(recorded: Path, finished: Path) -> None:
    values, last = load_record(recorded), RunFolder.open(finished).curve()[-1]
    assert all(name in values for name in NEEDED)
    assert (values["test_accuracy"], values["image_forwards"], values["mac"]) == (last.metric, last.forwards, last.macs)
    assert values["digest"] == last.digest
    assert values["forward_equivalents"] == round(last.macs / values["mac_per_forward"])
    assert sum(values["saturations_by_place"].values()) == values["saturations"]
    assert 0 < values["multiplier_utilisation"] < 1
    assert values["rtl"] == []
    assert (recorded / "curve.csv").read_bytes() == (finished / "curve.csv").read_bytes()
    assert (recorded / "curve.svg").read_text().lstrip().startswith("<?xml")


def test_first_digests_are_those_of_the_run(recorded: Path, finished: Path) -> None:
    rows = {row.step: row.digest for row in RunFolder.open(finished).curve()}
    assert load_record(recorded)["first_digests"][1] == rows[2]


def test_first_digests_end_with_the_first_phase(recorded: Path) -> None:
    experiment = recorded_experiment(load_record(recorded))
    short = replace(experiment, phases=(replace(experiment.phases[0], steps=1), *experiment.phases[1:]))
    assert len(first_digests(short)) == 1


def test_the_recorded_command_makes_the_same_experiment(recorded: Path, finished: Path) -> None:
    experiment = recorded_experiment(load_record(recorded))
    assert experiment == Experiment.of_run(RunFolder.open(finished))
    assert experiment.command() == load_record(recorded)["command"]


def test_repeating_finds_the_same_bits(recorded: Path) -> None:
    check = check_record(recorded)
    assert check.identical
    assert len(check.found) == 2
    assert check_record(recorded, steps=1).found == check.found[:1]


def test_repeating_on_another_geometry(recorded: Path) -> None:
    check = check_record(recorded, engine=PRESETS["2x16"])
    assert check.identical
    assert check.engine == PRESETS["2x16"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_digest_is_found(record: Path, number: int) -> None:
    change(record, lambda values: values["first_digests"].__setitem__(number, "0" * 16))
    assert not check_record(record).identical
    assert main(["repeat", str(record)]) == 1


def test_a_changed_recipe_is_found(record: Path) -> None:
    for phase in range(2):
        change(record, lambda values, phase=phase: values["settings"]["phases"][phase]["recipe"].update(seed=2))
    change(record, lambda values: values["settings"]["recipe"].update(seed=2))
    assert not check_record(record).identical


def test_a_record_without_settings_is_refused(record: Path) -> None:
    change(record, lambda values: values.pop("settings"))
    with pytest.raises(RunError, match="does not describe a run"):
        check_record(record)


@pytest.mark.parametrize("content", [None, "{"])
def test_no_record(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(RunError, match="holds no recorded result"):
        load_record(tmp_path)


def test_an_unfinished_run_is_refused(finished: Path, tmp_path: Path) -> None:
    copy = RunFolder.open(Path(shutil.copytree(finished, tmp_path / "run")))
    copy.truncate(2)
    with pytest.raises(RunError, match="not finished"):
        write_record(copy, tmp_path / "record", "unfinished", "mnist")
    assert not (tmp_path / "record").exists()


def test_a_run_of_another_version_is_refused(finished: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    lines = (path / "curve.csv").read_text().splitlines()
    lines[2] = f"{lines[2].rpartition(',')[0]},{'0' * 16}"
    (path / "curve.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="make it again"):
        write_record(RunFolder.open(path), tmp_path / "record", "old", "mnist")


def test_an_unknown_group_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="unknown group"):
        write_record(RunFolder.open(finished), tmp_path / "record", "t", "others")
    assert main(["record", str(finished), str(tmp_path / "record"), "--title", "t", "--group", "others"]) == 2


def test_checks_are_kept_one_for_an_engine(record: Path, finished: Path) -> None:
    engines = PRESETS["1x8"], EngineConfig(rows=2, lanes=8, parameter_depth=4096), PRESETS["1x8"]
    for engine, found in zip(engines, ("x", "a", "a"), strict=True):
        add_check(record, Check(("a", "b"), (found,), engine))
    expected = [
        {"engine": "2x8@4096", "steps": 1, "identical": True},
        {"engine": "1x8", "steps": 1, "identical": True},
    ]
    assert load_record(record)["rtl"] == expected
    write_record(RunFolder.open(finished), record, "again", "hybrid")
    assert load_record(record)["rtl"] == expected
    change(record, lambda values: values["first_digests"].reverse())
    write_record(RunFolder.open(finished), record, "again", "hybrid")
    assert load_record(record)["rtl"] == []


def test_engines_have_names_that_the_command_line_knows() -> None:
    assert [engine_name(config) for config in PRESETS.values()] == list(PRESETS)
    assert engine_name(EngineConfig(rows=2, lanes=32, parameter_depth=4096)) == "2x32@4096"


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    text = capsys.readouterr().err
    assert text.startswith("dither: ")
    assert text.count("\n") == 1
    return text


def test_repeat_passes_over_what_is_no_engine_record(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first_order = variant(record, "adam", kind="first-order")
    (record.parent / "empty").mkdir()
    assert main(["repeat", str(record), str(first_order), str(record.parent / "empty"), "--steps", "1"]) == 0
    said = capsys.readouterr().out
    assert "tiny: identical, 1 step" in said
    assert "adam: first order, nothing to repeat" in said
    assert "empty: no record" in said


def test_repeating_nothing_is_no_success(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first_order = variant(record, "adam", kind="first-order")
    assert main(["repeat", str(first_order)]) == 2
    assert "first order, nothing to repeat" in complaint(capsys)
    (record.parent / "empty").mkdir()
    assert main(["repeat", str(record.parent / "empty"), str(first_order)]) == 2
    assert "no record" in complaint(capsys)
    assert main(["repeat", str(record), str(record.parent / "nowhere")]) == 2
    assert "there is no folder" in complaint(capsys)
    for edit in (
        lambda values: values.update(first_digests=[]),
        lambda values: values.pop("first_digests"),
    ):
        change(record, edit)
        assert main(["repeat", str(record)]) == 2
        assert "holds no digests" in complaint(capsys)
    assert not Check((), (), PRESETS["1x8"]).identical


@pytest.mark.parametrize("where", ["/proc/record", "file/record", "run"])
def test_a_record_that_cannot_be_written(
    where: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    shutil.copytree(finished, "run")
    assert main(["record", "run", where, "--title", "t", "--group", "mnist"]) == 2
    assert "cannot write" in (text := complaint(capsys)) or "folder of its own" in text


def test_only_the_gateware_s_checks_are_kept(record: Path) -> None:
    assert main(["repeat", str(record), "--record"]) == 2


CURVE = [Point(0, 0, 0, 0.1), Point(10, 100, 500, 0.5), Point(20, 200, 1000, 0.4)]


@pytest.mark.parametrize(
    ("cost", "of", "step"),
    [(99, "forwards", None), (100, "forwards", 10), (199, "forwards", 10), (1000, "forwards", 20), (999, "macs", 10)],
)
def test_what_a_cost_buys(cost: int, of: str, step: int | None) -> None:
    point = at_cost(CURVE, cost, of)
    assert (point.step if point else None) == step


def variant(record: Path, name: str, rows: list[tuple[int, int, int, float]] | None = None, **values: Any) -> Path:
    """Another record beside one, with other values and another curve: step, forwards, MACs,
    accuracy.
    """
    folder = Path(shutil.copytree(record, record.parent / name))
    change(folder, lambda before: before.update(values))
    if rows is not None:
        with (folder / "curve.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "forwards", "macs", "train_loss", "loss", "accuracy"])
            writer.writerows([*row[:3], "nan", 1 / (1 + row[0]), row[3]] for row in rows)
    return folder


def lines(page: str, start: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(start)]


def test_the_page_of_nothing(tmp_path: Path) -> None:
    assert render_results(tmp_path / "none").startswith("# Results")


def test_the_page(record: Path) -> None:
    results = record.parent
    rows = [(0, 0, 0, 0.1), (1, 999_000, 10**9, 0.91), (2, 3_000_000, 4 * 10**9, 0.955), (3, 20_000_000, 10**10, 0.97)]
    milestones = [
        {"accuracy": 0.9, "step": 1, "image_forwards": 999_000, "mac": 10**9, "hours": 0.5},
        {"accuracy": 0.95, "step": 2, "image_forwards": 3_000_000, "mac": 4 * 10**9, "hours": 2.0},
    ]
    variant(
        record,
        "good",
        rows,
        group="mnist",
        title="good",
        milestones=milestones,
        test_accuracy=0.97,
        image_forwards=20_000_000,
        mac=10**10,
        mac_per_forward=1000,
    )
    variant(
        record,
        "paper",
        [*rows[:1], (1, 2_000_000, 10**9, 0.5)],
        group="published",
        title="paper",
        milestones=[],
        test_accuracy=0.5,
        image_forwards=2_000_000,
    )
    variant(record, "local", group="projection", title="local", test_accuracy=0.95)
    equation = variant(
        record,
        "pde",
        group="equations",
        title="pde",
        relative_l2=1.5e-3,
        network_evaluations=4300,
        stencil="central:0.25",
        nodes=43,
        relative_l2_of_zero=0.0545,
    )
    change(equation, lambda values: values.pop("test_accuracy"))
    (equation / "curve.csv").write_text("step,forwards,macs,train_loss,loss,relative_l2\n0,0,0,nan,0.1,0.05\n")
    for name, accuracy in (("adam", 0.975), ("adam-short", 0.9)):
        variant(
            record, name, kind="first-order", method="Adam", test_accuracy=accuracy, seconds=36.0, batch=64, title=name
        )
    (results / "good" / "note.md").write_text("A *note*.\n")

    page = render_results(results)
    good = lines(page, "| [good](#good) | ")
    assert "| 97.00% |" in good[0]
    assert good[1].split("|")[3:6] == [" 91.00% ", " 95.50% ", " 97.00% "]
    (price,) = lines(page, "| 95 % | ")
    assert price.replace(NARROW, "") == "| 95 % | [good](#good) | 3000000 | 4G | 4000000 | 2.00 |"
    assert lines(page, "| 97 % |") == ["| 97 % | *reached by none* | | | | |"]
    paper = lines(page, "| [paper](#paper) | ")
    assert " – " in paper[1]
    assert "50.00% (ended at" in paper[1]
    assert "[97.50%](#adam) | 2.50 |" in lines(page, "| [local]")[0]
    assert "central:0.25, 43 nodes | 0.0015 | 0.0545 |" in lines(page, "| [pde]")[0]
    assert "A *note*." in page
    assert lines(page, "| [a \\| b](#tiny) |")
    assert "tensorwise (N = 1) → mirror, exact" in page
    for name in ("good", "paper", "local", "pde", "adam", "adam-short", "tiny"):
        assert f'<a id="{name}"></a>' in page
        assert f"({name}/curve.svg)" in page


def test_checks_stand_on_the_page(record: Path) -> None:
    add_check(record, Check(("a", "b"), ("a",), PRESETS["2x16"]))
    add_check(record, Check(("a", "b"), ("a", "c"), PRESETS["4x32"]))
    assert "2x16: 1 step identical, 4x32: 2 steps **different**" in render_results(record.parent)


def test_the_page_is_made_and_checked(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(record.parent)
    assert main(["results", folder, "--check"]) == 1
    assert main(["results", folder]) == 0
    assert main(["results", folder, "--check"]) == 0
    change(record, lambda values: values.update(title="other"))
    assert main(["results", folder, "--check"]) == 1
    assert "out of date" in capsys.readouterr().out


def test_pictures_set_records_side_by_side(record: Path) -> None:
    variant(record, "twin", title="a | b; seed 2", test_accuracy=0.2)
    variant(record, "local", group="projection", title="local")
    variant(record, "short", kind="first-order", method="Adam", test_accuracy=0.4)
    variant(record, "adam", kind="first-order", method="Adam", test_accuracy=0.5)
    records = load_records(record.parent)
    assert {name: [each.name for each in group] for name, group in side_by_side(records).items()} == {
        "hybrid.svg": ["twin", "tiny", "adam"]
    }
    assert [(each.record, each.value) for each in yardsticks(records)] == [("adam", 0.5)]
    pictures = draw_results(record.parent)
    assert pictures == draw_results(record.parent)  # No dates, no random names.
    assert {path.relative_to(record.parent).as_posix() for path in pictures} == {
        "hybrid.svg",
        *(f"{name}/curve.svg" for name in ("tiny", "twin", "local", "short", "adam")),
    }
    both = pictures[record.parent / "hybrid.svg"].decode()
    assert "a | b: 20.00%, " in both
    assert "back-propagation, digits: 50.00%" in both
    assert "back-propagation, 50%" in pictures[record.parent / "local" / "curve.svg"].decode()


def test_a_record_of_no_group_is_refused(record: Path) -> None:
    change(record, lambda values: values.pop("group"))
    with pytest.raises(RunError, match="belongs to no group"):
        load_records(record.parent)


def test_a_damaged_curve_is_refused(record: Path) -> None:
    (record / "curve.csv").write_text("step,forwards\n1,2\n")
    with pytest.raises(RunError, match="cannot be read"):
        render_results(record.parent)
