"""The host registers' bench on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.control.host import HostRegisters
from tests.benches.runner import run_bench

CONFIGURATIONS = {
    "small": EngineConfig(rows=1, lanes=4, program_depth=64),
    "odd": EngineConfig(rows=2, lanes=8, program_depth=1000),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_registers_program_and_counters(name: str) -> None:
    config = CONFIGURATIONS[name]
    run_bench(HostRegisters(config), "bench_host", name=f"host_{name}", parameters={"config": config, "count": 20})
