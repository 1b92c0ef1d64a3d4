"""The page of the command line, made from the commands themselves."""

from __future__ import annotations

import inspect
import re

import click

from .commands import COMMANDS, cli

__all__ = ["command_page"]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    """A paragraph whose options stand out as code."""
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", " ".join(text.split()))


def _options(command: click.Command, context: click.Context) -> list[str]:
    rows = []
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        metavar = "" if parameter.is_flag else f" {parameter.make_metavar(context)}"
        # What a line of help says of an option has the defaults in it too.
        record = parameter.get_help_record(context)
        rows.append(f"| `{_cell(parameter.opts[0] + metavar)}` | {_cell(_prose(record[1] if record else ''))} |")
    table = "| option | means |\n| --- | --- |\n" + "\n".join(rows)
    return [f":::{{container}} options\n{table}\n:::"] if rows else []


def _text(help: str) -> list[str]:
    """Paragraphs of a command's help; words in capitals are its arguments."""
    return [_prose(part) for part in inspect.cleandoc(help).split("\n\n")]


def _examples(epilog: str) -> list[str]:
    lines = [line.strip() for line in epilog.splitlines()]
    commands = [re.sub(r"\s{2,}(\S)", r"  # \1", line) for line in lines if line.startswith("dither ")]
    return ["```console\n" + "\n".join(f"$ {command}" for command in commands) + "\n```"] if commands else []


def command_page() -> str:
    """Returns a page of Markdown with every command: usage, help, options, examples."""
    top = click.Context(cli, info_name="dither")
    parts = ["# Command line", *_text(cli.help or ""), *_examples(cli.epilog or "")]
    parts.append("Every command has `--help`, which says the same.")
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top)
        pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
        usage = " ".join(["dither", name, *pieces])
        parts += [f"## dither {name}", f"```text\n{usage} [OPTIONS]\n```", *_text(command.help or "")]
        parts += [*_options(command, context), *_examples(command.epilog or "")]
    return "\n\n".join(parts) + "\n"
