"""Every command and program in tutorials and how-to pages does what the page says."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.snippets import Page, Snippet, command_folder, snippets

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("tutorials/*.md"), *DOCS.glob("how-to/*.md")])


def execute(page: Path, chosen: list[Snippet], tmp_path: Path) -> None:
    path = f"{command_folder(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
    folder = tmp_path / "folder"
    folder.mkdir()
    own = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "STATE")}
    runner = Page(folder, {"PATH": path, "PYTHONUNBUFFERED": "1", **own})
    try:
        for snippet in chosen:
            wrong = runner.run(snippet)
            assert wrong is None, f"{page.name}, line {snippet.line}: {wrong}"
    finally:
        runner.close()


def needs(page: Path) -> None:
    if "import torch" in page.read_text() and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_quick_snippets(page: Path, tmp_path: Path) -> None:
    needs(page)
    chosen = [snippet for snippet in snippets(page) if snippet.left_out is None and not snippet.slow]
    execute(page, chosen, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_snippets(page: Path, tmp_path: Path) -> None:
    needs(page)
    chosen = [snippet for snippet in snippets(page) if snippet.left_out is None]
    if not any(snippet.slow for snippet in chosen):
        pytest.skip("all of its snippets are quick ones")
    execute(page, chosen, tmp_path)


def test_a_page_that_says_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one; echo two\none\ntw…\n$ exit 3\n```\n\n```python\nprint(1)\n```\n\n```text\n2\n```\n"
    )
    console, python, text = snippets(page)
    runner = Page(tmp_path, {})
    assert "exit 3 ended with 3" in str(runner.run(console))
    assert runner.run(python) is None
    assert "does not print '2'" in str(runner.run(text))
    page.write_text(
        "```console\n$ echo one; echo two\ntwo\none\n```\n\n<!-- not run: a board is needed -->\n```console\n$ x\n```\n"
    )
    wrong_order, left_out = snippets(page)
    assert "does not print 'one'" in str(runner.run(wrong_order))
    assert left_out.left_out == "a board is needed"
