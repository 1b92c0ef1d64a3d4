"""A newcomer's first hour: the commands of README and tutorials as printed, caches empty, timed.

``python -m tests.soak.first_hour``, or ``make first-hour``; with the Python of any environment that
has dither installed, from a wheel as well. The pages' checks hold: what a command prints is what
the page says. Set DITHER_DATA to a folder with MNIST's files.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from tests.snippets import Page, Snippet, command_folder, snippets

ROOT = Path(__file__).parents[2]
TUTORIALS = ("digits", "arrays", "equation", "torch", "board", "table", "ci")
LONG = 120
"""Seconds by the clock from which a command must have said beforehand that it takes long."""
_ANNOUNCES = re.compile(r"takes (about|up to) ")


def readme() -> Snippet:
    """Returns the commands of the README's first block, but for those that need a board."""
    block = (ROOT / "README.md").read_text().split("```")[1]
    lines = [line for line in block.splitlines() if line.startswith("dither") and "/dev/" not in line]
    return Snippet("console", "".join(f"$ {line}\n" for line in lines), 0, False, None)


def main() -> int:
    """Prints a table, a line a command; returns how much went wrong."""
    wrong = 0
    print("| page | command | seconds | of processor | |\n|---|---|--:|--:|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="first-hour-") as name:
        place = Path(name)
        path = f"{command_folder(place / 'bin')}{os.pathsep}{os.environ['PATH']}"
        own = {"HOME": name, "DITHER_CACHE": str(place / "cache"), "PATH": path}
        for title in ("README", *TUTORIALS):
            folder = place / title
            folder.mkdir()

            def show(words: str, clock: float, processor: float, printed: str, title: str = title) -> None:
                nonlocal wrong
                remark = ""
                if clock > LONG:
                    announced = _ANNOUNCES.search(printed) is not None
                    remark = f"over {LONG} s, {'announced' if announced else 'not announced'}"
                    wrong += not announced
                text = re.sub(r"\s+", " ", words).replace("|", "\\|")
                print(f"| {title} | `{text}` | {clock:.1f} | {processor:.1f} | {remark} |", flush=True)

            file = ROOT / "docs" / "tutorials" / f"{title}.md"
            page = Page(folder, own, show)
            try:
                for snippet in [readme()] if title == "README" else snippets(file):
                    if snippet.left_out is None and (complaint := page.run(snippet)) is not None:
                        wrong += 1
                        print(f"| {title} | line {snippet.line} | | | {complaint!r} |", flush=True)
                        break
            finally:
                page.close()
    print(f"\n{wrong} of these went wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
