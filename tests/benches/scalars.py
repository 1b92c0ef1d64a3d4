"""Loads the scalar tables of a component that has their ``load`` port."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dither.arch.streams import SCALAR_TABLE_BITS

from .memories import UnitMachine

__all__ = ["load_scalar_tables"]


async def load_scalar_tables(machine: UnitMachine, values: NDArray[np.int64], slopes: NDArray[np.int64]) -> None:
    """One entry a cycle, in address order."""
    dut, mask = machine.dut, (1 << SCALAR_TABLE_BITS) - 1
    dut.load__enable.value = 1
    for address, (value, slope) in enumerate(zip(values.tolist(), slopes.tolist(), strict=True)):
        dut.load__addr.value = address
        dut.load__value.value = value & mask
        dut.load__slope.value = slope & mask
        await machine.cycle()
    dut.load__enable.value = 0
