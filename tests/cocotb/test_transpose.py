"""The bench of TRANSPOSE on Verilator."""

from __future__ import annotations

import pytest

from dither.arch.config import EngineConfig
from dither_hw.memory.transpose import TransposeUnit
from tests.benches.runner import run_bench


@pytest.mark.parametrize(("rows", "width"), [(1, 18), (2, 16), (4, 18), (8, 16)])
def test_random_instructions(rows: int, width: int) -> None:
    config = EngineConfig(rows=rows, width=width)
    parameters = {"config": config, "count": 60}
    run_bench(TransposeUnit(config), "bench_transpose", name=f"transpose_r{rows}", parameters=parameters)
