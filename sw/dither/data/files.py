"""Data files: where they are, how they get there, and whether they are what they should be."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..tools.files import AnyPath, write_atomically

__all__ = ["DATA_VARIABLE", "LARGEST", "DataError", "RemoteFile", "content_of", "data_folder", "read_file", "unpacked"]

DATA_VARIABLE = "DITHER_DATA"
"""Name of the environment variable that holds the folder of data files."""
TIMEOUT = 30.0
"""Seconds without an answer after which a server is given up."""
LARGEST = 1 << 28
"""Most bytes of a data file, packed or unpacked."""


class DataError(ValueError):
    """A data file is missing or damaged; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that servers offer in gzip's format."""

    name: str
    """Name of the file without ``.gz``."""
    sha256: str
    """SHA-256 of the unpacked content."""


def data_folder(name: str, given: AnyPath | None = None) -> tuple[Path, bool]:
    """Returns the folder of a data set's files, and whether the user chose it.

    :param name: name of the data set, and of its folder in the user's cache.
    :param given: the chosen folder; if None, the environment variable ``DITHER_DATA`` counts, then
        the user's cache. The files are in it, or in a folder in it that has the data set's name.
    """
    if chosen := given or os.environ.get(DATA_VARIABLE):
        own = Path(chosen) / name
        return own if own.is_dir() else Path(chosen), True
    return platformdirs.user_cache_path("dither", appauthor=False) / "data" / name, False


def read_file(file: RemoteFile, folder: Path, mirrors: Sequence[str], *, download: bool) -> bytes:
    """Returns the content of a data file, unpacked and checked.

    The file lies in the folder as ``NAME`` or ``NAME.gz``.

    :param mirrors: URLs of folders that hold ``NAME.gz``, tried one after the other.
    :param download: whether to fetch a missing file into the folder.
    :raises DataError: if it is missing and cannot be fetched, or its digest is wrong.
    """
    plain, packed = folder / file.name, folder / f"{file.name}.gz"
    try:
        if plain.is_file():
            return _checked(file, content_of(plain), plain)
        if packed.is_file():
            return _checked(file, unpacked(content_of(packed), packed), packed)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None
    if not download:
        raise DataError(f"{folder} holds neither {plain.name} nor {packed.name}; give another folder with --data")
    return _fetched(file, packed, mirrors)


def _fetched(file: RemoteFile, target: Path, mirrors: Sequence[str]) -> bytes:
    """Downloads a file from the first mirror that has it right."""
    complaints = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                content = answer.read(LARGEST)
            found = _checked(file, unpacked(content, url), url)
        except (OSError, ValueError) as error:
            # URL errors wrap the interesting one; their own text is noise.
            complaints.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
        except OSError as error:
            raise DataError(f"cannot write {target}: {error.strerror}; choose another folder with --data") from None
        return found
    raise DataError(
        f"{file.name} is not in {target.parent} and could not be downloaded ({'; '.join(complaints)}); "
        f"put {target.name} into a folder and give it with --data"
    )


def content_of(path: Path) -> bytes:
    """Returns the bytes of a data file.

    :raises DataError: if there are too many.
    :raises OSError: if it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is larger than any data file; remove it, or get it again")
    return path.read_bytes()


def unpacked(content: bytes, where: Path | str) -> bytes:
    """Returns what gzip packed.

    :param where: name for messages.
    :raises DataError: if it is no whole gzip file, or would be too large.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error):
        raise DataError(f"{where} is no whole gzip file; remove it, or get it again") from None
    if len(found) > LARGEST:
        raise DataError(f"{where} would be larger than any data file, unpacked; remove it, or get it again")
    return found


def _checked(file: RemoteFile, content: bytes, where: Path | str) -> bytes:
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(
            f"{where} is damaged, or of another data set: its digest is not that of the {file.name} that is wanted; "
            f"get it again, or name another folder with --data"
        )
    return content
