"""The sequencer's bench on Verilator."""

from __future__ import annotations

from dither_hw.control.sequencer import Sequencer
from tests.benches.runner import run_bench


def test_against_its_twin() -> None:
    run_bench(Sequencer(), "bench_sequencer", name="sequencer", parameters={"count": 150})
