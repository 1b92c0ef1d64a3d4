"""NumPy's archives (``.npz``), read without trusting them."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .files import AnyPath

__all__ = ["LARGEST", "read_archive"]

LARGEST = 1 << 30
"""Bytes that an archive's arrays may have in all, unpacked."""
_ENCRYPTED = 1
"""Flag of a zip archive's member."""


def read_archive(path: AnyPath, kinds: str = "iuf") -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file that ``numpy.savez`` wrote, by name.

    Sizes are checked before anything of that size is allocated, and nothing in the file is run.

    :param kinds: letters of the types that arrays may have, as NumPy has them: numbers, unless said
        otherwise; ``b`` truth values, ``U`` texts.
    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: saying in a few words why it is no usable archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.flag_bits & _ENCRYPTED for member in members):
                raise ValueError("it is encrypted")
            if sum(member.file_size for member in members) > LARGEST:
                raise ValueError(f"it holds more than {LARGEST >> 20} MiB")
            names = {member: member.filename.removesuffix(".npy") for member in members}
            return {name: _array(archive.read(member), name, kinds) for member, name in names.items()}
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except zipfile.BadZipFile:
        raise ValueError("it is no .npz file, or a damaged one") from None
    except ValueError:
        raise
    except Exception as error:
        # Bytes of any kind come here, and the parsers beneath fail in a dozen ways: an unknown
        # method of compression, a header that is no Python literal, a stream that ends too soon.
        raise ValueError(f"it is damaged ({error or type(error).__name__})") from None


def _array(content: bytes, name: str, kinds: str) -> NDArray[Any]:
    """The array in a ``.npy`` file's content."""
    file = io.BytesIO(content)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if read is None:
        raise ValueError(f"{name} has an unknown version")
    shape, fortran, dtype = read(file)
    if dtype.kind not in kinds or min(shape, default=0) < 0:
        raise ValueError(f"{name} has the type {dtype} and the shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{name}, of the shape {shape}, has {len(content) - file.tell()} bytes")
    values = np.frombuffer(content, dtype, offset=file.tell())
    if dtype.kind == "U" and values.size and values.view(dtype.str[0] + "u4").max() > sys.maxunicode:
        raise ValueError(f"{name} holds what is no text")
    return values.reshape(shape, order="F" if fortran else "C")
