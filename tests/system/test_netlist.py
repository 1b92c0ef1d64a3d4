"""What synthesis makes of the gateware, simulated with models of the cells, against the golden
machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import Device
from dither.arch.isa import Memory
from dither.arch.streams import Expect
from dither.boards import board
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice
from dither.train.experiment import Experiment
from dither.train.session import Session, pack_state
from dither.train.tasks import load_task
from dither_hw.board.board import create_platform
from dither_hw.engines import make_engine
from dither_hw.vendor import device_of
from dither_sim.board import BoardSimulation, SimulatedTransport
from dither_sim.fabrics import GW1N, GW2A, ICE40UP5K, Fabric
from dither_sim.netlist import cell_models, emit_netlist
from dither_sim.verilated import Pauses, VerilatedDevice
from tests.programs import programs
from tests.system.test_rtl_device import CONFIG, Echo, segment

BOARD = board("icebreaker")
ENGINE = BOARD.engine
"""Holds the digits' network."""


@pytest.mark.parametrize("fabric", [ICE40UP5K, GW1N], ids=["iCE40", "Gowin"])
def test_streams_and_registers_of_a_netlist(fabric: Fabric) -> None:
    sent = segment(CONFIG, 100)
    pauses = Pauses(idle=100, back_pressure=100)
    with VerilatedDevice(CONFIG, engine=Echo(CONFIG), netlist=True, fabric=fabric, pauses=pauses) as device:
        assert device.name == "netlist"
        result = device.run(100, [sent], [Expect(Memory.ACTIVATION, 100)])
    assert np.array_equal(result.outputs[0], ~sent.values)
    assert result.counters["row_steps"] == 100


def test_a_netlist_has_nothing_but_cells() -> None:
    text = emit_netlist(Echo(CONFIG), "engine").removeprefix(cell_models())
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == ["engine"]
    cells = set(re.findall(r"^  ([A-Z]\w+) (?:#\(|\\?\S+ \()", text, re.MULTILINE))
    assert {"SB_LUT4", "SB_CARRY"} <= cells
    assert all(cell.startswith("SB_") for cell in cells)
    assert not re.search(r"^\s*(always|initial|reg)\b", text, re.MULTILINE)


@pytest.mark.parametrize(("fabric", "cell"), [(ICE40UP5K, "SB_LUT4"), (GW2A, "LUT4")], ids=["iCE40", "Gowin"])
def test_models_of_lookup_tables_are_the_synthesisers(fabric: Fabric, cell: str) -> None:
    """The rewritten models, read as Verilog's own words: a tree that ends in each bit of the table,
    in order.
    """
    (expression,) = re.findall(rf"module {cell} .*?assign [OF] = (.*?);", cell_models(fabric), re.DOTALL)
    python = re.sub(r"(?:LUT_)?INIT\[(\d+)\]", r"\1", expression)
    while match := re.search(r"\((I\d) \? ([^()]+) : ([^()]+)\)", python):
        python = python.replace(match[0], f"[{match[2]} if {match[1]} else {match[3]}][0]")
    for number in range(16):
        inputs = {f"I{i}": number >> i & 1 for i in range(4)}
        assert eval(python, inputs) == number


@pytest.fixture(scope="module")
def netlist() -> Iterator[VerilatedDevice]:
    with VerilatedDevice(ENGINE, netlist=True) as device:
        yield device


class Step(NamedTuple):
    """All that a training step leaves behind."""

    losses: list[int]
    counters: dict[str, int]
    state: dict[str, bytes]


def train(device: Device, config: EngineConfig = ENGINE) -> Step:
    """The digits' task with its own recipe."""
    experiment, task = (
        Experiment.of_task("digits", device="golden", engine=config, steps=1, recipe={}),
        load_task("digits"),
    )
    compiled = experiment.compile(task, config)
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    losses = session.train(0, *task.batches(experiment.recipe).take(0, 1))
    counters = {name: value for name, value in session.counters.items() if name != "cycles_wait"}
    return Step(losses, counters, {name: part.tobytes() for name, part in pack_state(session.state()).items()})


@pytest.mark.slow
def test_a_training_step_on_the_netlist(netlist: Device) -> None:
    step = train(netlist)
    assert step == train(GoldenMachine(ENGINE))
    assert step.counters["cycles_contract"] > 100_000


@pytest.mark.slow
def test_a_training_step_on_a_boards_netlist() -> None:
    """Link and all."""
    with (
        BoardSimulation(
            ENGINE,
            clock_hz=BOARD.clock.hz,
            baud=BOARD.uart.baud,
            input_bytes=BOARD.link.input_bytes,
            output_bytes=BOARD.link.output_bytes,
            netlist=True,
        ) as simulation,
        LinkDevice(SimulatedTransport(simulation), ENGINE) as device,
    ):
        assert train(device) == train(GoldenMachine(ENGINE))
        assert not simulation.standing.error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tang-nano-9k", "tang-nano-20k"])
def test_a_training_step_on_the_netlist_of_gowins_cells(name: str) -> None:
    """The engine of each, with the block RAMs and multipliers that its bitstream has."""
    config, fabric = board(name).engine, Fabric(device_of(create_platform(board(name))))
    text = emit_netlist(make_engine(config), "engine", fabric).removeprefix(cell_models(fabric))
    assert len(re.findall(r"^  MULT18X18 ", text, re.MULTILINE)) >= config.multipliers
    assert not re.search(r"^\s*(always|initial|reg)\b", text, re.MULTILINE)
    with VerilatedDevice(config, netlist=True, fabric=fabric) as device:
        step = train(device, config)
    assert step == train(GoldenMachine(config), config)
    assert step.counters["cycles_contract"] > 100_000


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_random_programs_on_the_netlist(netlist: Device, data: st.DataObject) -> None:
    program = data.draw(programs(ENGINE))
    results = []
    for device in (netlist, GoldenMachine(ENGINE)):
        device.write_program(program.words)
        results.append(device.run(0, program.inputs, program.expects))
    actual, expected = results
    for expect, want, got in zip(program.expects, expected.outputs, actual.outputs, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=str(expect.kind))
    assert {name: actual.counters[name] for name in expected.counters} == dict(expected.counters)
