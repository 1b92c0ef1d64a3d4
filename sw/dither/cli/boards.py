"""The command ``dither boards``, and boards as values on the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..arch.pages.markdown import table as markdown_rows
from ..bitstreams import build_report, find_bitstream
from ..boards import RESOURCES, Board, board_folder, load_board
from ..boards import boards as all_boards
from ..fit import overview, overview_digest
from ..fit.tables import learning_rows, with_tables
from ..train.tasks import task_names
from .answers import Answer, answering
from .generated import write_file
from .group import suggest
from .values import Suggesting

__all__ = ["BOARD", "boards"]


class BoardType(click.ParamType[Board]):
    """Value on the command line: a board's name, or the path of a board's file."""

    name = "board"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Board:
        """Returns the board that a name or path stands for.

        :raises BoardError: if its file is wrong.
        :raises click.UsageError: if there is no such board.
        """
        if isinstance(value, Board):
            return value
        if value.endswith(".toml"):
            return load_board(Path(value))
        known = {path.stem: path for path in board_folder().glob("*.toml")}
        if value not in known:
            raise click.UsageError(
                f"unknown board {value!r}; {suggest(value, sorted(known))} (or a path of a .toml file)"
            )
        return load_board(known[value])


BOARD = BoardType()
"""Type of options whose value is a board."""
_HEADINGS = ["board", "maker and FPGA", "engine", "multipliers", "clock", "link"]
_BUILT_HEADINGS = ["board", "engine", "clock asked for", "reached", "logic", "flip-flops", "multipliers", "block RAM"]
_BUILT = re.compile(r"(<!-- dither boards --built -->\n).*?(<!-- end -->)", re.DOTALL)


@click.command(
    epilog="""\b
Examples:
  dither boards
  dither boards --learn                             half a minute, and MNIST's files
  dither boards --learn --task digits
  dither boards --built build                       what the bitstreams in build/BOARD take and reach
""",
)
@answering("boards")
@click.option("--markdown", is_flag=True, help="As a table for a page of documentation.")
@click.option("--learn", is_flag=True, help="What each of them learns: the best recorded recipes that fit, and time.")
@click.option(
    "--task",
    "tasks",
    type=Suggesting("task", task_names()),
    multiple=True,
    help="Only this task, with --learn; may be repeated.",
)
@click.option(
    "--built",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="What the bitstreams in DIR/BOARD take of their FPGAs, and the clocks they reach.",
)
@click.option(
    "--into",
    "pages",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    metavar="FILE",
    help="Make the tables of --learn or --built in this page again; may be repeated.",
)
def boards(
    markdown: bool, learn: bool, tasks: tuple[str, ...], built: Path | None, pages: tuple[Path, ...], answer: Answer
) -> None:
    """List the boards that `dither build` knows, with engine, clock and link."""
    if learn and built is not None:
        raise click.UsageError("give --learn or --built, not both")
    if tasks and not learn:
        raise click.UsageError("--task goes with --learn")
    if pages and not learn and built is None:
        raise click.UsageError("--into goes with --learn or --built")
    if built is not None:
        _built(markdown, built, pages, answer)
        return
    if learn:
        _learn(markdown, tasks or tuple(task_names()), pages, answer)
        return
    rows = []
    for board in all_boards().values():
        rows.append(_row(board))
        answer.case(board.name)
        answer.values[board.name] = {
            "title": board.title,
            "engine": board.engine.to_dict(),
            "engine_digest": board.engine.digest(),
            "clock_hz": board.clock.hz,
            "baud": board.uart.baud,
            "memory": None if board.memory is None else board.memory.chip.name,
            "budget": asdict(board.budget),
        }
    _show(_HEADINGS, rows, markdown, answer)


def _show(headings: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool, answer: Answer) -> None:
    if answer.as_json:
        return
    if markdown:
        click.echo(markdown_rows(headings, rows))
        return
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    # A pipe has no width: its lines are long enough not to be cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _built(markdown: bool, folder: Path, pages: tuple[Path, ...], answer: Answer) -> None:
    """Tells of the bitstreams in a folder, each checked against its board's file of today.

    :raises BoardError: if one is missing, damaged, or of another engine.
    """
    rows = []
    for board in all_boards().values():
        if not (folder / board.name).is_dir():
            continue
        find_bitstream(board, folder / board.name)
        report = build_report(folder / board.name / "report.json")
        answer.case(board.name)
        answer.values[board.name] = {key: report[key] for key in ("build_id", "clock_mhz", "fmax_mhz", "resources")}
        rows.append(_built_row(board, report))
    if not rows:
        raise click.UsageError(f"there is no board's bitstream in {folder}; make one: dither build --board NAME")
    made = markdown_rows(_BUILT_HEADINGS, rows)
    _rewrite(pages, lambda text: _BUILT.sub(lambda match: f"{match[1]}{made}\n{match[2]}", text), answer)
    if markdown or not pages:
        _show(_BUILT_HEADINGS, rows, markdown, answer)


def _rewrite(pages: tuple[Path, ...], made: Callable[[str], str], answer: Answer) -> None:
    for page in pages:
        write_file(page, made(page.read_text(encoding="utf-8")).encode())
        answer.echo(f"wrote {page}")


def _built_row(board: Board, report: Mapping[str, Any]) -> list[str]:
    taken = [f"{of['used']:,} of {of['available']:,}" for of in map(report["resources"].get, RESOURCES)]
    return [board.name, board.engine.geometry, f"{board.clock.hz / 1e6:g} MHz", f"{report['fmax_mhz']:.1f} MHz", *taken]


def _learn(markdown: bool, tasks: tuple[str, ...], pages: tuple[Path, ...], answer: Answer) -> None:
    found = all_boards()
    with Console(stderr=True).status("looking at recorded results") as status:
        cells = overview(found, tasks, lambda text: status.update(escape(text)))
    for cell in cells:
        answer.values.setdefault(cell.board.name, {})[cell.task] = (
            None if cell.finding is None else cell.finding.to_dict()
        )
    _rewrite(pages, lambda text: with_tables(text, cells, overview_digest(found)), answer)
    if markdown or not pages:
        headings, *rows = learning_rows(cells)
        _show(headings, rows, markdown, answer)


def _row(board: Board) -> list[str]:
    megahertz, link = f"{board.clock.hz / 1e6:g} MHz", f"{board.uart.baud:,} baud, {board.uart.bridge}"
    return [board.name, board.title, board.engine.geometry, str(board.engine.multipliers), megahertz, link]
