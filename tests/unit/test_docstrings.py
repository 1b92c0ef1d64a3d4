"""Docstrings of everything public begin with a sentence that makes sense alone, in a tooltip."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"dither": ROOT / "sw", "dither_hw": ROOT / "hw", "dither_sim": ROOT / "sim"}
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


def _inherited(package: Path) -> set[str]:
    """Members without a docstring of their own that a base class of the same package explains, as
    ``Class.member``; classes go by their bare names here.
    """
    classes: dict[str, tuple[list[str], dict[str, bool]]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
                classes[node.name] = bases, {each.name: bool(ast.get_docstring(each)) for each in methods}

    def explains(name: str, member: str) -> bool:
        bases, members = classes.get(name, ([], {}))
        return members.get(member, False) or any(explains(base, member) for base in bases)

    return {
        f"{name}.{member}" for name, (_, members) in classes.items() for member in members if explains(name, member)
    }


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


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_sentence_that_makes_sense_alone(package: str) -> None:
    root = PACKAGES[package]
    wrong = []
    inherited = _inherited(root / package)
    for path in sorted((root / package).rglob("*.py")):
        for name, line, docstring in _public(path, root):
            if docstring is None and ".".join(name.split(".")[-2:]) in inherited:
                continue
            if what := complaint(docstring):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name} {what}")
    assert not wrong, "\n".join(wrong)


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
