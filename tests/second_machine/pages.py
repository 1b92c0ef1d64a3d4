"""Reads the encoding of instructions and the order of counters from the pages of docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class Form:
    """An instruction as its section says: ``fields`` are (name, first bit, width, signed)."""

    name: str
    words: int
    fields: tuple[tuple[str, int, int, bool], ...]


def forms() -> dict[int, Form]:
    """Instructions by opcode, from docs/isa.md."""
    found = {}
    for section in re.split(r"^## ", (DOCS / "isa.md").read_text(), flags=re.MULTILINE)[1:]:
        opcode = re.search(r"^Opcode (\d+), \d+ bits, (\d+) word", section, re.MULTILINE)
        if opcode:
            rows = re.findall(r"^\| `(\w+)` \| (\d+)(?:–\d+)? \| (\d+)( signed)? \|", section, re.MULTILINE)
            fields = tuple((name, int(first), int(width), bool(signed)) for name, first, width, signed in rows)
            found[int(opcode[1])] = Form(section.split("\n", 1)[0], int(opcode[2]), fields)
    return found


def numbers(name: str) -> dict[int, str]:
    """Names by number of one kind of field, from docs/isa.md: ``numbers("Rule")[3] == "ADAM"``."""
    text = (DOCS / "isa.md").read_text()
    section = re.split(rf"^### {name}$", text, flags=re.MULTILINE)[1].split("\n##", 1)[0]
    return {int(number): value for number, value in re.findall(r"^\| (\d+) \| (\w+) \|", section, re.MULTILINE)}


def counters() -> list[str]:
    """Counters in the order of their addresses, from docs/registers.md."""
    return re.findall(r"^\| \d+ \| `(\w+)` \|", (DOCS / "registers.md").read_text(), re.MULTILINE)
