"""The loss unit's bench on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.loss.loss import LossUnit
from tests.benches.runner import run_bench
from tests.benches.with_tables import WithTables

CONFIGURATIONS = {
    "l1_w18": EngineConfig(lanes=1, lanes_per_table=1, table_bits=6, activation_depth=8192),
    "l8_w16": EngineConfig(lanes=8, width=16, table_bits=9),
    "l12_w18": EngineConfig(lanes=12, table_bits=7),
    "l32_w18": EngineConfig(lanes=32, table_bits=9),
    "l8_sum_only": EngineConfig(lanes=8, local_learning=0),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_instructions(name: str) -> None:
    config = CONFIGURATIONS[name]
    dut = WithTables(LossUnit(config), config, "loss")
    run_bench(dut, "bench_loss", name=f"loss_{name}", parameters={"config": config, "count": 80})


def test_too_many_lanes_are_refused() -> None:
    with pytest.raises(ValueError, match="the loss unit takes up to 64 lanes, not 65"):
        LossUnit(EngineConfig(lanes=65, lanes_per_table=1))
