"""What tests share: where the project is, and where its data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dither.data import DATA_VARIABLE, DataError, load_mnist

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder with MNIST's files: the environment's, or one beside the project."""
    folder = Path(os.environ.get(DATA_VARIABLE) or ROOT.parent / "shared" / "data" / "mnist")
    try:
        load_mnist(folder)
    except DataError as error:
        pytest.skip(f"no data set: {error}")
    return folder
