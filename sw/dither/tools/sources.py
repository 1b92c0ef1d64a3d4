"""Files of the project that a module depends on, for the keys of caches."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["source_files"]

_PROJECT = ("dither", "dither_hw", "dither_sim")


def source_files(module: str, packages: Collection[str] = _PROJECT) -> list[Path]:
    """Returns the files of a module and of all that it imports from this project, sorted.

    Imports count whether they are direct or not.

    :param packages: outermost packages whose modules count.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name) if name not in found else None
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        imported = _imports(found[name], name, spec.parent or "")
        waiting += [other for other in imported if other.partition(".")[0] in packages and _exists(other)]
    return sorted(found.values())


def _imports(path: Path, module: str, package: str) -> Iterator[str]:
    """Yields names that may be modules: imported ones, and members of packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            names = [str(base), *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            if name != module:
                yield name


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
