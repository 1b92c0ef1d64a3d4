"""The commands ``dither build``, ``dither program`` and ``dither release``."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..bitstreams import CHECKSUMS, find_bitstream, gather_release
from ..boards import Board, BoardError
from ..tools.toolchain import programmer
from .answers import Answer, answering
from .boards import BOARD
from .building import BuildDisplay
from .progress import announce

__all__ = ["build", "program", "release"]


_LUT_SECONDS = 0.015
"""Seconds that a build takes for each LUT of its budget, roughly, on a machine that is idle."""
_TOOL_SECONDS = 45.0
"""Seconds for which the tools of the Python packages compile themselves, once on a machine."""
_MOST_SEEDS = 64
_BOARD = click.option(
    "--board", type=BOARD, required=True, metavar="NAME", help="A board of `dither boards`, or the path of such a file."
)


def _overrides(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for value in values:
        key, _, number = value.partition("=")
        if key not in EngineConfig.__dataclass_fields__:
            raise click.BadParameter(f"{key!r} is no parameter; known: {', '.join(EngineConfig.__dataclass_fields__)}")
        try:
            found[key] = int(number)
        except ValueError:
            raise click.BadParameter(f"{value!r}: must be KEY=INTEGER") from None
    return found


@click.command(
    epilog="""\b
Examples:
  dither build --board icebreaker                      build/icebreaker/top.bin, report.html
  dither build --board ulx3s-85f --seeds 4 --jobs 2    the best of four placements
  dither build --board icebreaker --junit budget.xml   a case for each budget
""",
)
@_BOARD
@click.option(
    "--seeds",
    type=click.IntRange(1, _MOST_SEEDS),
    metavar="N",
    help="Try N placements, with seeds 1 to N; the fastest wins.  [default: the board's]",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help="Placements at a time.  [default: as many as processors]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write.  [default: build/BOARD]",
)
@click.option("--force", is_flag=True, help="Run the tools even where the cache has what they would make.")
@click.option(
    "--engine-override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_overrides,
    help="Another value for a parameter of the engine; may be repeated.",
)
@answering("build")
@click.pass_context
def build(
    context: click.Context,
    board: Board,
    seeds: int | None,
    jobs: int | None,
    out: Path | None,
    force: bool,
    overrides: dict[str, int],
    answer: Answer,
) -> None:
    """Make a board's bitstream from its gateware with open tools, and a report of what it takes.

    The exit code is 1 if the clock is not reached or a budget of the board's file is not kept.
    """
    try:
        if overrides:
            board = replace(board, engine=EngineConfig.from_dict({**board.engine.to_dict(), **overrides}))
    except ValueError as error:
        raise click.UsageError(f"--engine-override: {error}") from None
    gateware = _gateware()
    shorter = "what the cache has is not made again; --engine-override rows=1 makes a smaller engine, sooner"
    announce(Console(stderr=True), _TOOL_SECONDS + _LUT_SECONDS * (board.budget.lut4 or 0), shorter)
    signal.signal(signal.SIGTERM, _interrupt)
    with BuildDisplay(Console(stderr=True)) as display:
        result = gateware.build(
            board,
            out or Path("build") / board.name,
            seeds=None if seeds is None else range(1, seeds + 1),
            jobs=jobs,
            again=force,
            listener=display.listen,
        )
    for verdict in result.verdicts:
        answer.echo(verdict.text, err=not verdict.kept)
        answer.case(f"{board.name}: {verdict.name}", failure=None if verdict.kept else verdict.text)
        tried = len(result.report["seeds"])
        if verdict.name == "fmax_mhz" and not verdict.kept and tried < _MOST_SEEDS:
            more = min(2 * tried, _MOST_SEEDS)
            click.echo(f"another placement may be faster: --seeds {more} tries {more}", err=True)
    answer.values = {"folder": result.folder, "kept": result.kept, **result.report}
    answer.echo(f"{result.bitstream}\nreport: {result.folder / 'report.html'}")
    if not result.kept:
        context.exit(1)


def _gateware() -> Any:
    try:
        from dither_hw import build as gateware
    except ImportError as error:
        raise DeviceError(f"the gateware is not installed ({error})") from None
    return gateware


def _interrupt(number: int, frame: object) -> None:
    """Turns a signal to terminate into an interruption, which also ends the tools."""
    raise KeyboardInterrupt


@click.command(
    epilog="""\b
Examples:
  dither program --board icebreaker                       what dither build has made
  dither program --board ulx3s-85f --build --flash        make it first if need be; it stays on the board
  dither program --board ulx3s-85f --bitstream release    out of a folder of released bitstreams
""",
)
@_BOARD
@click.option(
    "--bitstream",
    "--out",
    "place",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A bitstream with its report beside it, a folder of `dither build`, or a release.  [default: build/BOARD]",
)
@click.option("--build", "make", is_flag=True, help="Make the bitstream first, if there is none, without asking.")
@click.option("--flash", is_flag=True, help="Write the board's flash memory, so that it stays.")
@click.pass_context
def program(context: click.Context, board: Board, place: Path | None, make: bool, flash: bool) -> None:
    """Load a bitstream into a board that is plugged in.

    Its report says whose it is: a bitstream of another board, of another engine than the board's
    file asks for, or one that is damaged is refused. Where there is none yet, it can be made.
    """
    arguments = board.program.flash if flash else board.program.load
    if arguments is None:
        raise BoardError(f"{board.name}: there is no other way than without --flash")
    folder = Path("build") / board.name
    if place is None and not folder.exists():
        asked = f"There is no bitstream of {board.name} yet. Build one now? It takes some minutes."
        if make or (sys.stdin.isatty() and click.confirm(asked, err=True)):
            context.invoke(build, board=board)
    bitstream = find_bitstream(board, place or folder)
    command = [programmer(board.program.tool), *arguments, str(bitstream)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise BoardError(f"{board.program.tool} failed with exit code {code}; is the board plugged in?")
    click.echo(f"{bitstream} is on {board.name}")


@click.command(
    epilog="""\b
Examples:
  dither release build/icebreaker build/ulx3s-85f --out build/release
""",
)
@click.argument("builds", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/release"),
    show_default=True,
    metavar="DIR",
    help="Folder to write.",
)
def release(builds: tuple[Path, ...], out: Path) -> None:
    """Gather the bitstreams of BUILDS for others, with their reports, and list digests.

    SHA256SUMS lists every file of the folder, those that were there before too. A build that does
    not keep its budgets is refused.
    """
    for bitstream in gather_release(builds, out):
        click.echo(str(bitstream))
    click.echo(f"digests: {out / CHECKSUMS}")
