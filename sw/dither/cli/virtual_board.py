"""The commands ``dither virtual-board`` and ``dither link-cost``."""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..arch.config import EngineConfig, engine_name
from ..arch.device import DeviceError
from ..arch.regmap import all_cycles
from ..boards import Board
from ..boards import board as find_board
from ..train.experiment import Experiment
from .progress import announce, telling
from .train import RECIPE, train
from .values import ENGINE, TASK

__all__ = ["link_cost", "virtual_board"]

CLOCK_HZ, BAUD = 24_000_000, 3_000_000
"""Clock and baud rate of a simulation without a board: few cycles for each bit simulate fast."""
SIMULATED_HZ = 100_000
"""Cycles a second that simulated boards make at least, by which their work is judged beforehand."""
_REFRESH_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The board to simulate: its engine and its simulation's options."""

    config: EngineConfig
    options: dict[str, Any]
    """Options of :class:`dither_sim.board.BoardSimulation`."""

    @property
    def text(self) -> str:
        """Engine, clock and baud rate in one line for people."""
        clock, baud = self.options["clock_hz"], self.options["baud"]
        return f"{engine_name(self.config)} engine, {clock / 1e6:g} MHz, {baud:,} baud"


def _choose(
    board: str | None, engine: EngineConfig | None, baud: int | None, clock: int | None, *, netlist: bool = False
) -> _Chosen:
    if board is None:
        if engine is None:
            raise click.UsageError("which board? --board NAME, or --engine NAME without any")
        return _Chosen(engine, {"clock_hz": clock or CLOCK_HZ, "baud": baud or BAUD})
    found = find_board(board)
    device = _platform(found) if netlist else ""
    if netlist and not device.startswith(("iCE40", "GW")):
        raise click.UsageError(
            f"--netlist: there are models of the cells of iCE40 and Gowin's FPGAs only, not of {found.title}'s"
        )
    options: dict[str, Any] = {
        "clock_hz": clock or found.clock.hz,
        "baud": baud or found.uart.baud,
        "board": found.name,
        "input_bytes": found.link.input_bytes,
        "output_bytes": found.link.output_bytes,
        "synthesis": found.build.synthesis,
    }
    if netlist:
        options["fabric"] = _part("dither_sim.fabrics").Fabric(device)
    if found.memory is not None and engine is None and not netlist:
        options["memory"] = found.memory.chip
    return _Chosen(engine or found.engine, options)


_BOARD_OPTIONS = (
    click.option("--board", metavar="NAME|FILE", help="Engine, clock, baud rate and buffers of this board."),
    click.option("--engine", type=ENGINE, metavar="NAME", help="Another engine than the board's."),
    click.option(
        "--baud",
        type=click.IntRange(300),
        metavar="N",
        help=f"Another baud rate than the board's.  [default without a board: {BAUD}]",
    ),
    click.option(
        "--clock",
        type=click.IntRange(1),
        metavar="HZ",
        help=f"Another clock than the board's.  [default without a board: {CLOCK_HZ}]",
    ),
)


def _board_options(command: Any) -> Any:
    for option in reversed(_BOARD_OPTIONS):
        command = option(command)
    return command


