"""What pages are made of: paragraphs, tables, and the docstrings of constants and members."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Sequence
from types import ModuleType

__all__ = ["COLUMNS", "attribute_docs", "document", "table"]

COLUMNS = 100
"""Prose of a page wraps here."""


def document(title: str, source: str, *parts: str) -> str:
    """Returns a page of Markdown.

    :param title: its heading.
    :param source: the modules that it is made from, for a line that says so.
    :param parts: headings, tables and code blocks, which stay as they are, and paragraphs and items
        of lists, which are wrapped.
    """
    first = f"`dither docs` makes this page from {source}; do not edit it."
    return "\n\n".join([f"# {title}", *(_wrapped(part) for part in (first, *parts))]) + "\n"


def _wrapped(part: str) -> str:
    if part.startswith(("#", "|", "```")):
        return part
    lines = part.splitlines() if part.startswith("- ") else [" ".join(part.split())]
    return "\n".join(
        textwrap.fill(
            line,
            COLUMNS,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of Markdown; bars within cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def attribute_docs(module: ModuleType) -> dict[str, str]:
    """Returns docstrings of a module's constants and of its classes' members.

    Each is one line, by name: ``WORD_BITS``, ``Rule.ADAM``.
    """
    found: dict[str, str] = {}

    def visit(body: Sequence[ast.stmt], prefix: str) -> None:
        for statement, following in zip(body, [*body[1:], None], strict=True):
            match statement:
                case ast.ClassDef(name=name, body=members):
                    visit(members, f"{name}.")
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    match following:
                        case ast.Expr(value=ast.Constant(value=str() as text)):
                            found[prefix + name] = " ".join(inspect.cleandoc(text).split())

    visit(ast.parse(inspect.getsource(module)).body, "")
    return found
