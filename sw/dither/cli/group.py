"""A group of commands that loads a command's module when it is used.

It suggests what a mistyped name may have meant.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

__all__ = ["Commands", "Entry", "refusals", "suggest"]


class Entry(NamedTuple):
    """What the list of commands knows of a command without loading it."""

    module: str
    """Name of the module of this package that defines the command."""
    name: str
    """Name of the command in that module."""
    help: str
    """Help for the list of commands, one line."""
    section: str = "Training"
    """Heading under which the list of commands shows it."""


class Commands(click.Group):
    """A group of commands that stand in a table and are loaded when they are used.

    :param table: the commands by the names that people type, in the order of their work.
    """

    def __init__(self, *, table: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(**settings)
        self.table = table

    def list_commands(self, context: click.Context) -> list[str]:
        """Returns the commands' names in the order of the table."""
        return list(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Loads the command of a given name and returns it; None if there is none."""
        if (entry := self.table.get(name)) is None:
            return None
        command: click.Command = getattr(importlib.import_module(f".{entry.module}", __package__), entry.name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands from the table, without loading any of them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.table.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for title, entries in sections.items():
            with formatter.section(title):
                formatter.write_dl(entries, col_max=16)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first word names.

        :raises click.UsageError: if there is none, with the nearest known name.
        """
        name = arguments[0]
        for before, word in itertools.pairwise(arguments):
            if not word or (word.startswith("--") and word.endswith("=")):
                option = word[:-1] or (before if before.startswith("-") else "an argument")
                raise click.UsageError(f"{option} is empty; give it a value, or leave it out")
        if name not in self.table and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}; {suggest(name, list(self.table))}")
        return super().resolve_command(context, arguments)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what constructors and the compiler refuse into one line for people."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def suggest(name: str, known: list[str]) -> str:
    """Returns ``did you mean x?``, or the list of all known names if none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
