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
from dither.store.chip import chip
from dither.tools.options import OPTIONS
from dither.tools.toolchain import PROGRAMMERS
from dither_hw.board.board import create_platform
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


def test_a_memory_chip(tmp_path: Path) -> None:
    plain = load_board(write(tmp_path, GOOD))
    assert plain.memory is None
    text = GOOD.replace("[program]", '[memory]\nchip = "mt48lc16m16a2-75"\n[program]')
    found = load_board(write(tmp_path, text))
    assert found.memory is not None
    assert (found.memory.chip, found.memory.resource, found.memory.number) == (chip("mt48lc16m16a2-75"), "sdram", 0)
    # What is built depends on the chip, and only where there is one.
    assert set(found.describe()) - set(plain.describe()) == {"memory"}


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
        ("baud = 3_000_000", "baud = 12_000_001", "uart.baud: must be from 9600 to 12000000, not 12000001"),
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
        (
            "[program]",
            '[memory]\nchip = "x"\n[program]',
            "memory.chip: unknown memory chip 'x'; known: as4c32m16sb-7, ",
        ),
        ("[program]", "[memory]\nchip = 1\n[program]", "memory.chip: must be text, not 1"),
        ("[program]", '[memory]\nsize = "x"\n[program]', "memory.size: is not known"),
        ("[program]", "[build]\nplace = [1]\n[program]", "build.place: must be a list of texts, not [1]"),
        ("[program]", "[budget]\nfmax_mhz = 0\n[program]", "budget.fmax_mhz: must be positive, not 0"),
        ("[program]", "[budget]\nlut4 = -1\n[program]", "budget.lut4: must be from 0 to 1048576, not -1"),
        ('tool = "openFPGALoader"', "", "program.tool: is missing"),
        ('tool = "openFPGALoader"', 'tool = "sh"', "program.tool: must be one of dfu-util, iceprog, icesprog, openFPG"),
        ('["-b", "ulx3s"]', '["-b", "$(id)"]', "program.load: '$(id)' is no plain value"),
        ('["-b", "ulx3s"]', '["--dump-flash"]', "program.load: '--dump-flash' is none of the options that a board's"),
        ("amaranth_boards.ulx3s:ULX3S_25F_Platform", "os:abort", "platform: must be a module of amaranth_boards, not"),
        ("amaranth_boards.ulx3s", "amaranth_boards_2.ulx3s", "platform: must be a module of amaranth_boards, not"),
        *(
            ("[program]", f"[build]\n{key} = [{value!r}]\n[program]", f"build.{key}: {message}")
            for key, value, message in (
                ("synthesis", "-dff; write_json /tmp/x", "'-dff; write_json /tmp/x' is none of the options"),
                ("synthesis", "-json=x", "'-json' is none of the options that a board's file may give: -abc2"),
                ("synthesis", "; exec -- id", "'; exec -- id' is no plain value"),
                ("synthesis", "-latches=a;b", "'-latches=a;b' gives no plain value"),
                ("place", "--write", "'--write' is none of the options"),
                ("place", "--wri=x", "'--wri' is none of the options"),
                ("place", "--placer=../x", "'--placer=../x' gives no plain value"),
                ("place", "/etc/passwd", "'/etc/passwd' is no plain value"),
                ("pack", "--svf", "'--svf' is none of the options"),
                ("pack", "../../x", "'../../x' is no plain value"),
            )
        ),
        ("[program]", '[build]\npreferences = ["a\\nb"]\n[program]', "build.preferences: must be single lines, not"),
        ("baud = 3_000_000", 'baud = 9600\nrx = "A1\\n"\ntx = "A2"', "uart.rx: must be one word of letters, digits"),
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


def test_platforms_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD.replace("amaranth_boards.ulx3s:ULX3S_25F_Platform", "mine.boards:Mine"))
    with pytest.raises(BoardError, match="if you trust another package, name it in DITHER_PLATFORM_PACKAGES"):
        load_board(path)
    monkeypatch.setenv("DITHER_PLATFORM_PACKAGES", "ours,mine")
    assert load_board(path).platform == "mine.boards:Mine"


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("os:abort", "os:abort is no platform of Amaranth for ECP5, Gowin or iCE40"),
        ("amaranth_boards.resources:UARTResource", "UARTResource is no platform of Amaranth for ECP5, Gowin or iCE40"),
        ("amaranth_boards.arty_a7:ArtyA7_35Platform", "ArtyA7_35Platform is no platform of Amaranth for ECP5"),
        ("amaranth.vendor:LatticePlatform", "LatticePlatform is no whole platform"),
    ],
)
def test_classes_that_are_no_platform(platform: str, message: str) -> None:
    """``os:abort`` would end this test's process if it were called."""
    with pytest.raises(BoardError, match=f"^icebreaker: platform: .*{message}"):
        create_platform(replace(board("icebreaker"), platform=platform))


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
    shutil.rmtree(package / "constraints")
    (package / "constraints").mkdir()
    call = [sys.executable, "-c", "from dither.boards import board_folder, boards; print(board_folder(), *boards())"]

    def said() -> str:
        done = subprocess.run(call, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert "the boards' files are missing: install dither again" in said()
    write(package / "constraints", GOOD)
    assert said().split() == [str(package / "constraints"), "mine"]


def test_every_programmer_has_its_options() -> None:
    assert set(PROGRAMMERS) == set(OPTIONS) - {"synthesis", "place", "pack"}


def test_boards_are_values() -> None:
    found = board("icebreaker")
    assert isinstance(found, Board)
    assert hash(found.clock) == hash(board("icebreaker").clock)
