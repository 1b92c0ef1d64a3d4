"""The instruction table as a page for people, ``docs/isa.md``."""

from __future__ import annotations

from .table import INSTRUCTIONS

__all__ = ["render_markdown"]


def render_markdown() -> str:
    """Returns the reference page of the instruction set, ``docs/isa.md``, as Markdown."""
    lines = ["# Instruction set", "", "Made from `dither.arch.isa` by `dither docs`; do not edit.", ""]
    for form in INSTRUCTIONS:
        lines += [
            f"## {form.name}",
            "",
            f"Opcode {form.opcode}, {form.words} words, counted as `{form.phase}`.",
            "",
            form.doc,
            "",
        ]
        if form.fields:
            lines += ["| field | bits | meaning |", "|---|---|---|"]
            lines += [f"| {f.name} | {f.width}{' signed' if f.signed else ''} | {f.doc} |" for f in form.fields]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"
