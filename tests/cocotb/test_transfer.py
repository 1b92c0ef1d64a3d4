"""The transfer unit's bench on Verilator, under patterns of idleness and back-pressure."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.memory.transfer import TransferUnit
from tests.benches.beats import PATTERNS
from tests.benches.runner import run_bench

CONFIGURATIONS = {
    "narrow": EngineConfig(rows=1, lanes=1, lanes_per_table=1, width=16, local_learning=0),
    "wide": EngineConfig(rows=2, lanes=6, lanes_per_table=3),
    "parts": EngineConfig(rows=4, lanes=8, word_parts=4),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize(
    ("source", "sink"),
    [*zip(PATTERNS, PATTERNS, strict=True), ("always", "reluctant"), ("rarely", "always"), ("always", "rarely")],
)
def test_random_instructions(name: str, source: str, sink: str) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "input": source, "output": sink, "count": 60}
    run_bench(TransferUnit(config), "bench_transfer", name=f"transfer_{name}", parameters=parameters)
