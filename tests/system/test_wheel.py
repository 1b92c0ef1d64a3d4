"""What is installed works without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def pip(*arguments: object) -> None:
    call = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    subprocess.run(call, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, made of a copy of the sources: making one leaves files behind."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("sw", "hw", "sim", "constraints"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, copy)
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"dither", "dither_hw", "dither_sim"}
    # Whatever is no Python but lies between Python, such as harnesses and templates, is in it too.
    sources = {
        str(path.relative_to(ROOT / root))
        for root in ("sw", "hw", "sim")
        for path in (ROOT / root).rglob("*")
        if path.is_file() and not {"__pycache__", "dither.egg-info"} & set(path.parts)
    }
    constraints = ROOT / "constraints"
    files = (path for path in constraints.rglob("*") if path.is_file())
    boards = {f"dither/constraints/{path.relative_to(constraints)}" for path in files}
    assert {name for name in names if ".dist-info/" not in name} == sources | boards


def test_an_installed_package_needs_no_repository(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--no-deps", "--target", site, wheel)

    def said(*arguments: str) -> str:
        call = [sys.executable, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(call, cwd=empty, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    dither = str(site / "bin" / "dither")
    assert Path(said("-c", "import dither; print(dither.__file__)").strip()).is_relative_to(site)
    boards = said(dither, "boards").splitlines()[1:]
    assert [line.split()[0] for line in boards] == sorted(path.stem for path in (ROOT / "constraints").glob("*.toml"))
    assert "done" in said(dither, "train", "digits", "--steps", "2", "--out", "run")
    assert (empty / "run" / "report.html").is_file()
