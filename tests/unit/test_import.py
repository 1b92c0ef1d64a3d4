"""What ``import dither`` offers, and that neither it nor the command line imports more than it
needs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dither
from dither.cli import commands

HEAVY = {"amaranth", "jinja2", "matplotlib", "numpy", "rich", "scipy", "serial", "sklearn", "torch"}
"""Packages that take tenths of a second to import."""


def imported(program: str, *arguments: str) -> set[str]:
    """The heavy packages that a program has imported when it ends."""
    report = "import sys; print('\\nimported:', *sys.modules)"
    call = [sys.executable, "-c", f"{program}\n{report}", *arguments]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    modules = done.stdout.rpartition("imported:")[2].split()
    assert "dither" in modules
    return HEAVY & set(modules)


def test_importing_dither_imports_nothing_heavy():
    assert imported("import dither; dir(dither)") == set()


def test_a_name_imports_only_what_it_needs():
    assert imported("import dither; dither.engine('4x32')") == set()
    assert imported("import dither; dither.load_run") <= {"numpy", "serial"}
    assert imported("import dither; dither.Session, dither.from_torch") <= {"numpy", "serial"}


@pytest.mark.parametrize("arguments", ["--version", "--help"])
def test_the_command_line_imports_nothing_heavy(arguments):
    assert imported("import sys; from dither.cli import main; main(sys.argv[1:])", arguments) == set()


@pytest.mark.parametrize("command", ["train", "report", "build", "baseline"])
def test_commands_import_no_plots_and_no_gateware_before_they_work(command):
    found = imported("import sys; from dither.cli import main; main(sys.argv[1:])", command, "--help")
    assert found <= {"jinja2", "numpy", "rich", "serial"}


@pytest.mark.parametrize("name", dither.__all__)
def test_every_name_is_there_with_a_docstring(name):
    found = getattr(dither, name)
    assert name in dir(dither)
    assert inspect.getdoc(found)


def test_type_checkers_see_the_same_names():
    (block,) = (
        node
        for node in ast.parse(Path(dither.__file__).read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        module = importlib.import_module(f"dither.{node.module}")
        seen |= {alias.asname: getattr(module, alias.name) for alias in node.names}
    # The package takes the place of the function of its name, and can be called instead.
    assert seen.pop("train") is importlib.import_module("dither.api.training").train
    assert seen == {name: getattr(dither, name) for name in dither.__all__ if name != "train"}


@pytest.mark.parametrize("first", ["import dither", "import dither.train.loop", "from dither.train.task import Task"])
def test_train_can_be_called_whatever_has_been_imported(first):
    program = f"{first}\nimport dither, dither.train.loop as loop\nfrom dither import train\n"
    program += "assert callable(train) and dither.train.loop is loop\n"
    program += "try:\n  dither.train([[1.0]])\nexcept ValueError as error:\n  assert 'y is missing' in str(error)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="module 'dither' has no attribute 'network'"):
        dither.network  # noqa: B018


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_the_table_of_commands_names_commands(name):
    command = commands.cli.get_command(click.Context(commands.cli), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help
