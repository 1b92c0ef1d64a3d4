"""Files: what names one, and writing them so that nothing is lost when the power fails.

What is written is there wholly or not at all, and what counts on something else is written only
after that has reached the disk. Everything that changes run folders goes through these functions,
so that a test can record it and cut the power behind every step.
"""

from __future__ import annotations

import io
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = ["AnyPath", "append", "make_folders", "remove", "require_folder", "sync", "truncate", "write_atomically"]

AnyPath = str | os.PathLike[str]
"""Path of a file or folder, as functions take it: a text or a ``pathlib.Path``."""


def write_atomically(path: AnyPath, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Writes a file so that it has its old content or the new, at any moment and after any crash.

    It writes the content to a temporary file beside ``path`` and moves that over ``path``. Nobody
    can guess the temporary file's name, and it is never an existing file or link.

    :param content: the bytes, or what writes them when it is called with a file in memory.
    :raises OSError: if the folder cannot be written; ``path`` is then as it was.
    """
    path = Path(path)
    if not isinstance(content, bytes):
        memory = io.BytesIO()
        content(memory)
        content = memory.getvalue()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def append(path: Path, content: bytes) -> None:
    """Adds bytes to the end of an existing file; :func:`sync` makes sure that they stay.

    :raises OSError: if the file is missing or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write(descriptor, content)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Waits until the content of a file, or the list of names in a folder, is on the disk.

    :raises OSError: if the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def truncate(path: Path, size: int) -> None:
    """Cuts a file off behind so many bytes.

    :raises OSError: if it cannot be written.
    """
    os.truncate(path, size)


def remove(path: Path) -> None:
    """Removes a file, if it is there.

    :raises OSError: if the folder cannot be written.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)


def make_folders(path: Path) -> None:
    """Makes a folder and those above it, as far as they are missing, and syncs them.

    :raises OSError: if one cannot be made, or a file is in the way.
    """
    if path.is_dir():
        return
    make_folders(path.parent)
    os.mkdir(path)
    sync(path.parent)


def require_folder(path: Path) -> None:
    """Checks that files could be made in a folder, which need not be there yet, and leaves nothing.

    :raises OSError: if they could not.
    """
    made = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    finally:
        for each in made:
            with suppress(OSError):
                each.rmdir()


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
