"""FPGAs as simulations know them: names, and models of their cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CELL_MODELS", "ECP5", "GW1N", "GW2A", "ICE40UP5K", "Fabric"]


@dataclass(frozen=True, slots=True)
class Fabric:
    """An FPGA without pins: all that gateware asks of a platform when it chooses primitives."""

    device: str
    """Name of the FPGA, as Amaranth's platforms call it."""


ICE40UP5K = Fabric("iCE40UP5K")
"""The iCE40 UltraPlus, in simulations."""
ECP5 = Fabric("LFE5U-85F")
"""The largest ECP5, in simulations."""

GW2A = Fabric("GW2AR-LV18QN88C8/I7")
"""The GW2AR-18 of the Tang Nano 20K, in simulations."""
GW1N = Fabric("GW1NR-LV9QN88PC6/I5")
"""The GW1NR-9 of the Tang Nano 9K, in simulations."""

_GOWIN = Path(__file__).with_name("gowin.sv")
CELL_MODELS = {
    ECP5: Path(__file__).with_name("ecp5.sv"),
    GW1N: _GOWIN,
    GW2A: _GOWIN,
    ICE40UP5K: Path(__file__).with_name("ice40.sv"),
}
"""SystemVerilog files with this project's own models of cells.

Yosys has no models of multipliers and block RAMs of ECP5 and of Gowin's FPGAs, nor of logic cells
as nextpnr places them that Verilator takes.
"""
