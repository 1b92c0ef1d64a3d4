"""The banked memory's bench on Verilator."""

from __future__ import annotations

import pytest

from dither_hw.memories import BankedMemory
from dither_sim.cocotb_runner import run_bench


@pytest.mark.parametrize(("depth", "banks", "bits"), [(16, 1, 32), (100, 3, 18), (64, 4, 7)])
def test_random_traffic(depth: int, banks: int, bits: int) -> None:
    memory = BankedMemory(depth=depth, banks=banks, bits=bits)
    parameters = {"depth": depth, "width": banks * bits, "count": 4000}
    run_bench(memory, "bench_memories", name=f"memory_{depth}x{banks}x{bits}", parameters=parameters)
