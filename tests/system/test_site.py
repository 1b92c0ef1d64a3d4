"""The documentation's site: it is built without a warning, and its references lack nothing."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import dither
from dither.boards import PLATFORM_VARIABLE
from dither.cli.commands import cli
from dither.cli.page import command_page
from dither.data import DATA_VARIABLE
from dither.tools.toolchain import FPGA_TOOLS

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "tutorials" / "digits-to-board.ipynb"


def installed(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'dither[docs]'")


def test_the_command_lines_page_has_every_command_and_option() -> None:
    sections = dict(re.findall(r"^## dither (\S+)\n(.*?)(?=^## |\Z)", command_page(), re.MULTILINE | re.DOTALL))
    context = click.Context(cli)
    assert list(sections) == cli.list_commands(context)
    for name, text in sections.items():
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"| `{parameter.opts[0]}" in text, (name, parameter.opts)
        assert text.count("$ dither ") == (command.epilog or "").count("  dither ")


def test_the_python_page_has_every_name() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    listed = re.findall(r"^\.\. auto\w+:: dither\.(?:[\w.]+\.)?(\w+)$", page, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(dither.__all__) <= set(listed)


def test_the_page_of_environment_variables_has_all_of_them() -> None:
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    listed = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page))
    asked = {DATA_VARIABLE, PLATFORM_VARIABLE}
    sources = "".join(path.read_text() for folder in ("sw", "hw", "sim") for path in (ROOT / folder).rglob("*.py"))
    asked |= set(re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', sources)) - {"PATH"}
    assert listed == asked | {tool.variable for tool in FPGA_TOOLS.values()}


def test_every_page_can_be_reached() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    trees = re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
    listed = {line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}
    pages = {
        str(path.relative_to(ROOT / "docs").with_suffix(""))
        for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.ipynb")]
        if path.name not in ("index.md", "note.md")
    }
    assert pages == listed


def test_the_notebook_is_kept_with_its_outputs() -> None:
    installed("nbformat")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    silent = [cell.source for cell in code(notebook) if not cell.outputs]
    assert all("compile(" not in source and "print(" not in source for source in silent)
    assert not [output for cell in code(notebook) for output in cell.outputs if output.output_type == "error"]
    assert "every bit equal: True" in said(notebook)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(notebook: Any) -> str:
    """All that its cells print."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.slow
def test_the_notebook_says_the_same_when_it_is_executed_again() -> None:
    installed("nbclient", "nbformat", "ipykernel")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = said(notebook)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert said(notebook) == before
    assert sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell.outputs) == 3


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    installed("sphinx", "furo", "myst_nb", "sphinx_design")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run(
        [*command, ROOT / "docs", tmp_path / "site"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    front = (tmp_path / "site" / "index.html").read_text()
    assert "https://" not in re.sub(r"<footer.*?</footer>|<!--.*?-->", "", front, flags=re.DOTALL)
    for name in ("engine", "memories", "program", "step"):
        assert (tmp_path / "site" / "_images" / f"{name}.svg").is_file()


def written() -> list[str]:
    """Every command line of dither in a block of code, on any page and in the help of commands."""
    pages = [path.read_text() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]]
    lines = set()
    for text in [command_page(), *pages]:
        inside = False
        for line in text.replace("\\\n", " ").splitlines():
            inside ^= line.startswith("```")
            match = re.match(r"(?:\$ | {4})?dither (\S.*)", line)
            if match and not line.endswith("[OPTIONS]") and (inside or line.startswith("    ")):
                lines.add(re.sub(r"\s+# .*| {2,}.*", "", match[1]).strip())
    return sorted(lines)


@pytest.mark.parametrize("line", written())
def test_commands_that_are_written_down_are_commands(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    for code in re.findall(r"\S+\.py\b", line):
        (tmp_path / code).touch()
    # What stands behind a pipe, && or > is for the shell.
    name, *words = shlex.split(re.split(r" (?:[|&>]|2>|\.\.\.)", line)[0])
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, words)
