"""Commands and programs in pages of docs, as steps that a test executes one after the other.

A page's fenced blocks mean:

- ``console``: lines that begin with ``$`` are commands for a shell; the lines behind one must be
  among what it prints, in this order, where ``…`` stands for anything. A command that ends in ``&``
  goes on until the page ends.
- ``python``: a program. Blocks of one page share their names. A ``text`` block right behind it is
  what it prints.
- ``toml``, ``python`` and others with a first line ``# file: NAME`` are written to that file.

A comment in front of a block changes that: ``<!-- slow -->`` leaves it to the slow tests,
``<!-- not run: REASON -->`` leaves it out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["Page", "Snippet", "snippets"]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>slow|not run: .+?) -->\n\n?)?(?P<indent> *)```(?P<kind>[a-z]+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_KINDS = ("console", "python", "text")
_FILE = re.compile(r"# file: (\S+)\n")
_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block of a page."""

    kind: str
    text: str
    line: int
    """Line of the page that the block begins at."""
    slow: bool
    """Whether only slow tests run it."""
    left_out: str | None
    """Why nothing runs it; None for those that are run."""


def snippets(page: Path) -> Iterator[Snippet]:
    """Yields a page's blocks in their order."""
    source = page.read_text()
    for match in _BLOCK.finditer(source):
        if match["kind"] in _KINDS or _FILE.match(match["text"]):
            note = match["note"] or ""
            indent = len(match["indent"])
            text = "".join(line[indent:] for line in match["text"].splitlines(keepends=True))
            reason = note.removeprefix("not run: ") if note.startswith("not run: ") else None
            line = source.count("\n", 0, match.start("kind")) + 1
            yield Snippet(match["kind"], text, line, note == "slow", reason)


def _wanted(expected: str, found: str) -> str | None:
    """Returns the first line that is not found behind those before it; None if all are."""
    lines = iter([" ".join(line.split()) for line in found.splitlines()])
    for line in filter(None, (" ".join(each.split()) for each in expected.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(each) for each in lines):
            return line
    return None


class Page:
    """Executes the snippets of one page in a folder.

    :param folder: where commands run.
    :param variables: environment variables of commands and programs, next to those of this process.
    :param timed: called with each command or program, the seconds that it took by the clock, those
        of processor time, and what it printed.
    """

    def __init__(
        self,
        folder: Path,
        variables: dict[str, str],
        timed: Callable[[str, float, float, str], None] = lambda *_: None,
    ) -> None:
        self.folder, self.timed = folder, timed
        self.environment = {**os.environ, **variables, "COLUMNS": "200"}
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed: str | None = None
        self.background: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def _measured(self, words: str) -> Iterator[io.StringIO]:
        def processor() -> float:
            return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

        clock, before, printed = time.monotonic(), processor(), io.StringIO()
        yield printed
        self.timed(words, time.monotonic() - clock, processor() - before, printed.getvalue())

    def run(self, snippet: Snippet) -> str | None:
        """Executes a snippet; returns what is wrong with it, or None."""
        if (file := _FILE.match(snippet.text)) is not None:
            (self.folder / file[1]).write_text(snippet.text[file.end() :])
            return None
        match snippet.kind:
            case "console":
                return self._console(snippet.text)
            case "python":
                return self._python(snippet.text)
            case _:
                printed, self.printed = self.printed, None
                missing = None if printed is None else _wanted(snippet.text, printed)
                return None if missing is None else f"does not print {missing!r}, but:\n{printed}"

    def _console(self, text: str) -> str | None:
        self.printed = None
        for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            command = re.sub(r"\s+# .*$", "", command)
            if command.endswith(" &"):
                self._start(command.removesuffix(" &"), expected)
                continue
            with self._measured(command) as printed:
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=_SECONDS,
                    check=False,
                )
                printed.write(done.stdout)
            if done.returncode:
                return f"{command} ended with {done.returncode}:\n{done.stdout}"
            if (missing := _wanted(expected, done.stdout)) is not None:
                return f"{command} does not print {missing!r}, but:\n{done.stdout}"
        return None

    def _start(self, command: str, expected: str) -> None:
        log = self.folder / f"background-{len(self.background)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.background.append(process)
        deadline = time.monotonic() + _SECONDS
        while _wanted(expected, log.read_text()) is not None:
            assert process.poll() is None, f"{command} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command} prints no {expected!r}:\n{log.read_text()}"
            time.sleep(0.2)

    def _python(self, text: str) -> str | None:
        same = mock.patch.dict(os.environ, self.environment)
        title = next(line for line in text.splitlines() if line.strip() and not line.startswith(("import", "from")))
        measured = self._measured(f"program: {title}")
        with same, contextlib.chdir(self.folder), measured as out, contextlib.redirect_stdout(out):
            exec(compile(text, "<snippet>", "exec"), self.names)
        self.printed = out.getvalue()
        return None

    def close(self) -> None:
        """Ends what still runs in the background."""
        for process in self.background:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def command_folder(folder: Path) -> Path:
    """Makes a folder with the command ``dither``, as this Python has it, for ``PATH``."""
    folder.mkdir()
    command = folder / "dither"
    paths = os.pathsep.join(path for path in sys.path if path)
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" -c '
        '"import sys; from dither.cli import main; sys.exit(main())" "$@"\n'
    )
    command.chmod(0o755)
    return folder
