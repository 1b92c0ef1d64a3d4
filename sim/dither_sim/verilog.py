"""Verilog from Amaranth components, by way of RTLIL and Yosys."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from dither.engine import EngineConfig

from . import registers
from .cache import cached, digest
from .toolchain import run_yosys, yosys_version

__all__ = ["emit", "emit_engine", "source_files"]

_SCRIPT = "read_rtlil in.il; proc -nomux -norom; memory_collect; write_verilog -sv -norename -noattr out.sv"
"""Processes stay blocks with branches, as multiplexer trees simulate slower. ``-sv`` writes ``always_comb``: the
``always @*`` of plain Verilog need not run at time 0, and some simulators don't run it then."""

_PROJECT = ("dither", "dither_hw", "dither_sim")
_ZEROS = re.compile(r"^  initial begin\n(?:    \S+ ?\[\d+\] = \d+'h0+;\n)+  end\n", re.MULTILINE)


def emit(component: Any, name: str, ports: Sequence[Any] | None = None) -> str:
    """SystemVerilog text of a component and all below it; the top module is ``name``.

    Ports are those of the component's signature, flat (``input__payload``), and ``clk`` and ``rst``; other
    elaboratables need ``ports``. Memories that start as zeros are left without initialisation: simulators with two
    states start them so anyhow, and thousands of assignments take minutes to compile. Registers are rewritten for
    speed by :mod:`dither_sim.registers`. The text is cached under the RTLIL's digest.

    :raises DeviceError: if Yosys is missing or fails.
    """
    text = rtlil.convert(component, name=name, ports=ports, emit_src=False)

    def build(directory: Path) -> None:
        (directory / "in.il").write_text(text)
        run_yosys(_SCRIPT, directory)
        (directory / "in.il").unlink()
        verilog = directory / "out.sv"
        verilog.write_text(registers.merge_registers(_ZEROS.sub("", verilog.read_text())))

    return (cached("verilog", digest(text, *_method()), build) / "out.sv").read_text()


def emit_engine(config: EngineConfig) -> str:
    """:func:`emit` of ``dither_hw.engine.Engine(config)`` as top module ``engine``.

    Elaborating a large engine takes longer than all the rest, so this text is also cached under the digest of the
    sources that it comes from.
    """

    def build(directory: Path) -> None:
        from dither_hw.engine import Engine

        (directory / "out.sv").write_text(emit(Engine(config), "engine"))

    sources = [path.read_text() for path in source_files("dither_hw.engine")]
    key = digest(config.to_dict(), sources, metadata.version("amaranth"), *_method())
    return (cached("engine-verilog", key, build) / "out.sv").read_text()


def _method() -> tuple[str, ...]:
    """What else an emitted text depends on."""
    return _SCRIPT, Path(registers.__file__).read_text(), Path(__file__).read_text(), yosys_version()


def source_files(module: str) -> list[Path]:
    """The files of a module and of all that it imports from this project, directly or not, in alphabetical order."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name) if name not in found else None
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        waiting += [imported for imported in _imports(found[name], name, spec.parent or "") if _exists(imported)]
    return sorted(found.values())


def _imports(path: Path, module: str, package: str) -> Iterator[str]:
    """Names that may be modules of the project: what is imported, and members of packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            names = [str(base), *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.partition(".")[0] in _PROJECT and name != module:
                yield name


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
