"""A content-addressed cache of what takes long to make: Verilog texts, compiled simulations."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

__all__ = ["cache_directory", "cached", "digest", "forget"]


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

    It is made under another name and moved when complete, so it is there wholly or not at all. Of
    several processes that want the same key one builds and the others wait for it.
    """
    place = cache_directory() / kind / key
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")):
        if not place.is_dir():
            draft = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=place.parent))
            try:
                build(draft)
                draft.chmod(0o755)
                draft.rename(place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return place


def forget(kind: str, key: str) -> None:
    """Removes the directory ``kind/key`` from the cache, if it is there."""
    shutil.rmtree(cache_directory() / kind / key, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
