"""The engine as blocks: sequencer, units, memories, and the streams to the host."""

from __future__ import annotations

from collections.abc import Callable

from ..arch.config import PRESETS
from ..arch.isa import Memory
from ..arch.pages.memories import READERS, WRITERS
from ..arch.streams import memory_depth
from .svg import BLUE, FAINT, INK, ORANGE, PALE, SOFT, Drawing

__all__ = ["engine_diagram"]

_UNITS = {
    "CONTRACT": "multiply-accumulate array",
    "CORRELATE": "the same array, over samples",
    "DITHER": "moves activities, makes signs",
    "LOSS": "exp and log, lane by lane",
    "PERTURB": "generator of probes",
    "ACCUMULATE": "the same generator again",
    "UPDATE": "SGD, momentum, Adam …",
    "TRANSPOSE": "turns weights over",
}
"""Units in the order in which they are drawn, with what is inside."""
_MEMORIES = {
    Memory.ACTIVATION: "{depth:,} words of {lanes} lanes",
    Memory.WEIGHT: "{depth:,} words of {rows} rows",
    Memory.GRADIENT: "48 bits each",
    Memory.MASTER: "32 bits each",
    Memory.MOMENT1: "32 bits each",
    Memory.MOMENT2: "32 bits each",
}
_WIDTH, _TOP, _STEP = 960.0, 64.0, 54.0


def engine_diagram() -> str:
    """Returns the text of ``docs/diagrams/engine.svg``."""
    config = PRESETS["4x32"]
    height = _TOP + _STEP * len(_UNITS) + 44
    drawing = Drawing(_WIDTH, height, "The engine: sequencer, units and memories, between host port and streams")
    drawing.text(20, 30, f"The engine, here with {config.rows} rows and {config.lanes} lanes", bold=True, size=15)

    drawing.label(20, _TOP, 150, 58, "host", "a computer, by the link", fill="none", stroke=SOFT)
    drawing.label(20, _TOP + 126, 150, 66, "PROGRAM", f"{config.program_depth:,} words of 32 bits")
    drawing.label(20, _TOP + 260, 150, 66, "sequencer", "one instruction at a time", stroke=INK)
    drawing.line([(95, _TOP + 58), (95, _TOP + 126)], SOFT, 1.5, arrow=True)
    drawing.text(102, _TOP + 96, "program, start", size=11, ink=SOFT)
    drawing.line([(95, _TOP + 192), (95, _TOP + 260)], SOFT, 1.5, arrow=True)
    drawing.text(102, _TOP + 230, "instructions", size=11, ink=SOFT)

    units = {name: _TOP + _STEP * number for number, name in enumerate(_UNITS)}
    for y in units.values():
        drawing.curve(170, _TOP + 293, 292, y + 22, FAINT, 1.2)
    for name, y in units.items():
        drawing.label(292, y, 218, 44, name, _UNITS[name])
    right = 720.0
    pitch = (_STEP * len(_UNITS) - 66) / (len(_MEMORIES) - 1)
    memories = {kind: _TOP + pitch * number for number, kind in enumerate(_MEMORIES)}
    ends = _ends(units, memories)
    for (name, kind, writes), (at_unit, at_memory) in ends.items():
        y, other = units[name] + at_unit, memories[kind] + at_memory
        if writes:
            drawing.curve(510, y, right, other, ORANGE)
        else:
            drawing.curve(right, other, 510, y, BLUE)
    for kind, y in memories.items():
        size = _MEMORIES[kind].format(depth=memory_depth(config, kind), **config.to_dict())
        drawing.label(right, y, 220, 66, kind.name, size, fill=PALE, stroke=FAINT)
    y = height - 22
    for x, ink, words in ((292, BLUE, "reads"), (362, ORANGE, "writes")):
        drawing.box(x, y - 9, 12, 4, ink)
        drawing.text(x + 18, y, words, size=12)
    drawing.text(440, y, "One word of each memory in a cycle; LOAD and STORE reach all of them.", size=12, ink=SOFT)
    return drawing.svg()


_End = tuple[str, Memory, bool]


def _ends(units: dict[str, float], memories: dict[Memory, float]) -> dict[_End, tuple[float, float]]:
    """Returns every way between a unit and a memory, and where it ends on the two boxes.

    Ends on a box stand in the order of what is at the other end, so that fewer ways cross.
    """
    ways = [
        (name, kind, writes)
        for writes, table in ((False, READERS), (True, WRITERS))
        for kind in memories
        for name in table[kind]
        if name in units
    ]
    at_units = _spread(ways, lambda way: way[0], lambda way: (memories[way[1]], way[2]), 44)
    at_memories = _spread(ways, lambda way: way[1], lambda way: (units[way[0]], way[2]), 66)
    return {way: (at_units[way], at_memories[way]) for way in ways}


def _spread(
    ways: list[_End], box: Callable[[_End], object], order: Callable[[_End], tuple[float, bool]], height: float
) -> dict[_End, float]:
    """Returns how far below its box's upper edge each way ends."""
    found = {}
    for key in {box(way) for way in ways}:
        own = sorted((way for way in ways if box(way) == key), key=order)
        for number, way in enumerate(own, 1):
            found[way] = height * number / (len(own) + 1)
    return found
