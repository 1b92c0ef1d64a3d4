"""What tests share: where the project and its data are, folders to work in, and a finished run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dither.cli import main
from dither.data import DATA_VARIABLE, IMAGE_SETS, DataError

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OPT_FAST", "-O1")  # Most simulations of tests run for less time than they compile.
QUICK = ["--engine", "1x8", "--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "2", "--steps", "4"]
"""Options of a training that takes no time."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


def image_folder(name: str) -> Path:
    """The folder of an image set's files: the environment's, or one beside the project.

    The test is skipped where there is none.
    """
    folder = Path(os.environ.get(DATA_VARIABLE) or ROOT.parent / "shared" / "data" / name)
    try:
        IMAGE_SETS[name].load(folder)
    except DataError as error:
        pytest.skip(f"no data set: {error}")
    return folder


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder with MNIST's files."""
    return image_folder("mnist")


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "digits", *QUICK, "--out", str(path)]) == 0
    return path
