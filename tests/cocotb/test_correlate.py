"""CORRELATE's bench on Verilator: trees of adders of several shapes, within groups of lanes and
over groups.
"""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.contract.contract import ContractUnit
from tests.benches.runner import run_bench

SMALL = {"activation_depth": 128, "parameter_depth": 64, "table_bits": 6}
CONFIGURATIONS = {
    "1x8_w16": EngineConfig(rows=1, lanes=8, width=16, activation_tables=1, lanes_per_table=8, **SMALL),
    "2x12": EngineConfig(rows=2, lanes=12, lanes_per_table=4, **SMALL),
    "4x6": EngineConfig(rows=4, lanes=6, activation_tables=0, lanes_per_table=2, **SMALL),
    "8x1_w16": EngineConfig(rows=8, lanes=1, width=16, lanes_per_table=1, **SMALL),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "count": 100}
    run_bench(ContractUnit(config), "bench_correlate", name=f"correlate_{name}", parameters=parameters)
