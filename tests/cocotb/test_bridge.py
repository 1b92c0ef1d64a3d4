"""The bridge's bench on Verilator, under patterns of idleness and back-pressure."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.link.bridge import Bridge
from tests.benches.runner import run_bench

CONFIG = EngineConfig(rows=2, lanes=3, lanes_per_table=1)


@pytest.mark.parametrize(
    "patterns", [("always", "always"), ("bursts", "often"), ("rarely", "bursts"), ("always", "reluctant")]
)
def test_beats_ports_and_resets(patterns: tuple[str, str]) -> None:
    parameters = {"config": CONFIG, "patterns": patterns, "cycles": 300}
    run_bench(Bridge(CONFIG), "bench_bridge", name="bridge", parameters=parameters)
