"""The commands ``dither link-bench`` and ``dither link-soak``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..link.driver import LinkDevice
from ..link.faults import FaultyTransport
from ..link.measure import measure_link
from ..link.ports import AUTO, is_line, open_board, open_port
from ..train.soak import soak

__all__ = ["link_bench", "link_soak"]


@click.command(
    "link-bench",
    epilog="""\b
Examples:
  dither link-bench /dev/ttyUSB0
  dither link-bench serial:auto --json
""",
)
@click.argument("port", metavar="PORT[@BAUD]")
@click.option("--pings", type=click.IntRange(1), default=200, show_default=True, metavar="N", help="Round trips.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 600),
    default=2.0,
    show_default=True,
    metavar="X",
    help="How long upload and download take, each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def link_bench(port: str, pings: int, seconds: float, as_json: bool) -> None:
    """Ask the board at PORT who it is, and measure round trips, upload and download.

    Ends whatever another driver was doing with the board, and overwrites its program and
    activations.
    """
    columns = (TextColumn("{task.description}"), BarColumn())
    with _open(port) as device, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("opening", total=1.0)
        values = measure_link(
            device,
            pings=pings,
            seconds=seconds,
            tell=lambda what, part: progress.update(task, description=what, completed=part),
        )
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        Console(soft_wrap=True).print(_table(values))


def _table(values: dict[str, Any]) -> Table:
    trip, config = values["round_trip_seconds"], EngineConfig.from_dict(values["engine"])
    table = Table(title=f"{values['board']} on {values['port']}")
    table.add_column("figure")
    table.add_column("", justify="right")
    rows = [
        ("build", values["build"]),
        ("engine", f"{config.geometry}, {config.width} bits ({config.digest()})"),
        ("clock", f"{values['clock'] / 1e6:g} MHz"),
        ("line", f"{values['baud']:,} baud"),
        ("buffers in, out", f"{values['input_buffer']:,}, {values['output_buffer']:,} bytes"),
        ("round trip: least", f"{1e3 * trip['least']:.2f} ms"),
        ("round trip: median", f"{1e3 * trip['median']:.2f} ms"),
        ("round trip: 99 %", f"{1e3 * trip['p99']:.2f} ms"),
        ("upload", f"{values['upload_bytes_per_s']:,.0f} bytes/s, {values['upload_of_limit']:.0%} of the line"),
        ("download", f"{values['download_bytes_per_s']:,.0f} bytes/s, {values['download_of_limit']:.0%} of the line"),
        ("requests, sent again", f"{values['requests']:,}, {values['resent']:,}"),
        ("timeouts, damaged responses", f"{values['timeouts']:,}, {values['damaged']:,}"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


@click.command(
    "link-soak",
    epilog="""\b
Examples:
  dither link-soak /dev/ttyUSB0 --faults 500
""",
)
@click.argument("port", metavar="PORT[@BAUD]")
@click.option("--faults", type=click.IntRange(1), default=200, show_default=True, metavar="N", help="Faults, at least.")
@click.option(
    "--chance",
    type=click.FloatRange(0.001, 0.5),
    default=0.05,
    show_default=True,
    metavar="X",
    help="Probability of a fault, for each frame.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="Seed of the faults.")
def link_soak(port: str, faults: int, chance: float, seed: int) -> None:
    """Train digits on the board at PORT over a line that fails on purpose.

    Again and again, while the driver's end of the line loses, adds and flips bits and bytes,
    repeats and drops frames, stands still and is cut off; every curve is compared with the golden
    machine's.
    """
    with _open(port) as device:
        config = device.config

    def line(random: np.random.Generator, counts: Counter[str]) -> FaultyTransport:
        def cut() -> None:
            faulty.unplug()

        faulty = FaultyTransport(
            open_port(port), random, chance=chance, disasters={"cut off": cut}, pause=0.05, counts=counts
        )
        return faulty

    console = Console(stderr=True)
    with console.status("soaking") as status:
        try:
            outcome = soak(
                line,
                config,
                faults=faults,
                seed=seed,
                tell=lambda now: status.update(f"{now.faults.total()} faults, {now.runs} runs"),
            )
        except AssertionError as error:
            raise DeviceError(str(error)) from None
    click.echo(outcome.report())


def _open(port: str) -> LinkDevice:
    if not is_line(port):
        raise click.UsageError(f"{port!r} is no serial port; give a path such as /dev/ttyUSB0, or {AUTO}")
    return open_board(port)
