"""Docstrings of everything public begin with a sentence that makes sense alone, in a tooltip."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"dither": ROOT / "sw", "dither_hw": ROOT / "hw", "dither_sim": ROOT / "sim"}
NOT_YET = ("dither.compiler", "dither.recipe", "dither.arch.compact", "dither_hw")
"""Packages whose docstrings are still to be reworded; this list may only become shorter."""
INHERITED = {"elaborate"}
"""Methods whose meaning another library defines."""

Found = tuple[str, int, str | None]
"""Qualified name, line and docstring."""


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def _members(body: list[ast.stmt], prefix: str) -> Iterator[Found]:
    """Public classes, functions and methods, and what is said of public constants and fields."""
    for number, node in enumerate(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("_") and node.name not in INHERITED:
                name = f"{prefix}.{node.name}"
                yield name, node.lineno, ast.get_docstring(node)
                if isinstance(node, ast.ClassDef):
                    yield from _members(node.body, name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            said = _text(body[number + 1]) if number + 1 < len(body) else None
            if isinstance(target, ast.Name) and not target.id.startswith("_") and said is not None:
                yield f"{prefix}.{target.id}", node.lineno, said


def _public(path: Path, root: Path) -> Iterator[Found]:
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    tree = ast.parse(path.read_text())
    yield name, 1, ast.get_docstring(tree)
    yield from _members(tree.body, name)


def complaint(docstring: str | None) -> str | None:
    """Returns what is wrong with a docstring's first sentence; None if it is as it should be."""
    if not docstring or not docstring.strip():
        return "has no docstring"
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    match = re.match(r"(.+?[.])(?=\s|$)", paragraph)
    if match is None:
        return f"begins with no sentence that ends with a period: {paragraph!r}"
    sentence = match[1]
    if len(sentence.split()) < 4:
        return f"says too little: {sentence!r}"
    if sentence.startswith(("Of ", "See ")) or sentence[0].islower():
        return f"does not make sense alone: {sentence!r}"
    return None


def _covered(name: str) -> bool:
    return not any(name == package or name.startswith(f"{package}.") for package in NOT_YET)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_sentence_that_makes_sense_alone(package: str) -> None:
    root = PACKAGES[package]
    wrong = []
    for path in sorted((root / package).rglob("*.py")):
        for name, line, docstring in _public(path, root):
            if _covered(name) and (what := complaint(docstring)):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name} {what}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", NOT_YET)
def test_packages_still_to_be_reworded_exist_and_need_it(package: str) -> None:
    root = PACKAGES[package.partition(".")[0]]
    folder = root.joinpath(*package.split("."))
    assert folder.is_dir()
    found = (complaint(docstring) for path in folder.rglob("*.py") for _, _, docstring in _public(path, root))
    assert any(found), f"{package} is as it should be: take it off NOT_YET"


@pytest.mark.parametrize(
    ("docstring", "good"),
    [
        ("Name of the estimator assigned to this layer.", True),
        ("Returns the program's words.\n\nThey have 32 bits.", True),
        ("Of a layer that learns locally.", False),
        ("See :class:`Problem` for what it is.", False),
        ("by name, makers of all problems.", False),
        ("Appends it.", False),
        ("Returns the program's words", False),
        ("", False),
        (None, False),
    ],
)
def test_first_sentences_are_told_apart(docstring: str | None, good: bool) -> None:
    assert (complaint(docstring) is None) is good
