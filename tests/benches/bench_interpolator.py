"""Interpolator against :func:`dither.arch.tables.interpolate`, with random tables.

Arguments are random or at the ends of segments. Parameters: ``index_bits``, ``fraction_bits``,
``value_width``, ``value_signed``, ``slope_width``, ``tables``, ``count`` of arguments.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from dither.arch.tables import interpolate
from dither.arch.timing import INTERPOLATOR_LATENCY

from .runner import bench_parameters


@cocotb.test()
async def random_tables(dut: Any) -> None:
    p = bench_parameters()
    random = Random(cocotb.RANDOM_SEED)
    width, F, index_bits = p["value_width"], p["fraction_bits"], p["index_bits"]
    entries = p["tables"] << index_bits
    lowest, highest = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if p["value_signed"] else (0, (1 << width) - 1)
    steepest = 1 << (p["slope_width"] - 1)
    values = np.array([random.choice((lowest, highest, random.randint(lowest, highest))) for _ in range(entries)])
    slopes = np.array(
        [random.choice((-steepest, steepest - 1, random.randrange(-steepest, steepest))) for _ in range(entries)]
    )

    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    for index in range(entries):
        dut.load__enable.value = 1
        dut.load__addr.value = index
        dut.load__value.value = int(values[index]) & ((1 << width) - 1)
        dut.load__slope.value = int(slopes[index]) & ((1 << p["slope_width"]) - 1)
        await FallingEdge(dut.clk)
    dut.load__enable.value = 0

    arguments = [
        (
            random.randrange(p["tables"]),
            (random.getrandbits(index_bits) << F)
            + random.choice((0, (1 << F) - 1, 1 << (F - 1), random.getrandbits(F))),
        )
        for _ in range(p["count"])
    ]
    places = np.array([(table << (index_bits + F)) + x for table, x in arguments])
    exact = interpolate(values, slopes, places, F)
    clipped = np.clip(exact, lowest, highest)
    assert (clipped != exact).any(), "the stimuli never saturated"

    mask = (1 << width) - 1
    for cycle in range(len(arguments) + INTERPOLATOR_LATENCY):
        if cycle < len(arguments):
            if p["tables"] > 1:
                dut.table.value = arguments[cycle][0]
            dut.x.value = arguments[cycle][1]
        late = cycle - INTERPOLATOR_LATENCY
        if late >= 0:
            got = int(dut.y.value.to_unsigned()) & mask, int(dut.clipped.value)
            want = int(clipped[late]) & mask, int(clipped[late] != exact[late])
            assert got == want, f"argument {late}, {arguments[late]}: {got}, not {want}"
        await FallingEdge(dut.clk)
