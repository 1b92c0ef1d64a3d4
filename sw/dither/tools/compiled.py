"""C++ that is compiled when it is wanted: objects, and libraries of functions that Python calls."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..arch.device import DeviceError
from . import toolchain

__all__ = ["COMMON", "LINK", "Signature", "call", "compile_all", "link", "load_library"]

COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-march=native", "-w"]
"""Options of every compilation: several libraries live in one process, made for this processor."""
LINK = ["-shared", "-Wl,-Bsymbolic", "-pthread"]
"""Options that make a library of objects."""

Signature = tuple[Any, list[Any]]
"""What a function of a library returns, and the types of its arguments."""


def compile_all(directory: Path, sources: Sequence[Path], flags: Sequence[str]) -> None:
    """Compiles sources into objects in ``directory``, all cores at work.

    :raises DeviceError: if there is no compiler, or it fails.
    """
    # The largest first, so that no big file is left over for one core at the end.
    ordered = sorted(sources, key=lambda path: path.stat().st_size, reverse=True)
    commands = [[toolchain.compiler(), *flags, "-c", str(source), "-o", f"{source.stem}.o"] for source in ordered]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda command: call(command, directory), commands))


def link(directory: Path, name: str, objects: Sequence[Path], libraries: Sequence[str] = ()) -> None:
    """Makes the library ``name`` of objects, in ``directory``.

    :raises DeviceError: if there is no compiler, or it fails.
    """
    call([toolchain.compiler(), *LINK, "-o", name, *map(str, objects), *libraries], directory)


def call(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program in a directory.

    :raises DeviceError: with the first line in which it says what is wrong, if it fails.
    """
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        reason = next((line for line in said if "error" in line.lower()), f"exit code {done.returncode}")
        raise DeviceError(f"{Path(command[0]).name} failed: {reason}")


def load_library(path: Path, prefix: str, signatures: Mapping[str, Signature], what: str) -> ctypes.CDLL:
    """Loads a compiled library and says what its functions take and return.

    :param prefix: what the names of its functions begin with.
    :param signatures: result and arguments by the rest of the name.
    :param what: what the library is, for messages.
    :raises DeviceError: if it cannot be loaded, or lacks one of the functions.
    """
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in signatures.items():
            function = getattr(library, f"{prefix}_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise DeviceError(f"the {what} cannot be loaded ({error}); remove {path.parent} to make it again") from None
    return library
