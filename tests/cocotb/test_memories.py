"""The banked memory's bench on Verilator."""

from __future__ import annotations

import pytest

from dither_hw.memory.memories import BankedMemory
from tests.benches.runner import run_bench


@pytest.mark.parametrize(
    ("depth", "banks", "bits", "near"),
    [
        (16, 1, 32, False),
        (100, 3, 18, False),
        (64, 4, 7, False),
        (64, 1, 36, True),
    ],
)
def test_random_traffic(depth: int, banks: int, bits: int, near: bool) -> None:
    memory = BankedMemory(depth=depth, banks=banks, bits=bits, near=near)
    parameters = {"depth": depth, "width": banks * bits, "near": near, "count": 4000}
    run_bench(memory, "bench_memories", name=f"memory_{depth}x{banks}x{bits}", parameters=parameters)
