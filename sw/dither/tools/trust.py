"""Which files of Python code a user has named to be run here, and in which state.

A run folder or a configuration file may come from anybody. If it names a file of code, that file is
run only if the user has named it himself on this machine, and it has not changed since.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from .files import AnyPath

__all__ = ["allow", "allowed"]

_here: set[str] = set()
"""Lines of this process: they count even where nothing can be written."""


def allow(path: AnyPath) -> None:
    """Remembers that the user has named a file of code, as it is now.

    :raises OSError: if the file cannot be read.
    """
    line = _line(Path(path), Path(path).read_bytes())
    if line in _lines():
        return
    _here.add(line)
    store = _store()
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(store, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode(errors="surrogateescape"))
        finally:
            os.close(descriptor)
    except OSError:
        pass  # Somebody without a home names his files again.


def allowed(path: AnyPath, content: bytes) -> bool:
    """Returns whether the user has named a file of code while it had this content."""
    return _line(Path(path), content) in _lines()


def _lines() -> set[str]:
    try:
        return _here | set(_store().read_bytes().decode(errors="surrogateescape").splitlines())
    except OSError:
        return _here


def _line(path: Path, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()} {str(path.resolve())!r}"


def _store() -> Path:
    return platformdirs.user_state_path("dither", appauthor=False) / "named-code"
