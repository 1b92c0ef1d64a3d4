"""Compiles the engine's Verilog and the harness into a shared library.

Verilator writes C++; this module calls the compiler itself, for what Verilator's makefile cannot give:
position-independent code with hidden symbols (several models live in one process), other options for code that runs
once, and a runtime that is compiled once for all engines.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dither.device import DeviceError

from .. import toolchain
from ..cache import cached, digest

__all__ = ["TRACE_FORMATS", "build_library"]

TRACE_FORMATS = {".vcd": 1, ".fst": 2}
"""Waveform formats by suffix, and what the harness calls them."""

_HARNESS = Path(__file__).with_name("harness.cpp")
_BENCH = Path(__file__).with_name("bench.sv")
_VERILATE = ["--cc", "--make", "json", "--prefix", "Vbench", "--top-module", "bench", "-O3", "--x-assign", "fast",
             "--x-initial", "fast", "--noassert", "--no-timing", "-Wno-fatal", "-Wno-lint", "--quiet",
             "--output-split", "20000"]  # fmt: skip
_COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-march=native", "-w"]
_FAST = ["-O2"]
_SLOW = ["-O0"]
_KINDS = ("classes_fast", "classes_slow", "support_fast", "support_slow", "global")
_LINK = ["-shared", "-Wl,-Bsymbolic", "-pthread"]


def build_library(
    verilog: str, beat_width: int, trace: str | None = None, on_status: Callable[[str], None] = lambda text: None
) -> Path:
    """Path of the library for a top module ``engine``; compiled if the cache hasn't got it.

    :param beat_width: bits of a stream beat.
    :param trace: a key of :data:`TRACE_FORMATS` for a model that can write waveforms (and is slower).
    :param on_status: told what is going on before it takes long.
    :raises DeviceError: if a tool is missing or fails.
    """
    if trace == ".fst" and not (toolchain.has_header("lz4.h") and toolchain.has_header("zlib.h")):
        raise DeviceError(
            "FST waveforms need lz4 and zlib: apt-get install liblz4-dev zlib1g-dev, or ask for a .vcd file"
        )
    key = digest(
        [verilog, _BENCH.read_text(), _HARNESS.read_text(), beat_width, trace],
        [_VERILATE, _COMMON, _FAST, _SLOW, _LINK],
        [toolchain.verilator().version, toolchain.compiler_identity()],
    )

    def build(directory: Path) -> None:
        on_status("verilating the engine")
        sources = _verilate(directory, verilog, beat_width, trace)
        on_status(f"compiling the engine, {sum(map(len, sources.values()))} files (kept for the next time)")
        _compile_all(directory, sources, beat_width, trace)
        for path in directory.iterdir():
            if path.name not in ("engine.so", "engine.sv"):
                path.unlink()

    return cached("engines", key, build) / "engine.so"


def _verilate(directory: Path, verilog: str, beat_width: int, trace: str | None) -> dict[str, list[Path]]:
    """Writes the model's C++; returns its files and the runtime's by kind, as Verilator calls them."""
    tool = toolchain.verilator()
    (directory / "engine.sv").write_text(verilog)
    tracing = [f"--trace-{trace[1:]}"] if trace else []
    options = [*_VERILATE, *tracing, f"-GBEAT_WIDTH={beat_width}", "--Mdir", "."]
    _call([str(tool.binary), *options, str(_BENCH), "engine.sv"], directory, tool.environment())
    plan = json.loads((directory / "Vbench.json").read_text())["sources"]
    return {kind: [directory / name for name in plan.get(kind, [])] for kind in _KINDS}


def _compile_all(directory: Path, sources: dict[str, list[Path]], beat_width: int, trace: str | None) -> None:
    """Makes ``engine.so`` of the model, the harness and the runtime."""
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
    flags = [
        *_COMMON,
        *(f"-D{name}={value}" for name, value in macros.items()),
        f"-I{include}",
        f"-I{include / 'vltstd'}",
    ]
    runtime_key = digest(
        flags, _FAST, [path.name for path in sources["global"]], tool.version, toolchain.compiler_identity()
    )
    runtime = cached(
        "verilator-runtime", runtime_key, lambda place: _compile(place, sources["global"], [*flags, *_FAST])
    )

    harness = [f"-DDITHER_BEAT_WORDS={-(-beat_width // 32)}", f"-DDITHER_TRACE={TRACE_FORMATS[trace] if trace else 0}"]
    _compile(directory, [_HARNESS], [*flags, *_FAST, *harness, "-I."])
    _compile(directory, sources["classes_fast"] + sources["support_fast"], [*flags, *_FAST])
    _compile(directory, sources["classes_slow"] + sources["support_slow"], [*flags, *_SLOW])
    objects = [str(path) for place in (directory, runtime) for path in sorted(place.glob("*.o"))]
    libraries = ["-llz4", "-lz"] if trace == ".fst" else []
    _call([toolchain.compiler(), *_LINK, "-o", "engine.so", *objects, *libraries], directory)


def _compile(directory: Path, sources: list[Path], flags: list[str]) -> None:
    """Compiles sources into objects in ``directory``, all cores at work."""
    # The largest first, so that no big file is left over for one core at the end.
    sources = sorted(sources, key=lambda path: path.stat().st_size, reverse=True)
    commands = [[toolchain.compiler(), *flags, "-c", str(source), "-o", f"{source.stem}.o"] for source in sources]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda command: _call(command, directory), commands))


def _call(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        reason = next((line for line in said if "error" in line.lower()), f"exit code {done.returncode}")
        raise DeviceError(f"{Path(command[0]).name} failed: {reason}")
