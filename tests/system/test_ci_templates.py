"""The CI files for others, tried as their users would: empty repository, fresh clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "ci"
PLACES = {"github": ".github/workflows/dither.yml", "gitlab": ".gitlab-ci.yml"}


def commands(kind: str) -> list[str]:
    """The shell commands of a CI file, in their order."""
    file: Any = yaml.safe_load((EXAMPLES / f"{kind}.yml").read_text())
    if kind == "gitlab":
        return [*file["check"]["before_script"], *file["check"]["script"]]
    return [line for step in file["jobs"]["check"]["steps"] if "run" in step for line in step["run"].splitlines()]


def shell(command: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"


def test_both_do_the_same() -> None:
    assert commands("github") == commands("gitlab")
    assert [line.split()[1] for line in commands("github")[1:]] == ["info", "train", "compare", "build"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A Python environment without dither, in which the packages that it needs can be found."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # Editable installations of dither itself hook into a .pth file, which this way nobody reads.
    (Path(site) / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "DITHER_SOURCE": str(_sources(tmp_path_factory.mktemp("sources"))),
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def _sources(folder: Path) -> Path:
    """A copy of what is needed to install dither: an installation leaves files behind."""
    for name in ("sw", "hw", "sim", "constraints"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
def test_a_fresh_clone_passes(kind: str, tmp_path: Path, environment: dict[str, str]) -> None:
    repository, clone = tmp_path / "repository", tmp_path / "clone"
    shell(f'git init -q "{repository}"', tmp_path, environment)
    place = repository / PLACES[kind]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLES / f"{kind}.yml", place)
    install, *checks = commands(kind)
    shell(install, repository, environment)
    for command in re.findall(r"^ *\$ (.*)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE):
        shell(command, repository, environment)

    shell(f'git clone -q "{repository}" "{clone}"', tmp_path, environment)
    for command in checks:
        shell(command, clone, environment)
    found = {path.stem: ElementTree.parse(path).getroot() for path in (clone / "out").glob("*.xml")}
    assert set(found) == {"info", "train", "compare", "build"}
    for suites in found.values():
        assert int(suites.attrib["tests"]) > 0
        assert suites.attrib["failures"] == suites.attrib["errors"] == "0"
    assert (clone / "out" / "icebreaker" / "top.bin").is_file()

    # The check can fail: another golden run is noticed.
    shutil.rmtree(clone / "golden")
    shell("dither train digits --engine 1x8 --steps 4 --log-every 2 --seed 2 --out golden/digits", clone, environment)
    (compare,) = [command for command in checks if command.startswith("dither compare")]
    done = subprocess.run(["bash", "-ec", compare], cwd=clone, env=environment, check=False, capture_output=True)
    assert done.returncode == 1
    assert ElementTree.parse(clone / "out" / "compare.xml").getroot().attrib["failures"] == "1"


def test_the_python_that_it_asks_for_is_one_that_works() -> None:
    versions = {
        yaml.safe_load((EXAMPLES / "gitlab.yml").read_text())["image"].removeprefix("python:"),
        re.findall(r'python-version: "(.*)"', (EXAMPLES / "github.yml").read_text())[0],
    }
    assert versions == set(re.findall(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text()))
    assert sys.version_info >= (3, 11)
