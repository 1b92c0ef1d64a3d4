"""Where data files are, and how they get there."""

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
from functools import partial
from pathlib import Path
from typing import IO

import platformdirs

from ..tools.files import write_atomically

__all__ = ["DATA_VARIABLE", "DataError", "RemoteFile", "data_folder", "read_file"]

DATA_VARIABLE = "DITHER_DATA"
"""Environment variable with the folder of data files."""
TIMEOUT = 30.0
"""Seconds without an answer before a server is given up."""
LARGEST = 1 << 28
"""Bytes that no data file exceeds, packed or not."""


class DataError(ValueError):
    """A data file is missing or damaged; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that servers have in gzip's format."""

    name: str
    """Without ``.gz``."""
    sha256: str
    """Of the content, unpacked."""


def data_folder(name: str, given: Path | None = None) -> tuple[Path, bool]:
    """The folder of a data set's files, and whether people chose it.

    :param name: of the data set: its folder within the user's cache, where nobody chose another.
    :param given: the folder, if not None; else the environment variable ``DITHER_DATA`` counts.
    """
    chosen = given or (Path(found) if (found := os.environ.get(DATA_VARIABLE)) else None)
    if chosen is not None:
        return chosen, True
    return platformdirs.user_cache_path("dither", appauthor=False) / "data" / name, False


def read_file(file: RemoteFile, folder: Path, mirrors: Sequence[str], *, download: bool) -> bytes:
    """The content of a file, unpacked and checked; it lies in the folder as ``NAME`` or
    ``NAME.gz``.

    :param mirrors: URLs of folders that hold ``NAME.gz``, tried one after the other.
    :param download: whether to fetch a missing file into the folder.
    :raises DataError: if it is missing and cannot be fetched, or its digest is wrong.
    """
    plain, packed = folder / file.name, folder / f"{file.name}.gz"
    try:
        if plain.is_file():
            return _checked(file, _content(plain), plain)
        if packed.is_file():
            return _checked(file, _unpacked(_content(packed), packed), packed)
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
            found = _checked(file, _unpacked(content, url), url)
        except (OSError, ValueError) as error:
            # URL errors wrap the interesting one; their own text is noise.
            complaints.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, partial(_write, content))
        except OSError as error:
            raise DataError(f"cannot write {target}: {error.strerror}; choose another folder with --data") from None
        return found
    raise DataError(
        f"{file.name} is not in {target.parent} and could not be downloaded ({'; '.join(complaints)}); "
        f"put {target.name} into a folder and give it with --data"
    )


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is larger than any data file; remove it, or get it again")
    return path.read_bytes()


def _unpacked(content: bytes, where: Path | str) -> bytes:
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
        raise DataError(f"{where} is damaged: its digest is not that of {file.name}; remove it, or get it again")
    return content
