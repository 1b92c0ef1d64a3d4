"""What commands answer to programs: JSON on standard output, JUnit in a file, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dither.boards import boards
from dither.cli import main
from dither.cli.answers import Answer
from dither.runs import RunFolder, parameter_digest
from tests.conftest import QUICK

DOCS = Path(__file__).parents[2] / "docs"
RECORDS, PAGE = DOCS / "results", DOCS / "reference" / "exit-codes.md"


pytestmark = pytest.mark.usefixtures("own_folder")


def answered(capsys: pytest.CaptureFixture[str]) -> Any:
    """Standard output, all of which must be one JSON object."""
    return json.loads(capsys.readouterr().out)


def documented(command: str) -> set[str]:
    """Keys of a command's JSON object, and of those in it, as the page has them."""
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


def cases(path: str) -> dict[str, tuple[str, str] | None]:
    """Cases of a JUnit file by name: what went wrong and the message, or None; counts agree."""
    root = ElementTree.parse(path).getroot()
    (suite,) = root
    found: dict[str, tuple[str, str] | None] = {}
    for case in suite:
        assert float(case.attrib["time"]) >= 0
        found[case.attrib["name"]] = (case[0].tag, case[0].attrib["message"]) if len(case) else None
    kinds = [outcome[0] for outcome in found.values() if outcome is not None]
    for element in (root, suite):
        assert element.attrib["tests"] == str(len(found))
        for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert element.attrib[plural] == str(kinds.count(kind))
    return found


def test_train_answers_with_the_runs_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", *QUICK, "--out", "run", "--json", "--junit", "made/train.xml"]) == 0
    told = answered(capsys)
    last = RunFolder.open(Path("run")).curve()[-1]
    assert (told["run"], told["finished"], told["step"]) == ("run", True, 4)
    assert set(told) == documented("train") - {"relative_l2"}
    assert (told["digest"], told["loss"], told["accuracy"]) == (last.digest, last.loss, last.metric)
    assert cases("made/train.xml") == {"train digits on golden: run": None}
    assert main(["train", "--resume", "run", "--steps", "6", "--json"]) == 0
    assert answered(capsys)["step"] == 6


def test_compare_names_what_differs(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--no-plot", "--json", "--junit", "compare.xml"]
    assert main(["compare", str(finished), str(finished), *arguments]) == 0
    assert answered(capsys)["identical"] is True
    assert list(cases("compare.xml").values()) == [None]

    other = RunFolder.open(Path(shutil.copytree(finished, tmp_path / "other")))
    rows, history = other.curve(), other.history(other.curve()).copy()
    history[1, 0] += 1
    other.truncate(1)
    other.append(replace(rows[1], digest=parameter_digest(history[1])), history[1])
    assert main(["compare", str(finished), str(other.path), *arguments]) == 1
    told = answered(capsys)
    assert told["identical"] is False
    assert {*told, *told["difference"]} == documented("compare")
    assert told["difference"]["step"] == rows[1].step
    assert told["difference"]["raw"] == [int(history[1, 0]) - 1, int(history[1, 0])]
    assert list(cases("compare.xml").values()) == [("failure", told["reason"])]


def test_errors_are_answers_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "nowhere", "else", "--json", "--junit", "compare.xml"]) == 2
    told = answered(capsys)
    assert list(told) == ["error"]
    assert "not a run folder" in told["error"]
    assert cases("compare.xml") == {"compare": ("error", told["error"])}


def test_a_junit_file_that_cannot_be_written_is_found_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("in the way")
    assert main(["train", "digits", *QUICK, "--out", "run", "--junit", "file/train.xml"]) == 2
    assert "choose another --junit" in capsys.readouterr().err
    assert not Path("run").exists()


def test_repeat_has_a_case_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    damaged = Path(shutil.copytree(RECORDS / "digits-random-1", "damaged")) / "result.json"
    damaged.write_text(damaged.read_text().replace(json.loads(damaged.read_text())["first_digests"][0], "0" * 16))
    folders = [str(RECORDS / "digits-random-1"), "damaged", str(RECORDS / "baseline-hjb")]
    assert main(["repeat", *folders, "--steps", "1", "--json", "--junit", "repeat.xml"]) == 1
    told, found = answered(capsys), cases("repeat.xml")
    assert {*told, *told["records"][0]} == documented("repeat")
    assert [record["identical"] for record in told["records"]] == [True, False]
    assert found[folders[0]] is None
    assert found["damaged"] is not None
    assert found["damaged"][0] == "failure"
    assert found[folders[2]] == ("skipped", told["skipped"][folders[2]])


def test_boards_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards", "--json", "--junit", "boards.xml"]) == 0
    told = answered(capsys)
    assert set(told["icebreaker"]) == documented("boards")
    assert {name: board["engine_digest"] for name, board in told.items()} == {
        name: board.engine.digest() for name, board in boards().items()
    }
    assert list(cases("boards.xml")) == list(told)
    assert main(["info", "--json", "--junit", "info.xml"]) == 0
    told = answered(capsys)
    assert set(told) == documented("info")
    assert "digits" in told["tasks"]
    assert list(cases("info.xml")) == list(told["tools"])


def test_json_has_no_nan_and_xml_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer("odd", as_json=True, junit=tmp_path / "odd.xml")
    answer.values = {"loss": float("nan"), "path": tmp_path, "list": (1.5, float("inf"))}
    answer.case("a\x00b", failure="bell\a <&>")
    answer.close()
    assert answered(capsys) == {"loss": None, "path": str(tmp_path), "list": [1.5, None]}
    assert cases(str(tmp_path / "odd.xml")) == {"a b": ("failure", "bell  <&>")}


def test_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "digits", "--board", "icebreaker", "--json", "--junit", "fit.xml"]) == 0
    told = answered(capsys)
    assert told["fits"] is True
    assert set(told) == documented("fit")
    assert list(cases("fit.xml").values()) == [None]


@pytest.mark.parametrize("arguments", [["train", "digits", "--stepz", "4"], ["build", "--board", "nope"], ["tarin"]])
def test_what_never_began_answers_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"dither: {json.loads(said.out)['error']}"[:60])
