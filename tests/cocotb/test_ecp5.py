"""Gateware made of an ECP5's own cells, on models of those: the same benches, bit by bit and cycle
by cycle.
"""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.contract.contract import ContractUnit
from dither_hw.engine import Engine
from dither_hw.memory.memories import BankedMemory
from dither_hw.vendor.flow import BLOCK_RAM_MODES
from dither_sim.fabrics import ECP5
from tests.benches.runner import run_bench

CONFIG = EngineConfig(rows=2, lanes=4, lanes_per_table=2, table_bits=6, activation_depth=1536, parameter_depth=256)


@pytest.mark.parametrize(
    ("bits", "depth"),
    [
        *((width, 3 << address_bits >> 2) for width, address_bits in BLOCK_RAM_MODES[:3]),
        (20, 100),
        (18, 2500),
        (36, 1024),
        (36, 512),
        (48, 300),
    ],
)
def test_block_ram(bits: int, depth: int) -> None:
    parameters = {"depth": depth, "width": bits, "near": False, "count": depth + 4000}
    memory = BankedMemory(depth=depth, banks=1, bits=bits)
    run_bench(memory, "bench_memories", name=f"ecp5_memory_{bits}x{depth}", parameters=parameters, fabric=ECP5)


def test_contract() -> None:
    parameters = {"config": CONFIG, "count": 30}
    run_bench(ContractUnit(CONFIG), "bench_contract", name="ecp5_contract", parameters=parameters, fabric=ECP5)


@pytest.mark.slow
def test_whole_programs() -> None:
    parameters = {"config": CONFIG, "patterns": [("always", "always"), ("bursts", "bursts")], "count": 2}
    run_bench(Engine(CONFIG), "bench_engine", name="ecp5_engine", parameters=parameters, fabric=ECP5)
