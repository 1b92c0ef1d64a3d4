"""The bench of PERTURB and ACCUMULATE on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.update.probes import ParameterUnit
from tests.benches.runner import run_bench

CONFIGURATIONS = {
    "r1_w18": EngineConfig(rows=1),
    "r2_w16": EngineConfig(rows=2, width=16, rounds_per_cycle=2),
    "r2_w18_narrow": EngineConfig(rows=2, wide_probes=0, rounds_per_cycle=4),
    "r4_w18": EngineConfig(rows=4, rounds_per_cycle=4),
    "r4_w18_parts": EngineConfig(rows=4, rounds_per_cycle=2, word_parts=2),
    "r8_w16": EngineConfig(rows=8, width=16),
    "r8_w16_parts": EngineConfig(rows=8, width=16, rounds_per_cycle=4, word_parts=8),
    "r8_w18": EngineConfig(rows=8, rounds_per_cycle=2),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "count": 100}
    run_bench(ParameterUnit(config), "bench_parameters", name=f"parameters_{name}", parameters=parameters)
