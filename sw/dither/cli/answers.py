"""What commands answer to programs: one JSON object, and a JUnit file of what was checked.

A command that is decorated with :func:`answering` has the options ``--json`` and ``--junit``, and
takes an :class:`Answer`, into which it puts figures and cases.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
from rich.console import Console

from ..tools.files import make_folders, write_atomically

__all__ = ["Answer", "Case", "answering"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a command has done or checked, a test case of JUnit."""

    name: str
    """What was done or checked, in a few words."""
    seconds: float
    """How long it took."""
    failure: str | None = None
    """What is wrong, if it was checked and is not as it should be."""
    error: str | None = None
    """What kept it from being checked."""
    skipped: str | None = None
    """Why it was left out."""


class Answer:
    """A command's answer as it grows; written when the command ends, however it ends.

    :param command: the command's name.
    :param as_json: whether standard output is for one JSON object alone.
    :param junit: file for the cases; None for no file.
    """

    def __init__(self, command: str, as_json: bool = False, junit: Path | None = None) -> None:
        self.command = command
        self.as_json = as_json
        self.junit = junit
        self.values: dict[str, Any] = {}
        """What the JSON object holds."""
        self.cases: list[Case] = []
        """Cases of the JUnit file, in their order."""
        self._since = time.monotonic()

    def console(self, **settings: Any) -> Console:
        """Returns a console for people: standard output, or standard error beside JSON."""
        return Console(stderr=self.as_json, **settings)

    def echo(self, text: str, *, err: bool = False) -> None:
        """Prints a line for people, where :meth:`console` would."""
        click.echo(text, err=err or self.as_json)

    def case(self, name: str, **outcome: str | None) -> None:
        """Adds a case, which took the time since the one before.

        :param outcome: ``failure``, ``error`` or ``skipped`` with what to say; none if all is well.
        """
        now = time.monotonic()
        self.cases.append(Case(name, now - self._since, **outcome))
        self._since = now

    def prepare(self) -> None:
        """Makes sure that the JUnit file can be written, before the work.

        :raises click.UsageError: if it cannot.
        """
        if self.junit is not None:
            try:
                make_folders(self.junit.parent)
                self._write_junit()
            except OSError as error:
                raise click.UsageError(f"cannot write {self.junit}: {error.strerror}; choose another --junit") from None

    def close(self) -> None:
        """Writes the JUnit file and prints the JSON object, as far as they are wanted."""
        if self.junit is not None:
            self._write_junit()
        if self.as_json:
            click.echo(json.dumps(_plain(self.values), indent=2, ensure_ascii=False))

    def _write_junit(self) -> None:
        assert self.junit is not None
        counts = {
            "tests": len(self.cases),
            "failures": sum(case.failure is not None for case in self.cases),
            "errors": sum(case.error is not None for case in self.cases),
            "skipped": sum(case.skipped is not None for case in self.cases),
            "time": f"{sum(case.seconds for case in self.cases):.3f}",
        }
        attributes = {name: str(value) for name, value in counts.items()}
        suites = ElementTree.Element("testsuites", attributes)
        suite = ElementTree.SubElement(suites, "testsuite", {"name": f"dither {self.command}", **attributes})
        for case in self.cases:
            about = {"classname": f"dither.{self.command}", "name": case.name, "time": f"{case.seconds:.3f}"}
            element = ElementTree.SubElement(suite, "testcase", {name: _legal(text) for name, text in about.items()})
            for kind in ("failure", "error", "skipped"):
                if (text := getattr(case, kind)) is not None:
                    ElementTree.SubElement(element, kind, message=_legal(text))
        ElementTree.indent(suites)
        text = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
        write_atomically(self.junit, text + b"\n")


def _legal(text: str) -> str:
    """Replaces what XML cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _plain(value: Any) -> Any:
    """Returns values as JSON has them: without NaN or infinities, paths as text."""
    match value:
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case Path():
            return str(value)
    return value


def answering(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command ``--json`` and ``--junit``; it takes an :class:`Answer` named ``answer``.

    What ends the command before its time, an error or Ctrl-C, becomes a case with that error. The
    JSON object then has the only key ``error``; :func:`dither.cli.commands.run` prints it.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
        @click.option(
            "--junit",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Write what was done or checked as a JUnit file, for CI.",
        )
        @functools.wraps(function)
        def answered(*arguments: Any, as_json: bool, junit: Path | None, **options: Any) -> Any:
            answer = Answer(command, as_json, junit)
            answer.prepare()
            try:
                return function(*arguments, answer=answer, **options)
            except click.exceptions.Exit:
                raise
            except (Exception, KeyboardInterrupt) as error:
                text = error.format_message() if isinstance(error, click.ClickException) else str(error)
                answer.case(command, error=text or "interrupted")
                answer.as_json = False  # What ends all commands says it, also if they never began.
                raise
            finally:
                answer.close()

        return answered

    return decorate
