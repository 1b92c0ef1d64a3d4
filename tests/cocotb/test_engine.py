"""The engine's bench on Verilator: whole programs, under patterns of idleness and back-pressure."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.engine import Engine
from tests.benches.runner import run_bench

SMALL = {"activation_depth": 64, "parameter_depth": 32, "program_depth": 256, "table_bits": 6}
CONFIGURATIONS = {
    "2x4_w18": EngineConfig(rows=2, lanes=4, activation_tables=2, lanes_per_table=2, rounds_per_cycle=2, **SMALL),
    "4x8_parts": EngineConfig(rows=4, lanes=8, word_parts=4, activation_tables=1, lanes_per_table=4, **SMALL),
    "1x3_w16": EngineConfig(rows=1, lanes=3, width=16, activation_tables=0, lanes_per_table=1, **SMALL),
}
PATTERNS = [("always", "always"), ("bursts", "bursts"), ("alternate", "reluctant")]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_whole_programs(name: str) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "patterns": PATTERNS, "count": 2}
    run_bench(Engine(config), "bench_engine", name=f"engine_{name}", parameters=parameters)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_too_many_lanes_are_refused() -> None:
    with pytest.raises(ValueError, match="gateware takes up to 64 lanes, not 128"):
        Engine(EngineConfig(lanes=128))
