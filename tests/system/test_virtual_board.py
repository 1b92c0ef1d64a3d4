"""The virtual board: its line on a stand-in core that sends back what it gets, then the board
itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import termios
import threading
import time
import tty
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.device import Device, DeviceError
from dither.cli import main
from dither.compiler import Compiled
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice
from dither.link.exchange import LinkError
from dither.link.faults import DriverKilled, FaultyTransport
from dither.link.transport import SerialTransport
from dither.runs import RunFolder
from dither.train.experiment import Experiment
from dither.train.prepared import prepare
from dither.train.session import Session, pack_state
from dither.train.soak import soak
from dither.train.tasks import load_task
from dither_sim.board import BoardSimulation, Line, SimulatedTransport, VirtualBoard, measure_steps

CONFIG = EngineConfig(rows=1, lanes=4, width=16, lanes_per_table=4)
CLOCK, BAUD = 8_000_000, 1_000_000
BUSY = 0x42
BUSY_CYCLES = 100_000
BYTES = bytes(range(256)) + bytes(255 - n for n in range(256))


class Echo(wiring.Component):
    """Ports of a board's core; sends each byte back, complemented, and is busy for a while at a
    certain one.
    """

    def __init__(self, divisor: int = CLOCK // BAUD) -> None:
        self.divisor = divisor
        super().__init__(
            {
                "reset": In(1),
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "busy": Out(1),
                "error": Out(1),
                "session": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bytes = fifo = SyncFIFOBuffered(width=8, depth=64)
        rx = Signal(init=1)
        count, left, shift = Signal(range(2 * self.divisor)), Signal(4), Signal(8)
        m.d.sync += [rx.eq(self.rx), fifo.w_en.eq(0)]
        m.d.comb += fifo.w_data.eq(~shift)
        with m.If((left == 0) & rx):
            m.d.sync += count.eq(0)
        with m.Elif(left == 0):
            m.d.sync += [left.eq(9), count.eq(self.divisor + self.divisor // 2 - 2)]
        with m.Elif(count == 0):
            m.d.sync += [count.eq(self.divisor - 1), left.eq(left - 1), shift.eq(Cat(shift[1:], rx))]
            with m.If(left == 1):
                m.d.sync += [shift.eq(shift), self.error.eq(self.error | ~rx), fifo.w_en.eq(1)]
        with m.Else():
            m.d.sync += count.eq(count - 1)

        remaining = Signal(range(BUSY_CYCLES + 1))
        m.d.comb += [self.busy.eq(remaining != 0), self.session.eq(fifo.r_rdy)]
        with m.If(fifo.w_en & (shift == BUSY)):
            m.d.sync += remaining.eq(BUSY_CYCLES)
        with m.Elif(self.busy):
            m.d.sync += remaining.eq(remaining - 1)

        out, bits, pace = Signal(9, init=0x1FF), Signal(4), Signal(range(self.divisor))
        ending = (bits == 0) | ((bits == 1) & (pace == 0))
        m.d.comb += [self.tx.eq(out[0]), fifo.r_en.eq(ending & fifo.r_rdy)]
        with m.If(fifo.r_en):
            m.d.sync += [out.eq(Cat(0, fifo.r_data)), bits.eq(10), pace.eq(self.divisor - 1)]
        with m.Elif(pace != 0):
            m.d.sync += pace.eq(pace - 1)
        with m.Elif(bits != 0):
            m.d.sync += [out.eq(Cat(out[1:], 1)), bits.eq(bits - 1), pace.eq(self.divisor - 1)]
        return m


def complement(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def simulation(**options: object) -> BoardSimulation:
    return BoardSimulation(CONFIG, clock_hz=CLOCK, baud=BAUD, core=Echo(), **options)  # type: ignore[arg-type]


@pytest.fixture
def echo() -> Iterator[BoardSimulation]:
    with simulation() as board:
        yield board


def test_bytes_come_back(echo: BoardSimulation) -> None:
    echo.send(BYTES)
    assert not echo.run(10_000_000)
    assert echo.receive() == complement(BYTES)
    standing = echo.standing
    assert (standing.bytes_in, standing.bytes_out, standing.waiting, standing.arrived) == (512, 512, 0, 0)
    assert (standing.broken, standing.error) == (0, False)


def test_line_takes_ten_bits_a_byte(echo: BoardSimulation) -> None:
    """From the first start bit until the echo's last stop bit, and not a bit longer."""
    begin = echo.cycles
    echo.send(BYTES)
    while len(BYTES) > echo.standing.arrived:
        echo.run(100)
    assert 0 <= (echo.cycles - begin) - (len(BYTES) + 1) * 10 * CLOCK // BAUD < 150


