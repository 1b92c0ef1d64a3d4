"""A content-addressed cache of what takes long to make: Verilog texts, compiled simulations."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from .files import sync

__all__ = ["CacheError", "cache_directory", "cached", "digest", "forget"]

_DIGESTS = ".digests"
"""File, in a made directory, with the digest of every other one."""


class CacheError(RuntimeError):
    """Something can be kept nowhere; the message is one line and says what to do."""


def cache_directory() -> Path:
    """Returns the cache's folder: ``$DITHER_CACHE``, or ``dither`` in the user's cache."""
    if chosen := os.environ.get("DITHER_CACHE"):
        return Path(chosen).resolve()
    return platformdirs.user_cache_path("dither", appauthor=False)


def digest(*parts: object) -> str:
    """Returns a key of 32 hexadecimal digits for all that a made thing depends on.

    :param parts: texts, numbers, lists and dictionaries, as JSON can hold them.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Returns the directory ``kind/key`` of the cache, which ``build(directory)`` makes if missing.

    It is made under another name and moved when it is complete and on the disk, together with the
    digests of its files; what does not match its digests any more is made again. Of several
    processes that want the same key one builds and the others wait for it. Where the cache cannot
    be written, what it lacks is made in a folder of this process.

    :raises CacheError: if there is no room for it anywhere.
    """
    place = cache_directory() / kind / key
    if _whole(place):
        return place
    try:
        if not _writable(place.parent):
            place = _private_directory() / kind / key
            place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.parent, key):
            if not _whole(place):
                _make(place, build)
    except OSError as error:
        reason = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        raise CacheError(
            f"cannot make {kind} in {place.parent}: {reason}; make room, or choose another folder with DITHER_CACHE"
        ) from None
    return place


def forget(kind: str, key: str) -> None:
    """Removes the directory ``kind/key`` from the cache, if it is there."""
    shutil.rmtree(cache_directory() / kind / key, ignore_errors=True)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _make(place: Path, build: Callable[[Path], None]) -> None:
    """Makes a directory that is missing or damaged; whoever calls holds the lock of its key."""
    _sweep(place.parent, place.name)
    draft = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        build(draft)
        digests = {str(path.relative_to(draft)): _file_digest(path) for path in _files(draft)}
        (draft / _DIGESTS).write_text(json.dumps(digests, sort_keys=True))
        for path in (*_files(draft), draft / _DIGESTS, *(path for path in draft.rglob("*") if _is_folder(path)), draft):
            sync(path)
        draft.chmod(0o755)
        if place.exists():
            place.rename(draft.with_suffix(".damaged"))
        draft.rename(place)
        sync(place.parent)
    finally:
        for path in (draft, draft.with_suffix(".damaged")):
            shutil.rmtree(path, ignore_errors=True)


def _sweep(folder: Path, mine: str) -> None:
    """Removes drafts whose makers died: nobody holds the lock of their key.

    :param mine: the key whose lock is held here.
    """
    for draft in folder.glob("*.*"):
        key = draft.name.partition(".")[0]
        if not _is_folder(draft):
            continue
        if key == mine:
            shutil.rmtree(draft, ignore_errors=True)
        else:
            with contextlib.suppress(BlockingIOError), _locked(folder, key, fcntl.LOCK_NB):
                shutil.rmtree(draft, ignore_errors=True)


def _whole(place: Path) -> bool:
    """Whether a directory is there and holds what it was made with."""
    try:
        digests = json.loads((place / _DIGESTS).read_text())
        return all(_file_digest(place / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _files(folder: Path) -> list[Path]:
    """All files below a folder but links, which may lead anywhere."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _private_directory() -> Path:
    """A folder of this process, instead of a cache that cannot be written; removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="dither-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _locked(folder: Path, key: str, flags: int = 0) -> Iterator[None]:
    with (folder / f"{key}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
        yield
