"""The update unit's bench on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.update.update import UpdateUnit
from tests.benches.runner import run_bench
from tests.benches.with_tables import WithTables

CONFIGURATIONS = {
    "r1": EngineConfig(rows=1, table_bits=6),
    "r2": EngineConfig(rows=2, table_bits=10),
    "r4": EngineConfig(rows=4, table_bits=9),
    "r8": EngineConfig(rows=8, table_bits=7),
    "r8_parts": EngineConfig(rows=8, word_parts=4),
    "r2_parts": EngineConfig(rows=2, word_parts=2),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    dut = WithTables(UpdateUnit(config), config, "update")
    run_bench(dut, "bench_update", name=f"update_{name}", parameters={"config": config, "count": 80})
