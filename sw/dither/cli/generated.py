"""Files that derive from data: written, or compared with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ..tools.files import write_atomically

__all__ = ["CHECK", "report_stale", "write_file"]

CHECK = click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a page is out of date.")
"""The option of commands that write pages."""


def report_stale(texts: Mapping[Path, str], command: str) -> bool:
    """Says of each page whether it is up to date; returns whether one is not.

    :param texts: what the pages must hold.
    :param command: what makes them again.
    """
    stale = [page for page, text in texts.items() if not page.is_file() or page.read_text("utf-8") != text]
    for page in texts:
        click.echo(f"{page}: {f'out of date; run: {command}' if page in stale else 'up to date'}")
    return bool(stale)


def write_file(path: Path, content: bytes, advice: str = "") -> None:
    """Writes a file in a folder that there is.

    :param advice: what to do where it cannot be written, a few words.
    :raises click.UsageError: if it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}{advice and f'; {advice}'}") from None
