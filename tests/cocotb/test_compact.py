"""The compact engine's parts on Verilator; the engine as a whole is in
``tests/system/test_compact.py``.
"""

from __future__ import annotations

import pytest
from amaranth.hdl import Const

from dither.arch.config import EngineConfig, preset
from dither_hw.compact.engine import CompactEngine
from dither_hw.compact.host import CompactHost
from dither_hw.compact.mac import MacChain
from dither_hw.compact.memories import WideMemory
from tests.benches.mutation import Change, survivors
from tests.benches.runner import run_bench

from .faults import Suite, value

# What a constructor refuses is collected during any later test.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

CONFIG = preset("1x8-compact")


@pytest.mark.parametrize("lanes", [8, 3])
def test_lanes(lanes: int) -> None:
    config = EngineConfig.from_dict(CONFIG.to_dict() | {"lanes": lanes, "lanes_per_table": 1})
    run_bench(MacChain(config), "bench_compact_mac", name="chain", parameters={"config": config, "count": 120})


def test_host() -> None:
    parameters = {"config": CONFIG, "count": 12}
    run_bench(CompactHost(CONFIG), "bench_compact_host", name="compact_host", parameters=parameters)


SUITES = {
    "bench_compact_mac": Suite(
        lambda: MacChain(CONFIG),
        "bench_compact_mac",
        {"config": CONFIG, "count": 60},
        (
            Change("upper bits never count down", "down*", value(lambda old: Const(0))),
            Change("upper bits never count up", "up*", value(lambda old: Const(0))),
            Change("one lane's upper bits stay", "upper5", value(lambda old: old & 0b1111_1110)),
            Change("sums go on while there is no term", "hold", value(lambda old: Const(0))),
            Change("the chain loses a bit", "total3", value(lambda old: old[:32] & ~1)),
        ),
    ),
    "bench_compact_host": Suite(
        lambda: CompactHost(CONFIG),
        "bench_compact_host",
        {"config": CONFIG, "count": 6},
        (
            Change("counters are not cleared", "resetting", value(lambda old: Const(0))),
            Change("an event in its own turn is lost", "pending_row", value(lambda old: old & 0b1110)),
            Change("free before counters are final", "occupied", lambda old, host, m: host.busy),
            Change("starts while busy", "start", lambda old, host, m: host.write & (host.addr == 2)),
            Change("registers below the window are program", "load", lambda old, host, m: host.write),
        ),
    ),
}


@pytest.mark.parametrize("bench", SUITES)
def test_named_faults_are_found(bench: str) -> None:
    suite = SUITES[bench]
    alive = survivors(suite.component, suite.faults, bench, name=f"broken_{bench}", parameters=suite.parameters)
    assert not alive, "\n".join(alive)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="this configuration is not a compact one"):
        CompactEngine(preset("1x8"))
    with pytest.raises(ValueError, match="has up to 16384 words, not 20000"):
        WideMemory(depth=20000, bits=16)
