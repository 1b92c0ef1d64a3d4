"""The page of packages: what every folder of the sources holds, from the docstring it begins
with."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .markdown import document, table

__all__ = ["package_page"]

_ROOTS = ("dither", "dither_hw", "dither_sim")


def _packages(root: str) -> Iterator[tuple[str, str]]:
    """Names of a root's packages, and the first paragraph of what each says of itself."""
    spec = find_spec(root)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).rglob("__init__.py")):
            name = ".".join([root, *path.parent.relative_to(folder).parts])
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            yield f"`{name}`", " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def package_page() -> str:
    """Returns the text of ``docs/packages.md``."""
    return document(
        "Packages",
        "the docstring that each package begins with",
        "Sources of `dither` are in `sw`, those of `dither_hw` in `hw`, those of `dither_sim` in `sim`. Who may import "
        "whom, `tests/unit/test_architecture.py` says and checks; how they go together, the "
        "[architecture](architecture.md).",
        table(["package", "holds"], [row for root in _ROOTS for row in _packages(root)]),
    )