@click.command(
    "virtual-board",
    epilog="""\b
Examples:
  dither virtual-board --engine 1x8                 then: dither train digits --device /dev/pts/N
  dither virtual-board --board icebreaker --link /tmp/board
  dither virtual-board --board icebreaker --netlist      what synthesis made of it
  dither virtual-board --board icebreaker --placed build/icebreaker      what dither build placed
  dither virtual-board --engine 1x8 --waves board.fst
""",
)
@_board_options
@click.option("--netlist", is_flag=True, help="Simulate what synthesis makes of the board.")
@click.option(
    "--placed",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Simulate what a build of the board, in this folder, has placed and routed: its bitstream's netlist.",
)
@click.option(
    "--waves",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write waveforms (.fst or .vcd) of all cycles; they grow by megabytes a second.",
)
@click.option(
    "--link", type=click.Path(path_type=Path), metavar="PATH", help="Make this symbolic link to the pseudo-terminal."
)
def virtual_board(
    board: str | None,
    engine: EngineConfig | None,
    baud: int | None,
    clock: int | None,
    netlist: bool,
    placed: Path | None,
    waves: Path | None,
    link: Path | None,
) -> None:
    """Simulate a board from its UART's pins on, behind a path that drivers open like a serial port.

    Drivers may come and go until Ctrl-C. Simulated time passes while bytes are on the line or the
    engine is busy.
    """
    console = Console(soft_wrap=True)
    if placed is not None and (board is None or engine or baud or clock or netlist):
        raise click.UsageError("--placed: a build has its own engine, clock and baud rate; it takes --board alone")
    if link is not None and ((link.exists() and not link.is_symlink()) or not os.access(link.parent, os.W_OK)):
        raise click.UsageError(f"cannot make the link {link}; give a new name in a folder that can be written to")
    chosen = _choose(board, engine, baud, clock, netlist=netlist)
    if placed is not None and board is not None:
        text = _part("dither_sim.placed").emit_placed(
            find_board(board), _part("dither_hw.build.placed").read_placed(placed)
        )
        chosen.options["verilog"] = text
        chosen.options.pop("memory", None)
    simulator = _part("dither_sim.board")
    try:
        with telling(Console(stderr=True), "compiling") as tell:
            machine = simulator.VirtualBoard(
                chosen.config,
                link=link,
                netlist=netlist,
                waves=waves,
                on_status=tell,
                **chosen.options,
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _until_told(), machine:
        click.echo(machine.path if link is None else link)
        console.print(
            f"{escape(chosen.text)}{', netlist' if netlist else ', as placed' if placed else ''}; Ctrl-C ends",
            highlight=False,
        )
        _watch(console, machine, chosen.options["clock_hz"])
    console.print(_line(machine.standing, chosen.options["clock_hz"]), highlight=False)


@contextmanager
def _until_told() -> Iterator[None]:
    """Lets Ctrl-C, or a request to terminate, end the block without an error."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _watch(console: Console, machine: Any, clock_hz: int) -> None:
    """Shows a live line in a terminal, until a signal comes or the simulation fails."""
    with console.status("") as status:
        before, rate = machine.standing.cycles, 0.0
        while machine.running:
            time.sleep(_REFRESH_SECONDS)
            now = machine.standing
            rate = (now.cycles - before) / _REFRESH_SECONDS
            before = now.cycles
            speed = f", {rate / 1e3:,.0f} kHz ({clock_hz / rate:,.0f} times slower)" if rate else ""
            status.update(f"{_line(now, clock_hz)}{speed}, {'busy' if now.busy else 'idle'}")


def _line(standing: Any, clock_hz: int) -> str:
    text = f"{standing.cycles / clock_hz:.3f} s simulated, {standing.bytes_in:,} bytes in, {standing.bytes_out:,} out"
    return text + (f", {standing.broken:,} broken" if standing.broken else "")


def _part(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DeviceError(f"the simulated gateware is not installed ({error})") from None


def _platform(board: Board) -> str:
    """Returns the name of a board's FPGA."""
    platform = _part("dither_hw.board.board").create_platform(board)
    return str(_part("dither_hw.vendor").device_of(platform))


_ROWS = (
    ("steps", "training steps", "{:,}"),
    ("cycles", "cycles", "{:,}"),
    ("cycles_wait", "of these, waiting for the link", "{:,}"),
    ("wait_share", "share of waiting", "{:.2%}"),
    ("seconds", "time on the board, s", "{:.3f}"),
    ("input_bytes", "input stream, bytes", "{:,}"),
    ("input_packed", "packed", "{:,}"),
    ("output_bytes", "output stream, bytes", "{:,}"),
    ("output_packed", "packed", "{:,}"),
    ("line_in", "bytes on the line to the board", "{:,}"),
    ("line_out", "bytes on the line from the board", "{:,}"),
    ("resent", "requests sent again", "{:,}"),
    ("simulated_hz", "speed of the simulation, cycles/s", "{:,.0f}"),
)


@click.command(
    "link-cost",
    epilog="""\b
Examples:
  dither link-cost digits --engine 1x8
  dither link-cost mnist --board ulx3s-85f --estimator tensorwise --batch 128 --tile 64
  dither link-cost digits --board icebreaker --baud 1000000 --steps 4
""",
)
@click.argument("task", type=TASK)
@_board_options
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Steps of the one command that is measured.",
)
@click.option(
    "--turnaround",
    type=click.FloatRange(0, 1),
    default=0.001,
    show_default=True,
    metavar="SECONDS",
    help="What a USB bridge and its system need until a program has what the board has sent.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def link_cost(
    task: str,
    board: str | None,
    engine: EngineConfig | None,
    baud: int | None,
    clock: int | None,
    steps: int,
    turnaround: float,
    as_json: bool,
    data: Path | None,
    network: str | None,
    stencil: str | None,
    **recipe: Any,
) -> None:
    """Train on a simulated board, line and all, and count the cycles spent waiting for the host.

    Takes the recipe options of dither train.
    """
    chosen = _choose(board, engine, baud, clock)
    simulator = _part("dither_sim.board")
    console = Console(stderr=True)
    try:
        experiment = Experiment.of_task(
            task,
            device="golden",
            engine=chosen.config,
            steps=steps,
            data=data,
            network=network,
            stencil=stencil,
            recipe={name: value for name, value in recipe.items() if value is not None},
        )
        with telling(console, "compiling") as tell:
            compiled = experiment.compile(experiment.load(), experiment.engine)
            cycles = steps * all_cycles(compiled.figures.step_counters())
            shorter = "smaller --batch and --probes make it short, and --steps 1"
            announce(console, cycles / SIMULATED_HZ, shorter)
            values = simulator.measure_steps(experiment, turnaround=turnaround, on_status=tell, **chosen.options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    table = Table(title=f"{task}: {chosen.text}")
    table.add_column("figure")
    table.add_column("", justify="right")
    for key, meaning, form in _ROWS:
        table.add_row(meaning, form.format(values[key]))
    Console().print(table)


link_cost.params += [
    parameter for parameter in train.params if parameter.name in (*RECIPE, "data", "network", "stencil")
]
