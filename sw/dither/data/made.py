"""Data sets that are made, not read: by a package or a program, once, and kept in the cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..tools.cache import cached, digest
from .files import DataError
from .samples import Samples, read_samples, write_samples

__all__ = ["kept", "package"]

_FILE = "samples.npz"


def kept(name: str, make: Callable[[], Samples], *causes: object) -> Samples:
    """Returns the samples that a function makes, from the cache if it made them before.

    What the function's module says is part of the key: with other code, they are made again.

    :param name: name of the data set.
    :param causes: what else the samples depend on, as JSON can hold it.
    :raises DataError: if they cannot be made.
    :raises CacheError: if they can be kept nowhere.
    """
    key = digest(name, Path(inspect.getfile(make)).read_text(), *causes)
    folder = cached("samples", key, lambda folder: write_samples(folder / _FILE, make()))
    return read_samples(folder / _FILE)


def package(module: str, name: str) -> Any:
    """Imports and returns a module that a data set needs.

    :param module: name of the module, in the package that has to be installed.
    :param name: name of the data set, for the message.
    :raises DataError: if the package is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        reason = "" if error.name == root else f" ({error})"
        raise DataError(f"{name} needs the package {root}{reason}: pip install {root}") from None
