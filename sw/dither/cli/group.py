"""A group of commands that suggests what a mistyped name may have meant."""

from __future__ import annotations

import difflib

import click

__all__ = ["Commands", "suggest"]


class Commands(click.Group):
    """A group that lists commands in the order of their work and suggests near names."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Returns the commands' names in the order in which they were added."""
        return list(self.commands)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first word names.

        :raises click.UsageError: if there is none, with the nearest known name.
        """
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}; {suggest(name, list(self.commands))}")
        return super().resolve_command(context, arguments)


def suggest(name: str, known: list[str]) -> str:
    """Returns ``did you mean x?``, or the list of all known names if none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
