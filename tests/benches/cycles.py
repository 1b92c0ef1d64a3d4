"""Stepping a bench cycle by cycle.

Inputs change just after the rising edge; outputs are read at the falling edge, when all have
settled.
"""

from __future__ import annotations

from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

__all__ = ["begin", "next_cycle", "settled"]


async def begin(dut: Any, **inputs: int) -> None:
    """Start the clock, give these inputs their first values, reset; ends in the first cycle after
    the reset.
    """
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    for name, value in inputs.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0


async def settled(dut: Any) -> None:
    """To the moment of this cycle at which outputs are to be looked at."""
    await FallingEdge(dut.clk)


async def next_cycle(dut: Any) -> None:
    """To the beginning of the next cycle, where inputs are to be changed."""
    await RisingEdge(dut.clk)
