"""Runs cocotb benches on Amaranth components, with Verilator, from any test runner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dither.arch.config import EngineConfig
from dither.tools import toolchain
from dither.tools.cache import cache_directory, cached, digest
from dither_sim.fabrics import Fabric
from dither_sim.verilog import emit

__all__ = [
    "RESULTS",
    "BenchError",
    "bench_config",
    "bench_parameters",
    "compile_bench",
    "failures",
    "log_end",
    "run_bench",
    "run_compiled",
    "simulate",
]

SEED = 20240229
"""Random seed of every bench run."""
RESULTS = "results.xml"
"""Name of the file with a run's results."""
_LOG = "log"
_PARAMETERS = "DITHER_BENCH_PARAMETERS"
_ROOT = Path(__file__).resolve().parents[2]
"""What the benches' modules are imported from."""
_LAST_LINES = 40
_LAST_BYTES = 16384


class BenchError(AssertionError):
    """A bench failed, did not end in time or had no tests; the message has each failure and the end
    of the log.
    """


def bench_parameters() -> dict[str, Any]:
    """For benches: the parameters given to :func:`run_bench`, a configuration as its dictionary."""
    parameters: dict[str, Any] = json.loads(os.environ[_PARAMETERS])
    return parameters


def bench_config() -> EngineConfig:
    """For benches: the engine configuration given to :func:`run_bench` as parameter ``config``."""
    return EngineConfig.from_dict(bench_parameters()["config"])


def run_bench(
    component: Any,
    bench_module: str,
    *,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    waves: bool = False,
    timeout: float = 300.0,
    fabric: Fabric | None = None,
) -> None:
    """Simulates ``component`` (top module ``name``) under all cocotb tests of
    ``tests.benches.<bench_module>``.

    A module name with a dot is taken as it is. ``parameters`` reach the bench through
    :func:`bench_parameters`; values are what JSON can say, or an
    :class:`~dither.arch.config.EngineConfig` (``config=``, for :func:`bench_config`). The compiled
    simulation is cached. ``waves`` keeps a ``dump.vcd`` in the ``waves`` directory of the cache.
    ``timeout`` bounds the run without the compilation, in seconds of real time. ``fabric``: see
    :func:`~dither_sim.verilog.emit`.

    :raises BenchError: if any test fails.
    :raises DeviceError: if a tool is missing.
    """
    __tracebackhide__ = True
    run_compiled(
        compile_bench(component, name, waves=waves, fabric=fabric),
        bench_module,
        name=name,
        parameters=parameters,
        waves=waves,
        timeout=timeout,
    )


def compile_bench(component: Any, name: str, *, waves: bool = False, fabric: Fabric | None = None) -> Path:
    """Returns the directory of a component's compiled simulation, for :func:`run_compiled`.

    :raises BenchError: if it does not compile.
    :raises DeviceError: if a tool is missing.
    """
    return _build(emit(component, name, fabric=fabric), name, waves)


def run_compiled(
    binaries: Path,
    bench_module: str,
    *,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    waves: bool = False,
    timeout: float = 300.0,
) -> None:
    """Runs a bench on what :func:`compile_bench` has made; all else is as for :func:`run_bench`.

    :raises BenchError: if any test fails.
    """
    __tracebackhide__ = True
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        place = cache_directory() / "waves" / name if waves else Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        (place / RESULTS).unlink(missing_ok=True)
        timed_out = simulate(
            binaries, [bench_module], place, name=name, parameters=parameters, waves=waves, timeout=timeout
        )
        trouble = failures(place / RESULTS)
        if timed_out:
            trouble.append(f"did not end within {timeout:g} s")
        if trouble:
            kept = f"\nwaveforms: {place / 'dump.vcd'}" if waves else ""
            raise BenchError(f"{bench_module} on {name}: " + "\n".join(trouble) + f"{kept}\n{log_end(place)}")


def simulate(
    binaries: Path,
    bench_modules: Sequence[str],
    place: Path,
    *,
    name: str,
    parameters: Mapping[str, Any] | None,
    timeout: float,
    waves: bool = False,
) -> bool:
    """Runs benches one behind the other on what :func:`compile_bench` has made, in a folder.

    Results are in the folder's file :data:`RESULTS` then; all else is as for :func:`run_bench`.

    :returns: whether the time was up.
    """
    arguments = {
        "test_module": ",".join(module if "." in module else f"tests.benches.{module}" for module in bench_modules),
        "hdl_toplevel": name,
        "hdl_toplevel_lang": "verilog",
        "seed": SEED,
        "waves": waves,
        "build_dir": str(binaries),
        "test_dir": str(place),
        "results_xml": str(place / RESULTS),
        "extra_env": {_PARAMETERS: json.dumps(dict(parameters or {}), default=EngineConfig.to_dict)},
    }
    return _call_runner("test", arguments, dict(os.environ), place / _LOG, timeout)


