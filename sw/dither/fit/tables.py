"""What every board learns, as a table for people and for pages of documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..arch.pages.markdown import table
from ..report.text import duration
from .overview import Cell

__all__ = ["learning_rows", "markdown_table", "with_tables"]

NOTHING = "—"
"""What stands in a table where no recorded recipe fits."""
_BLOCK = re.compile(
    r"(<!-- dither boards --learn(?P<names>(?: [a-z0-9-]+)*)(?: \([0-9a-f]+\))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def learning_rows(cells: Sequence[Cell], names: Sequence[str] = ()) -> list[list[str]]:
    """Returns a table's headings and rows: a board in each row, a task in each column.

    Tasks that no board learns have no column.

    :param names: boards that are shown; all if there are none.
    """
    tasks = [task for task in dict.fromkeys(cell.task for cell in cells) if _any(cells, task)]
    found = {(cell.board.name, cell.task): cell for cell in cells}
    rows = [["board", "engine", *tasks]]
    for board in dict.fromkeys(cell.board.name for cell in cells):
        if names and board not in names:
            continue
        engine = found[board, cells[0].task].board.engine
        rows.append([board, f"{engine.geometry}, {engine.width} bits", *(_text(found[board, task]) for task in tasks)])
    return rows


def _any(cells: Sequence[Cell], task: str) -> bool:
    return any(cell.finding is not None for cell in cells if cell.task == task)


def _text(cell: Cell) -> str:
    """Returns a cell's words, such as ``97.98% in 3 min 12 s, mirror, exact``."""
    known, seconds = cell.known, cell.seconds
    if known is None:
        return NOTHING
    ways = " → ".join(_estimator(phase.recipe.estimator) for phase in known.phases)
    time = "" if seconds is None else f" in {duration(seconds)}"
    return f"{known.metric.text(known.final)}{time}, {ways}"


def _estimator(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else " and ".join(dict.fromkeys(names))


def markdown_table(cells: Sequence[Cell], names: Sequence[str] = ()) -> str:
    """Returns the table in Markdown."""
    headings, *rows = learning_rows(cells, names)
    return table(headings, rows)


def with_tables(page: str, cells: Sequence[Cell], digest: str) -> str:
    """Returns a page of documentation with its tables of learning made again.

    Such a table stands between ``<!-- dither boards --learn NAME... (digest) -->``, which names the
    boards that it shows, and ``<!-- end -->``.

    :param digest: of what the cells were made of, :func:`~dither.fit.overview_digest`.
    """

    def made(match: re.Match[str]) -> str:
        names = match["names"].split()
        mark = " ".join(["<!-- dither boards --learn", *names, f"({digest}) -->"])
        return f"{mark}\n{markdown_table(cells, names)}\n{match[3]}"

    return _BLOCK.sub(made, page)
