"""Compiles the engine's Verilog and the harness into a shared library.

Verilator writes C++; this module calls the compiler itself, for what Verilator's makefile cannot give: position-independent
code with hidden symbols (several models live in one process), other options for code that runs once, and a runtime that is
compiled once for all engines.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
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
    tool = toolchain.verilator()
    key = digest(verilog, _BENCH.read_text(), _HARNESS.read_text(), beat_width, trace, _VERILATE, _COMMON, _FAST, _SLOW, _LINK, tool.version,
                 toolchain.compiler_identity())  # fmt: skip

    def build(directory: Path) -> None:
        _build(directory, verilog, beat_width, trace, on_status)

    return cached("engines", key, build) / "engine.so"


def _build(directory: Path, verilog: str, beat_width: int, trace: str | None, on_status: Callable[[str], None]) -> None:
    tool = toolchain.verilator()
    (directory / "engine.sv").write_text(verilog)
    on_status("verilating the engine")
    tracing = [f"--trace-{trace[1:]}"] if trace else []
    _call(
        [str(tool.binary), *_VERILATE, *tracing, f"-GBEAT_WIDTH={beat_width}", "--Mdir", ".", str(_BENCH), "engine.sv"],
        directory,
        tool.environment(),
    )
    plan = json.loads((directory / "Vbench.json").read_text())["sources"]

    def sources(*kinds: str) -> list[Path]:
        return [directory / name for kind in kinds for name in plan.get(kind, [])]

    defines = ["-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", f"-DVM_TRACE={int(trace is not None)}",
               f"-DVM_TRACE_FST={int(trace == '.fst')}", f"-DVM_TRACE_VCD={int(trace == '.vcd')}", "-DVM_TRACE_SAIF=0",
               f"-DDITHER_BEAT_WORDS={-(-beat_width // 32)}", f"-DDITHER_TRACE={TRACE_FORMATS[trace] if trace else 0}",
               f"-I{tool.root / 'include'}", f"-I{tool.root / 'include' / 'vltstd'}", "-I."]  # fmt: skip
    fast = [_HARNESS, *sources("classes_fast", "support_fast")]
    slow = sources("classes_slow", "support_slow")
    runtime_flags = [*_COMMON, "-O2", *(flag for flag in defines if "DITHER" not in flag)]
    runtime_sources = sources("global")
    runtime_key = digest(
        runtime_flags, [path.name for path in runtime_sources], tool.version, toolchain.compiler_identity()
    )

    on_status(f"compiling the engine, {len(fast) + len(slow)} files (kept for the next time)")
    runtime = cached(
        "verilator-runtime", runtime_key, lambda place: _compile(place, [(runtime_sources, runtime_flags)])
    )
    # The largest first, so that no big file is left over for one core at the end.
    _compile(
        directory, [(_by_size(fast), [*_COMMON, *_FAST, *defines]), (_by_size(slow), [*_COMMON, *_SLOW, *defines])]
    )
    objects = [str(path) for place in (directory, runtime) for path in sorted(place.glob("*.o"))]
    libraries = ["-llz4", "-lz"] if trace == ".fst" else []
    _call([toolchain.compiler(), *_LINK, "-o", "engine.so", *objects, *libraries], directory)
    for path in directory.iterdir():
        if path.name not in ("engine.so", "engine.sv"):
            path.unlink()


def _by_size(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_size, reverse=True)


def _compile(directory: Path, groups: list[tuple[list[Path], list[str]]]) -> None:
    """Compiles each group of sources with its flags into objects in ``directory``, all cores at work."""
    commands = [
        [toolchain.compiler(), *flags, "-c", str(source), "-o", f"{source.stem}.o"]
        for sources, flags in groups
        for source in sources
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda command: _call(command, directory), commands))


def _call(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        reason = next((line for line in said if "error" in line.lower()), f"exit code {done.returncode}")
        raise DeviceError(f"{Path(command[0]).name} failed: {reason}")
