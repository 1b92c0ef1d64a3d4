"""FPGAs as simulations know them: names, and models of their cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CELL_MODELS", "ECP5", "ICE40UP5K", "Fabric"]


@dataclass(frozen=True, slots=True)
class Fabric:
    """An FPGA without pins: all that gateware asks of a platform when it chooses primitives."""

    device: str
    """Name of the FPGA, as Amaranth's platforms call it."""


ICE40UP5K = Fabric("iCE40UP5K")
"""The iCE40 UltraPlus, in simulations."""
ECP5 = Fabric("LFE5U-85F")
"""The largest ECP5, in simulations."""

CELL_MODELS = {ECP5: Path(__file__).with_name("ecp5.sv")}
"""SystemVerilog files with this project's own models of cells that the gateware instantiates.

Yosys has no models of an ECP5's multipliers and block RAMs.
"""
