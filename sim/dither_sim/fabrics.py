"""FPGAs as simulations know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CELL_MODELS", "ECP5", "ICE40UP5K", "Fabric"]


@dataclass(frozen=True, slots=True)
class Fabric:
    """An FPGA without pins: all that gateware asks a platform for when it chooses primitives."""

    device: str
    """As Amaranth's platforms call it."""


ICE40UP5K = Fabric("iCE40UP5K")
ECP5 = Fabric("LFE5U-85F")

CELL_MODELS = {ECP5: Path(__file__).with_name("ecp5.sv")}
"""SystemVerilog of those cells that the gateware instantiates itself, where this project has models
of its own: Yosys has none of an ECP5's multipliers and block RAMs."""
