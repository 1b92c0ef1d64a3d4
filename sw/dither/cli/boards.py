"""The command ``dither boards``, and boards as values on the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..boards import Board, board_folder, load_board
from ..boards import boards as all_boards
from .answers import Answer, answering
from .group import suggest

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


@click.command()
@click.option("--markdown", is_flag=True, help="As a table for a page of documentation.")
@answering("boards")
def boards(markdown: bool, answer: Answer) -> None:
    """List the boards that `dither build` knows, with engine, clock and link."""
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
    if answer.as_json:
        return
    if markdown:
        lines = [_HEADINGS, ["---"] * len(_HEADINGS), *rows]
        click.echo("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return
    table = Table(*_HEADINGS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # A pipe has no width: its lines are long enough not to be cut.
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _row(board: Board) -> list[str]:
    megahertz, link = f"{board.clock.hz / 1e6:g} MHz", f"{board.uart.baud:,} baud, {board.uart.bridge}"
    return [board.name, board.title, board.engine.geometry, str(board.engine.multipliers), megahertz, link]
