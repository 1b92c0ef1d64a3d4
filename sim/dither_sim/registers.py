"""Rewrites Yosys' Verilog so that simulators can skip what a clock enable holds.

Yosys writes a register as a block that computes its next value, the old one by default, and an
assignment of that value at the clock edge. A simulator then computes, stores and copies every
register in every cycle. Here both become one block at the clock edge that assigns only what
changes, and Verilator leaves out all that depends on an enable which is low: the engine runs about
twice as fast. Nothing else changes.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["merge_registers"]

_NAME = r"(?:\\\S+ |[A-Za-z_]\w*)"
_TEMPORARY = re.compile(r"\\\$\d+ ")
_MODULE = re.compile(r"^module .*?^endmodule\n", re.MULTILINE | re.DOTALL)
_NEXT_VALUE = re.compile(
    r"^  always_comb begin\n    (?P<next>\\\$\d+ ) = (?P<default>.*);\n(?P<body>(?:    .*\n)*?)  end\n", re.MULTILINE
)
_REGISTER = re.compile(
    rf"^  always_ff @\(posedge (?P<clock>{_NAME})\)\n    (?P<register>{_NAME}) ?<= (?P<next>\\\$\d+ );\n", re.MULTILINE
)
_BIT = rf"{_NAME}\[\d+\]"
_REPEATED = re.compile(rf"(?P<bit>{_BIT})(?P<more>(?:, (?P=bit)){{2,}})(?=[, ])")


def merge_registers(verilog: str) -> str:
    """Merges next-value blocks into their registers, and writes repeated bits as repetitions."""
    return _REPEATED.sub(_replicate, _MODULE.sub(lambda match: _merge_module(match[0]), verilog))


def _replicate(match: re.Match[str]) -> str:
    """Returns ``a[3], a[3], a[3]`` as ``{3{a[3]}}``.

    It is a sign extension, for which Verilator would otherwise shift bit by bit.
    """
    count = 1 + match["more"].count(f", {match['bit']}")
    return f"{{{count}{{{match['bit']}}}}}"


def _merge_module(text: str) -> str:
    uses = Counter(_TEMPORARY.findall(text))
    blocks = {match["next"]: match for match in _NEXT_VALUE.finditer(text)}
    edits: list[tuple[int, int, str]] = []
    for update in _REGISTER.finditer(text):
        temporary, register = update["next"], update["register"]
        block = blocks.get(temporary)
        if block is None:
            continue
        target = re.compile(rf"^( +){re.escape(temporary)}( ?\[[\d:]+\] )? ?= ", re.MULTILINE)
        body, assigned = target.subn(lambda m, r=register: f"{m[1]}{r}{m[2] or ' '}<= ", block["body"])
        # The name occurs in its declaration, its default, the register and assignments, nowhere
        # else: nothing reads the value in between.
        if uses[temporary] != assigned + 3:
            continue
        if block["default"].strip() != register.strip():
            body = f"    {register} <= {block['default']};\n{body}"
        edits.append((*block.span(), f"  always_ff @(posedge {update['clock']}) begin\n{body}  end\n"))
        edits.append((*update.span(), ""))
    for begin, end, replacement in sorted(edits, reverse=True):
        text = text[:begin] + replacement + text[end:]
    return text
