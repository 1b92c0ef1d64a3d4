"""Loading a bitstream, with a programmer that only writes down what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dither.cli import main
from dither.cli.build import program


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a build and, in ``bin``, a programmer of its own."""
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
            "openFPGALoader is missing: install it (apt-get install openfpgaloader, or the OSS CAD Suite)",
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


def test_a_programmer_that_fails(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(bench, "openFPGALoader", 1)
    assert main(["program", "--board", "ulx3s-25f"]) == 2
    assert capsys.readouterr().err == "dither: openFPGALoader failed with exit code 1; is the board plugged in?\n"
