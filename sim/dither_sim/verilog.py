"""Verilog from Amaranth components, by way of RTLIL and Yosys."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from dither.arch.config import EngineConfig
from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.sources import source_files
from dither.tools.toolchain import run_yosys, yosys_version

from . import registers
from .fabrics import CELL_MODELS, Fabric

__all__ = ["emit", "emit_engine", "emit_part"]

_SCRIPT = "read_rtlil in.il; proc -nomux -norom; memory_collect; write_verilog -sv -norename -noattr out.sv"
"""Script for Yosys.

Processes stay blocks with branches, as multiplexer trees simulate slower. ``-sv`` writes
``always_comb``: the ``always @*`` of plain Verilog need not run at time 0, and some simulators do
not run it then.
"""

_LEAST_SECONDS, _MULTIPLIER_SECONDS = 110.0, 0.25
"""Seconds of a processor from an engine's description to a compiled simulation, roughly, and more
for each of its multipliers. Most of it is Yosys, which compiles itself once on a machine, and the
C++ compiler.
"""


@contextmanager
def _memories_of_zeros_as_they_are() -> Iterator[None]:
    """Lets Amaranth write no initial contents of memories that start as zeros.

    It writes a digit for each of their bits, which takes it, Yosys and the C++ compiler longer than
    all the rest; simulators with two states start memories as zeros anyhow.
    """
    emitter = rtlil.ModuleEmitter
    whole = emitter.emit_memory

    def emit_memory(self: Any, index: int, cell: Any) -> None:
        if any(cell.init):
            whole(self, index, cell)

    emitter.emit_memory = emit_memory
    try:
        yield
    finally:
        emitter.emit_memory = whole


def emit(component: Any, name: str, ports: Sequence[Any] | None = None, *, fabric: Fabric | None = None) -> str:
    """Returns the SystemVerilog text of a component and all below it; the top module is ``name``.

    Ports are those of the component's signature, flat (``input__payload``), and ``clk`` and
    ``rst``; other elaboratables need ``ports``. Memories that start as zeros are left without
    initialisation, as simulators with two states start them so anyhow. Registers are rewritten for
    speed by :mod:`dither_sim.registers`. The text is cached under the RTLIL's digest.

    :param fabric: the FPGA whose cells the component is to use, for those with
        :data:`fabrics.CELL_MODELS`; their models come with the text.
    :raises DeviceError: if Yosys is missing or fails.
    """
    with collector_paused(), _memories_of_zeros_as_they_are():
        text = rtlil.convert(component, name=name, ports=ports, platform=fabric, emit_src=False)
    models = CELL_MODELS[fabric].read_text() if fabric is not None else ""

    def build(directory: Path) -> None:
        (directory / "in.il").write_text(text)
        run_yosys(_SCRIPT, directory)
        (directory / "in.il").unlink()
        verilog = directory / "out.sv"
        verilog.write_text(registers.merge_registers(verilog.read_text()))

    return models + (cached("verilog", digest(text, *_method()), build) / "out.sv").read_text()


def emit_engine(config: EngineConfig, on_status: Callable[[str], None] = lambda text: None) -> str:
    """Returns the SystemVerilog text of an engine, with top module ``engine``.

    It is cached as :func:`emit_part`'s.
    """
    key = {"config": config.to_dict()}
    return emit_part("dither_hw.engines", "make_engine", "engine", key, on_status, config=config)


def emit_part(
    module: str,
    component: str,
    name: str,
    key: Mapping[str, Any],
    on_status: Callable[[str], None] = lambda text: None,
    *,
    config: EngineConfig,
    **arguments: Any,
) -> str:
    """Returns the SystemVerilog text of a component of the gateware, top module ``name``.

    Elaborating a large engine takes longer than all the rest, so this text is also cached, under
    the digest of the sources that it comes from.

    :param module: name of the module that has the component.
    :param component: name of the component's class.
    :param key: what stands for its arguments in the cache, as plain data.
    :param on_status: called with how long all of a simulation takes, if the cache has no text.
    :param config: configuration of its engine, an argument of its constructor.
    :param arguments: its constructor's other arguments.
    :raises DeviceError: if Yosys is missing or fails.
    """

    def build(directory: Path) -> None:
        minutes = (_LEAST_SECONDS + _MULTIPLIER_SECONDS * config.multipliers) / 60
        on_status(
            f"making a simulation of the {name} takes up to {minutes:.1f} minutes of a processor, once; "
            "the golden machine gives the same bits without"
        )
        made = getattr(importlib.import_module(module), component)(config=config, **arguments)
        (directory / "out.sv").write_text(emit(made, name))

    sources = [path.read_text() for path in source_files(module)]
    digested = digest(dict(key), sources, metadata.version("amaranth"), *_method())
    return (cached(f"{name}-verilog", digested, build) / "out.sv").read_text()


def _method() -> tuple[str, ...]:
    """Returns what else an emitted text depends on: script, this package's code, Yosys."""
    return _SCRIPT, Path(registers.__file__).read_text(), Path(__file__).read_text(), yosys_version()
