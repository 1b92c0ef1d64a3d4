"""A group of commands that loads each command's module when somebody asks for it, and suggests what
a mistyped name may have meant.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

__all__ = ["Commands", "Entry", "suggest"]


class Entry(NamedTuple):
    """What the list of commands knows of a command without loading it."""

    module: str
    """The module that defines the command, in this package."""
    name: str
    """The command's name in that module."""
    help: str
    """One line for the list."""


class Commands(click.Group):
    """A group whose commands stand in a table.

    :param table: the commands by the names that people type, in the order of their work.
    """

    def __init__(self, *, table: Mapping[str, Entry], **settings: Any) -> None:
        super().__init__(**settings)
        self.table = table

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if (entry := self.table.get(name)) is None:
            return None
        command: click.Command = getattr(importlib.import_module(f".{entry.module}", __package__), entry.name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in self.table and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}; {suggest(name, list(self.table))}")
        return super().resolve_command(context, arguments)


def suggest(name: str, known: list[str]) -> str:
    """``did you mean x?``, or the list of all where nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
