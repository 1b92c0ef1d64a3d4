"""What nextpnr has placed and routed, simulated from the pins on, against the golden machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dither import Dense, Labelled, Model, Recipe, Session, TensorTrain, compile
from dither.arch.config import EngineConfig
from dither.arch.device import Device, DeviceError
from dither.boards import board
from dither.cli.virtual_board import virtual_board
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice
from dither.train.session import pack_state
from dither_hw.build import build
from dither_hw.build.placed import PLACED, keep_placed, read_placed
from dither_sim.board import BoardSimulation, SimulatedTransport
from dither_sim.placed import emit_placed
from tests.system.test_netlist import Step, train


def train_little(device: Device, config: EngineConfig) -> Step:
    """A step of a network so small that its bytes soon pass a simulated line of 80 MHz."""
    numbers = np.random.default_rng(1)
    inputs, labels = numbers.uniform(-1, 1, (64, 16)), numbers.integers(0, 4, 64)
    model = Model((TensorTrain((4, 4), (2, 4), ranks=2), Dense(8, 4)))
    parameters = model.initial_parameters(seed=1)
    recipe = Recipe(batch=8, tile=8, probes=1, rate=2**-6)
    compiled = compile(model, Labelled(inputs, labels), recipe, config, parameters)
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(parameters))
    losses = session.train(0, inputs[:8].reshape(1, 8, 16), labels[:8].reshape(1, 8))
    counters = {name: value for name, value in session.counters.items() if name != "cycles_wait"}
    return Step(losses, counters, {name: part.tobytes() for name, part in pack_state(session.state()).items()})


_SLOWER = 200
"""How much later than a board's a netlist's answer may come."""
ICE40 = {"ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_SPRAM", "ICESTORM_DSP", "ICESTORM_PLL", "SB_GB"}
TRELLIS = {"TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW", "DP16KD", "MULT18X18D", "EHXPLLL", "DCCA"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cells", "step"), [("icebreaker", ICE40, train), ("ulx3s-12f", TRELLIS, train_little)]
)
def test_a_training_step_on_what_was_placed(
    name: str, cells: set[str], step: Callable[[Device, EngineConfig], Step], tmp_path: Path
) -> None:
    """The real board's file, its bitstream's netlist, start-up, link and all."""
    chosen = board(name)
    build(chosen, tmp_path / name, seeds=chosen.build.seeds[:1])
    netlist = read_placed(tmp_path / name)
    assert cells <= {cell["type"] for cell in netlist["cells"].values()}
    with (
        BoardSimulation(
            chosen.engine,
            clock_hz=chosen.clock.hz,
            baud=chosen.uart.baud,
            verilog=emit_placed(chosen, netlist),
        ) as simulation,
        LinkDevice(SimulatedTransport(simulation), chosen.engine, now=lambda: time.monotonic() / _SLOWER) as device,
    ):
        assert device.identity.board == name
        done = step(device, chosen.engine)
        assert done == step(GoldenMachine(chosen.engine), chosen.engine)
        assert done.counters["cycles_contract"] > 200
        assert not simulation.standing.error


def _netlist(cell: dict[str, Any]) -> dict[str, Any]:
    return {"ports": {}, "cells": {"it": {"attributes": {}, **cell}}}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            {"type": "ALU54B", "parameters": {}, "port_directions": {}, "connections": {"A": [3]}},
            "it: there is no model of ALU54B",
        ),
        (
            {
                "type": "ICESTORM_LC",
                "parameters": {},
                "port_directions": {"I0": "input"},
                "connections": {"I0": [3]},
            },
            "1 nets of the placed netlist have no driver, such as 3",
        ),
        (
            {
                "type": "ICESTORM_RAM",
                "parameters": {"NEG_CLK_R": "1"},
                "port_directions": {},
                "connections": {"RE": [3]},
            },
            "it: there is no model of a falling clock edge",
        ),
        (
            {
                "type": "SB_GB",
                "parameters": {},
                "port_directions": {"USER_SIGNAL_TO_GLOBAL_BUFFER": "input", "GLOBAL_BUFFER_OUTPUT": "output"},
                "connections": {"GLOBAL_BUFFER_OUTPUT": [3]},
            },
            "a global buffer has no input, and there are 0 PLLs",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_what_has_no_model_is_refused(cell: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        emit_placed(board("icebreaker"), _netlist(cell))


def test_bits_that_do_not_matter_are_zero() -> None:
    """Yosys leaves them open in the first words of a memory."""
    ram = {
        "type": "ICESTORM_RAM",
        "parameters": {"INIT_0": "1x0z", "READ_MODE": "10"},
        "port_directions": {"RDATA_1": "output", "RDATA_0": "output"},
        "connections": {"RDATA_1": [7], "RDATA_0": []},
    }
    text = emit_placed(board("icebreaker"), _netlist(ram))
    assert ".INIT_0(4'b1000), .READ_MODE(2'b10)" in text
    assert ".RDATA({n7, n8})" in text


def test_a_flip_flop_without_an_enable_is_always_enabled() -> None:
    register = {
        "type": "TRELLIS_FF",
        "parameters": {"SD": "0"},
        "port_directions": {"M": "input", "CLK": "input", "Q": "output"},
        "connections": {"M": [7], "CLK": [7], "Q": [7]},
    }
    assert ".Q(n7), .CE(1'b1)" in emit_placed(board("ulx3s-12f"), _netlist(register))


def test_folders_without_a_netlist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"placed\.json\.gz: No such file or directory; make it first: dither build"):
        read_placed(tmp_path)
    for damage in (b"", b"nothing", b"\x1f\x8b\x08\x00"):
        (tmp_path / PLACED).write_bytes(damage)
        with pytest.raises(DeviceError, match="is damaged; make it again: dither build"):
            read_placed(tmp_path)


def test_a_kept_netlist_has_what_simulations_need(tmp_path: Path) -> None:
    cell = {"type": "SB_GB", "parameters": {}, "port_directions": {}, "connections": {"A": [1]}}
    top = {"ports": {}, "cells": {"it": {**cell, "hide_name": 1, "attributes": {"NEXTPNR_BEL": "X1", "src": "x"}}}}
    (tmp_path / "full.json").write_text(json.dumps({"modules": {"top": {**top, "netnames": {"n": {}}}}}))
    keep_placed(tmp_path / "full.json", tmp_path / PLACED)
    assert read_placed(tmp_path) == {"ports": {}, "cells": {"it": {**cell, "attributes": {"NEXTPNR_BEL": "X1"}}}}


@pytest.mark.parametrize("arguments", [[], ["--board", "icebreaker", "--netlist"], ["--board", "x", "--clock", "9"]])
def test_what_was_placed_cannot_be_changed(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(virtual_board, [*arguments, "--placed", str(tmp_path)])
    assert result.exit_code == 2
    assert "a build has its own engine, clock and baud rate; it takes --board alone" in result.output
