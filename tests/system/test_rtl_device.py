"""The verilated device: its protocol on a small stand-in, then the engine itself against the golden
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, REGISTERS
from dither.arch.streams import Expect, Segment
from dither.tools.toolchain import has_header
from dither_sim.verilated import Pauses, TraceWindow, VerilatedDevice

ADDRESS = {register.name: register.address for register in REGISTERS}
COUNTER = {counter.name: COUNTER_BASE + i for i, counter in enumerate(COUNTERS)}
FAULTY = 0x7FFF
CONFIG = EngineConfig(rows=1, lanes=4, width=16, lanes_per_table=4)
WIDE = EngineConfig(rows=4, lanes=8, width=18)


class Echo(wiring.Component):
    """Ports and registers of an engine; a start with entry n sends n input beats back, each
    complemented.
    """

    def __init__(self, config: EngineConfig, *, digest: str | None = None) -> None:
        self.digest = digest or config.digest()
        beat = stream.Signature(config.beat_width)
        super().__init__(
            {
                "reset": In(1),
                "host_addr": In(16),
                "host_write": In(1),
                "host_wdata": In(32),
                "host_rdata": Out(32),
                "input": In(beat),
                "output": Out(beat),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy, fault = Signal(), Signal()
        remaining, waited, beats = Signal(32), Signal(32), Signal(32)
        free = ~self.output.valid | self.output.ready
        taken = self.input.valid & self.input.ready
        m.d.comb += self.input.ready.eq(busy & free & (remaining != 0))
        with m.If(free):
            m.d.sync += [self.output.valid.eq(taken), self.output.payload.eq(~self.input.payload)]
        m.d.sync += [
            remaining.eq(remaining - taken),
            beats.eq(beats + taken),
            waited.eq(waited + (busy & ~taken)),
            self.host_rdata.eq(0),
        ]
        with m.If((remaining == 0) & free):
            m.d.sync += busy.eq(0)
        with m.If(self.host_write & (self.host_addr == ADDRESS["start"])):
            m.d.sync += [
                busy.eq(1),
                waited.eq(0),
                beats.eq(0),
                fault.eq(self.host_wdata == FAULTY),
                remaining.eq(Mux(self.host_wdata == FAULTY, 0, self.host_wdata)),
            ]
        with m.Switch(self.host_addr):
            for address, value in {
                ADDRESS["magic"]: MAGIC,
                ADDRESS["configuration"]: int(self.digest, 16),
                ADDRESS["status"]: busy | (fault << 1),
                COUNTER["cycles_wait"]: waited,
                COUNTER["row_steps"]: beats,
            }.items():
                with m.Case(address):
                    m.d.sync += self.host_rdata.eq(value)
        return m


def segment(config: EngineConfig, beats: int) -> Segment:
    values = np.random.default_rng(beats).integers(-(1 << 15), 1 << 15, (beats, config.lanes))
    return Segment(Memory.ACTIVATION, values)


@pytest.fixture(scope="module")
def echo() -> Iterator[VerilatedDevice]:
    with VerilatedDevice(CONFIG, engine=Echo(CONFIG)) as device:
        yield device


def test_beats_come_back_in_order(echo: VerilatedDevice) -> None:
    sent = segment(CONFIG, 100)
    result = echo.run(100, [sent], [Expect(Memory.ACTIVATION, 60), Expect(Memory.ACTIVATION, 40)])
    assert np.array_equal(np.concatenate(result.outputs), ~sent.values)
    assert [len(part) for part in result.outputs] == [60, 40]
    assert result.counters["row_steps"] == 100


def test_wide_beats() -> None:
    sent = segment(WIDE, 20)
    with VerilatedDevice(WIDE, engine=Echo(WIDE)) as device:
        (received,) = device.run(20, [sent], [Expect(Memory.ACTIVATION, 20)]).outputs
    assert np.array_equal(received, ~sent.values)


@pytest.mark.parametrize(("idle", "back_pressure"), [(0, 128), (128, 0), (128, 128), (240, 16), (16, 240)])
def test_pauses_change_no_beat(idle: int, back_pressure: int) -> None:
    sent = segment(CONFIG, 200)
    pauses = Pauses(idle=idle, back_pressure=back_pressure, seed=7)
    with VerilatedDevice(CONFIG, engine=Echo(CONFIG), pauses=pauses) as device:
        begin = device.cycles
        (received,) = device.run(200, [sent], [Expect(Memory.ACTIVATION, 200)]).outputs
        assert device.cycles - begin > 300
    assert np.array_equal(received, ~sent.values)


def test_a_run_without_streams(echo: VerilatedDevice) -> None:
    assert echo.run(0).outputs == []


@pytest.mark.parametrize(
    ("entry", "given", "expected", "message"),
    [
        (FAULTY, 0, 0, "the program faulted"),
        (3, 4, 3, "the program consumed 3 of 4 beats"),
        (4, 4, 5, "the program sent 4 of the 5 beats expected"),
        (4, 4, 3, "the program sent more than the 3 beats expected"),
        (5, 4, 5, "the program waits for more than the 4 beats it was given"),
    ],
)
def test_errors_are_told_and_survived(
    echo: VerilatedDevice, entry: int, given: int, expected: int, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        echo.run(entry, [segment(CONFIG, given)] if given else [], [Expect(Memory.ACTIVATION, expected)])
    sent = segment(CONFIG, 2)
    (received,) = echo.run(2, [sent], [Expect(Memory.ACTIVATION, 2)]).outputs
    assert np.array_equal(received, ~sent.values)


def test_cycle_limit() -> None:
    with (
        VerilatedDevice(CONFIG, engine=Echo(CONFIG), pauses=Pauses(idle=255), cycle_limit=10) as device,
        pytest.raises(DeviceError, match="did not end within 10 cycles"),
    ):
        device.run(4000, [segment(CONFIG, 4000)], [Expect(Memory.ACTIVATION, 4000)])


def test_refuses_another_engine() -> None:
    with pytest.raises(DeviceError, match="register 'configuration' is 0x00000123 instead of"):
        VerilatedDevice(CONFIG, engine=Echo(CONFIG, digest="123"))


def test_refuses_a_program_that_does_not_fit(echo: VerilatedDevice) -> None:
    with pytest.raises(DeviceError, match="a program of 4097 words does not fit into 4096"):
        echo.write_program([0] * 4097)


def test_closed_device() -> None:
    device = VerilatedDevice(CONFIG, engine=Echo(CONFIG))
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.run(0)


def test_two_devices_share_nothing(echo: VerilatedDevice) -> None:
    with VerilatedDevice(CONFIG, engine=Echo(CONFIG)) as other:
        other.run(3, [segment(CONFIG, 3)], [Expect(Memory.ACTIVATION, 3)])
        begin = echo.cycles
        other.run(3, [segment(CONFIG, 3)], [Expect(Memory.ACTIVATION, 3)])
        assert echo.cycles == begin


def test_spin_clocks_that_many_times(echo: VerilatedDevice) -> None:
    begin = echo.cycles
    assert echo.spin(10, 1000) > 0
    assert echo.cycles - begin >= 1000
    assert echo.run(0).counters["row_steps"] == 0


@pytest.mark.parametrize("suffix", [".vcd", ".fst"])
def test_waveforms_of_a_window_of_runs(tmp_path: Path, suffix: str) -> None:
    if suffix == ".fst" and not all(has_header(name) for name in ("lz4.h", "zlib.h")):
        pytest.skip("FST waveforms need the headers of lz4 and zlib, which are not installed")
    path = tmp_path / f"waves{suffix}"
    with VerilatedDevice(CONFIG, engine=Echo(CONFIG), trace=TraceWindow(path=path, first=1, last=2)) as device:
        device.run(0)
        assert not path.exists()
        device.run(0)
        device.run(0)
        size = path.stat().st_size
        device.run(0)
    assert path.stat().st_size == size > 0
    if suffix == ".vcd":
        assert "host_rdata" in path.read_text()


def test_trace_window_is_validated(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"waveforms are written as .vcd or .fst, not 'a.png'"):
        TraceWindow(path=tmp_path / "a.png")
    with pytest.raises(ValueError, match="no window of runs: 2 to 1"):
        TraceWindow(path=tmp_path / "a.vcd", first=2, last=1)


def test_pauses_are_validated() -> None:
    with pytest.raises(ValueError, match="pauses must be from 0 to 255 of 256"):
        Pauses(idle=256)