def log_end(place: Path) -> str:
    """Returns the last lines of what was said in a folder that :func:`simulate` ran in."""
    return f"--- end of the log ---\n{_end(place / _LOG)}"


def _end(log: Path) -> str:
    """The last lines of a log of any length."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_LAST_LINES:])


def failures(results: Path) -> list[str]:
    """Returns what went wrong, from cocotb's JUnit file: one text for each failed test."""
    if not results.is_file():
        return ["the simulation ended without results"]
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not any(case.find("skipped") is None for case in cases):
        return ["no tests in the bench"]
    texts = []
    for case in cases:
        for fault in (*case.findall("failure"), *case.findall("error")):
            said = fault.get("message") or fault.get("error_msg") or (fault.text or "").strip()
            texts.append(f"{case.get('name')}: {fault.get('type') or fault.get('error_type') or 'failed'}: {said}")
    return texts


def _build(verilog: str, name: str, waves: bool) -> Path:
    """Directory of the compiled simulation."""
    tool, make, cxx = toolchain.verilator(), toolchain.make(), toolchain.compiler()
    # cocotb keeps the time itself (no VL_TIME_CONTEXT), else the simulation would stand still.
    options = ["-Wno-fatal", "-Wno-lint", "--x-assign", "fast", "--x-initial", "fast", "--noassert"]
    # The makefile of the wheel names the compiler of the machine that made the wheel: override
    # every tool in it. It knows no compiler's option for precompiled headers either, which models
    # of several files need.
    flags = [
        f"CXX={cxx}",
        f"LINK={cxx}",
        "AR=ar",
        f"PYTHON3={sys.executable}",
        "OPT_FAST=-O1",
        "OPT_GLOBAL=-O1",
        "CFG_CXXFLAGS_PCH_I=-include",
    ]
    common = (waves, options, flags, tool.version, toolchain.compiler_identity(), metadata.version("cocotb"))
    # Most of a small component's compilation is Verilator's runtime: its objects are kept, and make
    # finds them up to date.
    runtime = cache_directory() / "cocotb-runtime" / digest(*common)

    def build(directory: Path) -> None:
        source = directory / f"{name}.sv"
        source.write_text(verilog)
        for compiled in runtime.glob("*.o"):
            soon = time.time() + 600  # newer than all that Verilator is about to write
            os.utime(shutil.copy(compiled, directory), (soon, soon))
        shim = directory / "bin"
        shim.mkdir()
        (shim / "verilator").symlink_to(tool.binary)
        (shim / "make").symlink_to(make)
        environment = tool.environment() | {
            "PATH": f"{shim}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "MAKEFLAGS": " ".join(flags),
            "CXXFLAGS": "-std=c++17",
        }
        arguments = {
            "sources": [str(source)],
            "hdl_toplevel": name,
            "build_args": options,
            "waves": waves,
            "build_dir": str(directory),
            "timescale": ["1ns", "1ps"],
        }
        log = directory / "log"
        _call_runner("build", arguments, environment, log, None)
        if not (directory / name).is_file():
            raise BenchError(f"{name} did not compile\n{_end(log)}")
        cached("cocotb-runtime", digest(*common), lambda place: _copy_runtime(directory, place))
        for leftover in directory.iterdir():
            if leftover.suffix in (".o", ".a", ".d", ".cpp", ".h", ".gch"):
                leftover.unlink()

    return cached("cocotb", digest(verilog, name, *common), build)


def _copy_runtime(source: Path, target: Path) -> None:
    for compiled in source.glob("verilated*.o"):
        shutil.copy(compiled, target)


def _call_runner(
    action: str, arguments: Mapping[str, Any], environment: dict[str, str], log: Path, timeout: float | None
) -> bool:
    """Calls cocotb's runner in a process group of its own: this process' environment stays clean,
    and all can be ended.

    Returns whether the time was up.
    """
    environment.pop("PYTEST_CURRENT_TEST", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *(path for path in sys.path if path)])
    command = [sys.executable, "-m", __name__, action, json.dumps(arguments)]
    with log.open("w") as file:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            return True
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
    return False


def _end_with_parent() -> None:
    """Ends the process group, simulator included, when the other side of standard input is gone."""
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


def _main(action: str, arguments: str) -> None:
    from cocotb_tools.runner import get_runner

    threading.Thread(target=_end_with_parent, daemon=True).start()
    getattr(get_runner("verilator"), action)(**json.loads(arguments))


if __name__ == "__main__":
    _main(*sys.argv[1:])
