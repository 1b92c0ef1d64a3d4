"""The bench of DITHER on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.contract.dither import DitherUnit
from tests.benches.runner import run_bench

CONFIGURATIONS = {
    "l1_w18": EngineConfig(lanes=1, lanes_per_table=1),
    "l1_w16_fast": EngineConfig(lanes=1, lanes_per_table=1, width=16, rounds_per_cycle=4),
    "l6_w16": EngineConfig(lanes=6, lanes_per_table=1, width=16, rounds_per_cycle=2),
    "l32_w18": EngineConfig(lanes=32, rounds_per_cycle=4),
    "l64_w16": EngineConfig(lanes=64, width=16),
    "l64_w18_fast": EngineConfig(lanes=64, rounds_per_cycle=4),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "count": 60}
    run_bench(DitherUnit(config), "bench_dither", name=f"dither_{name}", parameters=parameters)
