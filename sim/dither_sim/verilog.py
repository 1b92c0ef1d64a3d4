"""Verilog from Amaranth components, by way of RTLIL and Yosys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from . import registers
from .cache import cached, digest
from .toolchain import run_yosys, yosys_version

__all__ = ["emit"]

_SCRIPT = "read_rtlil in.il; proc -nomux -norom; memory_collect; write_verilog -sv -norename -noattr out.sv"
"""Processes stay blocks with branches, as multiplexer trees simulate slower. ``-sv`` writes ``always_comb``: the
``always @*`` of plain Verilog need not run at time 0, and some simulators don't run it then."""

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

    rewriting = Path(registers.__file__).read_text()
    return (cached("verilog", digest(text, _SCRIPT, rewriting, yosys_version()), build) / "out.sv").read_text()
