"""Boards' files: that all of them are good, and what is said of bad ones."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from dither import boards as boards_module
from dither.arch.config import preset
from dither.boards import Board, BoardError, board, board_folder, boards, load_board
from dither.cli.boards import boards as boards_command
from dither.cli.build import build as build_command
from tests.conftest import ROOT

GOOD = """
title = "A board (LFE5U-25F)"
platform = "amaranth_boards.ulx3s:ULX3S_25F_Platform"
[engine]
rows = 2
lanes = 8
[clock]
hz = 80_000_000
[uart]
baud = 3_000_000
[link]
input_bytes = 1024
output_bytes = 512
[program]
tool = "openFPGALoader"
load = ["-b", "ulx3s"]
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in board_folder().glob("*.toml")))
def test_boards_of_the_repository(name: str) -> None:
    found = board(name)
    assert found.name == name
    assert found.engine.lanes in (1, 2, 4, 8, 16, 32)
    module, _, platform = found.platform.partition(":")
    assert hasattr(importlib.import_module(module), platform)
    assert found.budget.multipliers is not None
    assert found.budget.multipliers >= found.engine.multipliers


def test_a_board_has_defaults(tmp_path: Path) -> None:
    found = load_board(write(tmp_path, GOOD))
    assert found == board(str(tmp_path / "mine.toml"))
    assert (found.name, found.engine.rows, found.engine.lanes, found.engine.width) == ("mine", 2, 8, 18)
    assert (found.uart.resource, found.uart.number, found.uart.bridge) == ("uart", 0, "external adapter")
    assert (found.build.seeds, found.budget.lut4, found.program.flash) == ((1,), None, None)


def test_presets(tmp_path: Path) -> None:
    text = GOOD.replace("rows = 2", 'preset = "2x16"')
    found = load_board(write(tmp_path, text)).engine
    assert found == replace(preset("2x16"), lanes=8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "A board (LFE5U-25F)"', "", "title: is missing"),
        ("ulx3s:ULX3S_25F_Platform", "ulx3s", "platform: must be module:class, not 'amaranth_boards.ulx3s'"),
        ("rows = 2", "rows = 3", r"engine: rows must be one of (1, 2, 4, 8), not 3"),
        ("rows = 2", 'preset = "9x9"', "engine: unknown engine '9x9'; known: "),
        ("rows = 2", "row = 2", "engine: unknown engine parameters: row"),
        ("hz = 80_000_000", "hz = 80e6", "clock.hz: must be an integer, not 80000000.0"),
        ("hz = 80_000_000", "hz = 80", "clock.hz: must be from 1000000 to 400000000, not 80"),
        ("hz = 80_000_000", 'hz = 80_000_000\npll = "none"', "clock.pll: must be pad or core, not 'none'"),
        ("baud = 3_000_000", "baud = 12_000_000", "uart.baud: must be from 9600 to 3000000, not 12000000"),
        ("baud = 3_000_000", "baud = true", "uart.baud: must be an integer, not True"),
        ("baud = 3_000_000", 'baud = 9600\nrx = "A1"', "uart.tx: is missing: pins come in pairs"),
        ("baud = 3_000_000", "baud = 9600\nattributes = {A = 1}", "uart.attributes: must be texts, not {'A': 1}"),
        ("output_bytes = 512", "", "link.output_bytes: is missing"),
        ("output_bytes = 512", "output_bytes = 768", "link.output_bytes: must be a power of two, not 768"),
        ("output_bytes = 512", "output_bytes = 512\nspeed = 1", "link.speed: is not known"),
        (
            "[program]",
            "[build]\nseeds = [1, 1]\n[program]",
            "build.seeds: must be different positive integers, not [1, 1]",
        ),
        ("[program]", "[build]\nplace = [1]\n[program]", "build.place: must be a list of texts, not [1]"),
        ("[program]", "[budget]\nfmax_mhz = 0\n[program]", "budget.fmax_mhz: must be positive, not 0"),
        ("[program]", "[budget]\nlut4 = -1\n[program]", "budget.lut4: must be from 0 to 1048576, not -1"),
        ('tool = "openFPGALoader"', "", "program.tool: is missing"),
        ("[program]", "program = 3\n[other]", "program: must be a table, not 3"),
        ("[program]", "[colour]\n[program]", "colour: is not known"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    if new.startswith("program = 3"):
        text = "program = 3\n" + GOOD[: GOOD.index("[program]")]
    path = write(tmp_path, text)
    with pytest.raises(BoardError, match=f"^{re.escape(f'{path}: {message}')}"):
        load_board(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"absent.toml: No such file or directory$"):
        board(str(tmp_path / "absent.toml"))
    with pytest.raises(BoardError, match=r"mine.toml: Invalid value"):
        load_board(write(tmp_path, "title ="))
    with pytest.raises(BoardError, match=r"a board's name has up to 16 small letters, digits and hyphens$"):
        load_board(write(tmp_path, GOOD, "a-name-that-is-too-long"))
    with pytest.raises(BoardError, match=r"^unknown board 'mine'; known: .*icebreaker.*ulx3s-85f"):
        board("mine")


def test_what_is_only_for_people_does_not_count(tmp_path: Path) -> None:
    first = load_board(write(tmp_path, GOOD))
    second = load_board(
        write(tmp_path, GOOD.replace("A board", "Another").replace("[program]", "[build]\nseeds = [9]\n[program]"))
    )
    assert first != second
    assert first.describe() == second.describe()
    third = load_board(write(tmp_path, GOOD.replace("lanes = 8", "lanes = 4")))
    assert first.describe() != third.describe()


def test_list() -> None:
    said = CliRunner().invoke(boards_command).output
    for name, found in boards().items():
        assert re.search(rf"^{name} +{re.escape(found.title)} +{found.engine.geometry}", said, re.MULTILINE)


def test_documentation_has_the_list() -> None:
    """To make it again: ``dither boards --markdown``."""
    page = (ROOT / "docs" / "boards.md").read_text()
    assert CliRunner().invoke(boards_command, ["--markdown"]).output in page


def test_names_are_suggested() -> None:
    result = CliRunner().invoke(build_command, ["--board", "icebraker"])
    assert result.exit_code == 2
    assert "unknown board 'icebraker'; did you mean icebreaker?" in result.output


def test_boards_of_an_installed_package(tmp_path: Path) -> None:
    """Where the package is not in its repository, the boards' files lie in the package."""
    package = tmp_path / "dither"
    shutil.copytree(Path(boards_module.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (package / "constraints").iterdir():
        path.unlink()
    call = [sys.executable, "-c", "from dither.boards import board_folder, boards; print(board_folder(), *boards())"]

    def said() -> str:
        done = subprocess.run(call, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert "the boards' files are missing: install dither again" in said()
    write(package / "constraints", GOOD)
    assert said().split() == [str(package / "constraints"), "mine"]


def test_boards_are_values() -> None:
    found = board("icebreaker")
    assert isinstance(found, Board)
    assert hash(found.clock) == hash(board("icebreaker").clock)
