"""Gateware made of the block RAMs of Gowin's FPGAs, on models of those: the same benches, bit by
bit and cycle by cycle.
"""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.engine import Engine
from dither_hw.memory.memories import BankedMemory
from dither_hw.vendor.flow import BLOCK_RAM_MODES
from dither_sim.fabrics import GW2A
from tests.benches.runner import run_bench
from tests.cocotb.test_link import CONFIGURATIONS, link

CONFIG = EngineConfig(rows=2, lanes=4, lanes_per_table=2, table_bits=6, activation_depth=1536, parameter_depth=256)


@pytest.mark.parametrize(
    ("bits", "depth"),
    [
        *((width, 3 << address_bits >> 2) for width, address_bits in BLOCK_RAM_MODES[:3]),
        (20, 100),
        (18, 2500),
        (16, 5000),
    ],
)
def test_block_ram(bits: int, depth: int) -> None:
    parameters = {"depth": depth, "width": bits, "near": False, "count": depth + 4000}
    memory = BankedMemory(depth=depth, banks=1, bits=bits)
    run_bench(memory, "bench_memories", name=f"gowin_memory_{bits}x{depth}", parameters=parameters, fabric=GW2A)


@pytest.mark.slow
def test_whole_programs() -> None:
    parameters = {"config": CONFIG, "patterns": [("always", "always"), ("bursts", "bursts")], "count": 2}
    run_bench(Engine(CONFIG), "bench_engine", name="gowin_engine", parameters=parameters, fabric=GW2A)


def test_link() -> None:
    """Buffers of bytes: in halves of a block RAM's words, read on demand."""
    component, parameters = link(CONFIGURATIONS["whole"], input_bytes=4096, output_bytes=128, baud=3_000_000, count=40)
    run_bench(component, "bench_link", name="gowin_link", parameters=parameters, fabric=GW2A)
