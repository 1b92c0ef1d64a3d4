"""The memories of an engine: how large they are, which instructions read and write them."""

from __future__ import annotations

from ..arch.config import PRESETS
from ..arch.isa import INSTRUCTIONS, Memory
from ..arch.pages.memories import READERS, WRITERS
from ..arch.streams import memory_bits
from .svg import BLUE, FAINT, ORANGE, PALE, SOFT, Drawing

__all__ = ["memory_diagram"]

_WIDTH, _TOP, _ROW, _NAMES, _COLUMN, _BARS = 960.0, 128.0, 32.0, 170.0, 46.0, 170.0


def memory_diagram() -> str:
    """Returns the text of ``docs/diagrams/memories.svg``."""
    config = PRESETS["4x32"]
    sizes = memory_bits(config)
    used = {name for names in (*READERS.values(), *WRITERS.values()) for name in names}
    columns = [form.name for form in INSTRUCTIONS if form.name in used]
    bottom = _TOP + _ROW * len(sizes)
    drawing = Drawing(_WIDTH, bottom + 50, "Memories of an engine, and the instructions that read and write them")
    drawing.text(20, 28, f"Memories of a {config.geometry} engine, and who reads and writes them", bold=True, size=15)
    drawing.text(_NAMES + 4, 52, "size in kbit", size=11, ink=SOFT)
    left = _NAMES + _BARS + 84
    for number, name in enumerate(columns):
        x = left + _COLUMN * number + _COLUMN / 2
        # Names are longer than a column is wide: they take turns on three lines.
        y = 58.0 + 18 * (number % 3)
        drawing.line([(x, y + 5), (x, bottom)], FAINT, 1)
        drawing.text(x, y, name, at="middle", size=11, bold=True)
    largest = max(sizes.values())
    for number, (name, bits) in enumerate(sizes.items()):
        y = _TOP + _ROW * number
        drawing.line([(20, y), (_WIDTH - 20, y)], PALE, 1)
        drawing.text(_NAMES - 8, y + 20, name, at="end", size=12, bold=True)
        width = max(2.0, _BARS * bits / largest)
        drawing.box(_NAMES + 4, y + 8, width, 15, "#b9c8ec", title=f"{bits:,} bits")
        drawing.text(_NAMES + width + 12, y + 20, f"{bits / 1024:,.0f}", size=11, ink=SOFT)
        if name == "PROGRAM":
            drawing.text(left + 8, y + 20, "read by the sequencer, written by the host", size=11.5, ink=SOFT)
            continue
        for place, instruction in enumerate(columns):
            x = left + _COLUMN * place + _COLUMN / 2
            if instruction in READERS[Memory[name]]:
                drawing.box(x - 13, y + 9, 12, 12, BLUE, title=f"{instruction} reads {name}")
            if instruction in WRITERS[Memory[name]]:
                drawing.box(x + 1, y + 9, 12, 12, ORANGE, title=f"{instruction} writes {name}")
    y = bottom + 22
    for x, fill, words in ((left, BLUE, "reads"), (left + 90, ORANGE, "writes")):
        drawing.box(x, y, 12, 12, fill)
        drawing.text(x + 18, y + 11, words, size=12)
    return drawing.svg()
