"""A group of commands that suggests what a mistyped name may have meant."""

from __future__ import annotations

import difflib

import click

__all__ = ["Commands", "Suggesting"]


class Commands(click.Group):
    """Lists commands in the order of their work, and suggests near names."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}; {suggest(name, list(self.commands))}")
        return super().resolve_command(context, arguments)


class Suggesting(click.ParamType):
    """A choice among known names, with a suggestion for unknown ones.

    :param kind: what the names are, in the message.
    :param names: the known ones.
    """

    name = "name"

    def __init__(self, kind: str, names: list[str]) -> None:
        self.kind = kind
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.names)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            raise click.UsageError(f"unknown {self.kind} {value!r}; {suggest(value, self.names)}")
        return value


def suggest(name: str, known: list[str]) -> str:
    """``did you mean x?``, or the list of all where nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
