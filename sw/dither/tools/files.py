"""Files: what names one, and writing one so that a crash leaves old content or new, no mixture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["AnyPath", "write_atomically"]

AnyPath = str | os.PathLike[str]
"""Path of a file or folder, as functions take it: a text or a ``pathlib.Path``."""


def write_atomically(path: AnyPath, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file so that it has its old content or the new, at any moment and after any crash.

    It calls ``write`` with a temporary file beside ``path``, then moves that over ``path``.

    :raises OSError: if the folder cannot be written; ``path`` is then as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