@pytest.mark.parametrize(
    "line",
    [
        Line(ppm=20_000),
        Line(ppm=-20_000),
        Line(gaps=128),
        Line(gaps=256, ppm=10_000, seed=3),
        Line(seed=99),
    ],
)
def test_lines_of_all_kinds(line: Line) -> None:
    with simulation(line=line) as board:
        for part in range(0, len(BYTES), 32):
            board.send(BYTES[part : part + 32])
            board.run(10_000_000)
        assert board.receive() == complement(BYTES)


def test_fractional_bits() -> None:
    """7 cycles at a board that divides by 7 against 7.14 at the host."""
    with BoardSimulation(CONFIG, clock_hz=50_000_000, baud=7_000_000, core=Echo(7)) as board:
        board.send(BYTES)
        board.run(10_000_000)
        assert board.receive() == complement(BYTES)


def test_a_wrong_baud_rate_breaks_bytes() -> None:
    with BoardSimulation(CONFIG, clock_hz=CLOCK, baud=BAUD * 3 // 4, core=Echo()) as board:
        board.send(BYTES)
        board.run(10_000_000)
        assert board.receive() != complement(BYTES)
        assert board.standing.error


def test_time_stands_still_when_nothing_moves(echo: BoardSimulation) -> None:
    assert not echo.run(1_000_000)
    begin = echo.cycles
    assert not echo.run(10**12)
    assert echo.cycles - begin <= 1


def test_time_goes_on_while_busy(echo: BoardSimulation) -> None:
    echo.send(bytes([BUSY]))
    begin = echo.cycles
    assert echo.run(BUSY_CYCLES // 2)
    assert echo.standing.busy
    assert not echo.run(10**12)
    assert not echo.standing.busy
    assert BUSY_CYCLES < echo.cycles - begin < BUSY_CYCLES + 40_000


def test_switching_off_and_on(echo: BoardSimulation) -> None:
    echo.send(b"abc")
    echo.run(100)
    echo.restart()
    assert echo.cycles < 100
    echo.send(b"x")
    echo.run(1_000_000)
    assert echo.receive() == complement(b"x")
    echo.close()
    echo.close()
    with pytest.raises(DeviceError, match="switched off"):
        echo.send(b"x")


def test_waveforms(tmp_path: Path) -> None:
    path = tmp_path / "board.vcd"
    with simulation(waves=path) as board:
        board.send(b"abc")
        board.run(100_000)
        assert board.receive() == complement(b"abc")
    assert "session" in path.read_text()
    with pytest.raises(ValueError, match=r"waveforms are written as .vcd or .fst, not 'a.png'"):
        simulation(waves=tmp_path / "a.png")


def test_impossible_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="3000000 baud needs a clock of 12000000 Hz or more, not 8000000"):
        BoardSimulation(CONFIG, clock_hz=CLOCK, baud=3_000_000)
    with pytest.raises(ValueError, match="within 100000 ppm, not 200000"):
        Line(ppm=200_000)
    with pytest.raises(ValueError, match="gaps must be from 0 to 256 of 256, not 257"):
        Line(gaps=257)


def test_transport_waits_in_simulated_time(echo: BoardSimulation) -> None:
    transport = SimulatedTransport(echo)
    assert transport.read(1.0) == b""
    transport.write(b"abc")
    assert transport.read(1e-6) == b""
    begin = echo.seconds
    assert transport.read(1.0) == complement(b"abc")
    assert 20e-6 < echo.seconds - begin < 80e-6
    transport.write(b"abc")
    echo.run(100_000)
    transport.reset_input()
    assert transport.read(1.0) == b""


def test_turnaround_is_simulated_too(echo: BoardSimulation) -> None:
    transport = SimulatedTransport(echo, turnaround=1e-3)
    transport.write(b"a")
    begin = echo.seconds
    assert transport.read(1.0) == complement(b"a")
    assert echo.seconds - begin > 1e-3


def read_exactly(descriptor: int, count: int, seconds: float = 10.0) -> bytes:
    taken, end = b"", time.monotonic() + seconds
    os.set_blocking(descriptor, False)
    while len(taken) < count and time.monotonic() < end:
        try:
            taken += os.read(descriptor, count - len(taken))
        except BlockingIOError:
            time.sleep(0.001)
    return taken


def test_drivers_come_and_go(tmp_path: Path) -> None:
    link = tmp_path / "board"
    with VirtualBoard(CONFIG, clock_hz=CLOCK, baud=BAUD, core=Echo(), link=link) as board:
        for path in (board.path, str(link), board.path):
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(descriptor)
            os.write(descriptor, BYTES)
            assert read_exactly(descriptor, len(BYTES)) == complement(BYTES)
            os.close(descriptor)
    assert not link.is_symlink()


def test_what_nobody_takes_is_lost() -> None:
    many = 16 * BYTES
    with VirtualBoard(CONFIG, clock_hz=CLOCK, baud=BAUD, core=Echo()) as board:
        descriptor = os.open(board.path, os.O_RDWR | os.O_NOCTTY)
        os.write(descriptor, many)
        while board.standing.bytes_out < len(many):
            time.sleep(0.01)
        termios.tcflush(descriptor, termios.TCIFLUSH)
        os.write(descriptor, BYTES)
        assert read_exactly(descriptor, len(BYTES)) == complement(BYTES)
        os.close(descriptor)


def test_idle_board_burns_no_time() -> None:
    others = set(threading.enumerate())
    with VirtualBoard(CONFIG, clock_hz=CLOCK, baud=BAUD, core=Echo()) as board:
        (thread,) = set(threading.enumerate()) - others
        assert thread.ident is not None
        clock = time.pthread_getcpuclockid(thread.ident)  # the processor time of this thread alone
        begin = -1
        while board.cycles != begin:  # until it is idle, however busy the machine is
            begin = board.cycles
            time.sleep(0.2)
        cpu = time.clock_gettime(clock)
        time.sleep(0.5)
        assert board.cycles == begin
        assert time.clock_gettime(clock) - cpu < 0.1
    assert not thread.is_alive()


def test_a_link_that_cannot_be_made() -> None:
    with pytest.raises(DeviceError, match="/nowhere/board: No such file or directory"):
        VirtualBoard(CONFIG, clock_hz=CLOCK, baud=BAUD, core=Echo(), link=Path("/nowhere/board"))


# The board itself

ENGINE = EngineConfig(
    rows=1,
    lanes=4,
    width=16,
    activation_depth=512,
    parameter_depth=768,
    program_depth=512,
    table_bits=6,
    activation_tables=0,
    lanes_per_table=4,
    wide_probes=0,
    local_learning=0,
)
"""Holds the digits' network."""
BOARD: dict[str, Any] = {"clock_hz": 24_000_000, "baud": 3_000_000, "input_bytes": 1024, "output_bytes": 512}
RECIPE = {"batch": 16, "tile": 8, "probes": 1, "seed": 1}


class Trained(NamedTuple):
    losses: list[int]
    counters: dict[str, int]
    state: dict[str, bytes]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment.of_task("digits", device="golden", engine=ENGINE, steps=2, recipe=RECIPE)


@pytest.fixture(scope="module")
def compiled(experiment: Experiment) -> Compiled:
    return experiment.compile(load_task("digits"), ENGINE)


def train(device: Device, compiled: Compiled, experiment: Experiment, steps: int = 2) -> Trained:
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    losses = session.train(0, *load_task("digits").batches(experiment.recipe).take(0, steps))
    counters = {name: value for name, value in session.counters.items() if name != "cycles_wait"}
    return Trained(losses, counters, {name: part.tobytes() for name, part in pack_state(session.state()).items()})


@pytest.fixture(scope="module")
def golden(compiled: Compiled, experiment: Experiment) -> Trained:
    return train(GoldenMachine(ENGINE), compiled, experiment)


def test_training_over_a_pseudo_terminal(compiled: Compiled, experiment: Experiment, golden: Trained) -> None:
    """Two drivers, one after the other."""
    with VirtualBoard(ENGINE, **BOARD) as board:
        for _ in range(2):
            with LinkDevice(SerialTransport(board.path), ENGINE) as device:
                assert device.identity.board == "virtual"
                assert train(device, compiled, experiment) == golden
        assert board.standing.session
        assert not board.standing.error
        assert board.standing.broken == 0


@pytest.mark.parametrize("line", [Line(), Line(ppm=15_000, gaps=64, seed=2), Line(ppm=-15_000, seed=3)])
def test_training_in_process(compiled: Compiled, experiment: Experiment, golden: Trained, line: Line) -> None:
    with BoardSimulation(ENGINE, line=line, **BOARD) as simulation:
        with LinkDevice(SimulatedTransport(simulation), ENGINE) as device:
            assert train(device, compiled, experiment) == golden
            assert device.statistics.damaged == 0
        assert simulation.standing.session
        assert not simulation.standing.error


def test_a_board_that_was_switched_off(compiled: Compiled, experiment: Experiment, golden: Trained) -> None:
    with BoardSimulation(ENGINE, **BOARD) as simulation, LinkDevice(SimulatedTransport(simulation), ENGINE) as device:
        device.ping()
        simulation.restart()
        with pytest.raises(LinkError, match="the board has forgotten the session"):
            train(device, compiled, experiment)
        with LinkDevice(SimulatedTransport(simulation), ENGINE) as again:
            assert train(again, compiled, experiment) == golden


def test_a_driver_refuses_another_engine() -> None:
    with (
        BoardSimulation(ENGINE, **BOARD) as simulation,
        pytest.raises(DeviceError, match="program_depth 1024 on the board 512"),
    ):
        LinkDevice(SimulatedTransport(simulation), replace(ENGINE, program_depth=1024))


def test_what_the_link_costs(experiment: Experiment, golden: Trained) -> None:
    values = measure_steps(experiment, **BOARD)
    counted = {name: value for name, value in values["counters"].items() if name.startswith("saturations")}
    assert counted == {name: value for name, value in golden.counters.items() if name.startswith("saturations")}
    assert values["steps"] == 2
    assert 0 < values["cycles_wait"] < values["cycles"]
    assert values["wait_share"] == values["cycles_wait"] / values["cycles"]
    assert 0 < values["input_packed"] < values["line_in"] < values["input_bytes"]
    assert 0 < values["output_packed"] < values["line_out"]
    slow = measure_steps(experiment, turnaround=0.01, **BOARD)
    assert slow["cycles_wait"] > values["cycles_wait"]
    assert slow["cycles"] - slow["cycles_wait"] == values["cycles"] - values["cycles_wait"]


@pytest.mark.slow
def test_faults_on_the_line() -> None:
    """What a soak does to a board in software (``test_link_soak.py``), done to the gateware."""

    def kill() -> None:
        raise DriverKilled

    with BoardSimulation(ENGINE, line=Line(ppm=5_000, gaps=16), **BOARD) as simulation:

        def line(random: np.random.Generator, counts: Counter[str]) -> FaultyTransport:
            disasters = {"driver killed": kill, "power lost": simulation.restart, "unplugged": lambda: faulty.unplug()}
            faulty = FaultyTransport(
                SimulatedTransport(simulation),
                random,
                chance=0.05,
                disasters=disasters,
                rare=20.0,
                pause=0.0,
                counts=counts,
            )
            return faulty

        outcome = soak(line, ENGINE, faults=200, seed=3, patience=2.0, shortest_timeout=0.005)
    print(outcome.report())
    assert outcome.runs
    assert outcome.resumed


def test_command_line(tmp_path: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board in a process of its own; a run on it is the golden machine's."""
    monkeypatch.chdir(tmp_path)
    toml = tmp_path / "virtual.toml"
    engine = "\n".join(f"{name} = {value}" for name, value in ENGINE.to_dict().items())
    toml.write_text(
        'title = "A board"\nplatform = "amaranth_boards.icebreaker:ICEBreakerPlatform"\n'
        f"[engine]\n{engine}\n[clock]\nhz = 24_000_000\n[uart]\nbaud = 3_000_000\n"
        '[link]\ninput_bytes = 1024\noutput_bytes = 512\n[program]\ntool = "iceprog"\n'
    )
    link = tmp_path / "board"
    program = "import sys; from dither.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "virtual-board", "--board", str(toml), "--link", str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline().strip()) != str(link):
            assert line.startswith(("elaborating", "making", "verilating", "compiling")), line
        # Line by line: what a pipe's reader has read ahead is lost to `communicate`.
        assert process.stdout.readline().startswith("1x4@768 engine, 24 MHz, 3,000,000 baud")
        options = ["--steps", "2", "--batch", "16", "--tile", "8", "--probes", "1"]
        runs = [tmp_path / "board-run", tmp_path / "golden-run"]
        assert main(["train", "digits", "--device", str(link), "--out", str(runs[0]), *options]) == 0
        # Not SIGINT: whoever runs the tests in the background has it ignored, and so has every
        # child.
        process.terminate()
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "s simulated" in rest
    assert not link.is_symlink()
    prepared = prepare(experiment)
    trainer = prepared.trainer(RunFolder.create(runs[1], prepared.describe()))
    trainer.start()
    trainer.train(report=lambda progress: None, stop=lambda: False)
    assert main(["compare", *map(str, runs)]) == 0


def test_command_line_wants_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virtual-board"]) == 2
    assert "which board? --board NAME, or --engine NAME without any" in capsys.readouterr().err
    assert main(["virtual-board", "--engine", "1x4", "--baud", "3000000", "--clock", "10000000"]) == 2
    assert "3000000 baud needs a clock of" in capsys.readouterr().err
    assert main(["virtual-board", "--board", "ulx3s-85f", "--netlist"]) == 2
    assert "there are models of the cells of iCE40 and Gowin's FPGAs only" in capsys.readouterr().err
