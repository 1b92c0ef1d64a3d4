"""Compiles the native machine for this processor, once, and loads it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..arch.isa import STACK_DEPTH
from ..tools import toolchain
from ..tools.cache import cached, digest
from ..tools.compiled import COMMON, LINK, Signature, compile_all, link, load_library
from .facts import header

__all__ = ["SOURCES", "Hooks", "Outcome", "Range", "Segment", "library"]

_FLAGS = [*COMMON, "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
"""Products and sums may become one operation, because all of them are exact."""
_NAME = "native.so"
SOURCES = Path(__file__).parent
"""Folder of the C++ that is compiled."""


class Segment(ctypes.Structure):
    """Words of one kind in a stream."""

    _fields_ = [("kind", ctypes.c_int64), ("words", ctypes.c_int64), ("values", ctypes.c_void_p)]


class Outcome(ctypes.Structure):
    """Why a run ended, and how far it came."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("fault", "address", "kind", "words")),
        *((name, ctypes.c_int64) for name in ("input", "taken", "output", "filled", "open")),
        ("entries", ctypes.c_int64 * (2 * STACK_DEPTH)),
    ]


class Range(ctypes.Structure):
    """The range of a CONTRACT's outputs."""

    _fields_ = [(name, ctypes.c_int64) for name in ("address", "lowest", "highest", "clips", "executions")]


class Hooks(ctypes.Structure):
    """Functions of Python that the machine calls where it has not been before."""

    PREPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    CHECK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
    LOOK = ctypes.CFUNCTYPE(ctypes.c_int)
    _fields_ = [("prepare", PREPARE), ("check", CHECK), ("look", LOOK)]


def library(on_status: Callable[[str], None]) -> ctypes.CDLL:
    """Returns the compiled machine's functions.

    :param on_status: called with what is going on before it takes long.
    :raises DeviceError: if there is no compiler, it fails, or the result cannot be loaded.
    """
    sources = sorted(SOURCES.glob("*.cpp"))

    def build(directory: Path) -> None:
        on_status("compiling the native machine (kept for the next time)")
        (directory / "facts.h").write_text(header(), "utf-8")
        compile_all(directory, sources, [*_FLAGS, f"-I{directory}"])
        objects = sorted(directory.glob("*.o"))
        link(directory, _NAME, objects)
        for path in objects:
            path.unlink()

    return _load(cached("native", _key(SOURCES), build) / _NAME)


@cache
def _key(folder: Path) -> str:
    texts = {path.name: path.read_text("utf-8") for path in sorted(folder.iterdir()) if path.suffix in (".cpp", ".h")}
    return digest(texts, header(), _FLAGS, LINK, toolchain.compiler_identity())


@cache
def _load(path: Path) -> ctypes.CDLL:
    machine, number, numbers = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
    words = ctypes.POINTER(ctypes.c_int32)
    signatures: dict[str, Signature] = {
        "new": (machine, [words, number, number, ctypes.c_int64, Hooks]),
        "delete": (None, [machine]),
        "forget": (None, [machine]),
        "define": (None, [machine, number, number, number, number, numbers, number, words, number]),
        "run": (
            None,
            [
                *(machine, number, ctypes.POINTER(Segment), number, ctypes.POINTER(Segment), number, numbers),
                ctypes.POINTER(Outcome),
            ],
        ),
        "read": (None, [machine, number, numbers]),
        "ranges": (number, [machine, ctypes.POINTER(Range)]),
    }
    return load_library(path, "dither_native", signatures, "native machine")
