"""A program's life: from a model to words, from words to the same bits on every machine."""

from __future__ import annotations

from ..arch.isa import decode_program
from .example import example
from .svg import BLUE, FAINT, INK, ORANGE, SOFT, Drawing

__all__ = ["life_diagram"]

_COMPILER = (
    ("plan", "contraction orders"),
    ("formats", "binary points"),
    ("layout", "places in memories"),
    ("code", "instructions"),
)
"""What the compiler does, one package after the other, named after the packages."""
_MACHINES = (
    ("golden machine", "NumPy"),
    ("RTL", "the gateware, Verilated"),
    ("virtual board", "pins, UART, link, engine"),
    ("board", "an FPGA"),
)


def life_diagram() -> str:
    """Returns the text of ``docs/diagrams/program.svg``."""
    compiled = example()
    instructions = sum(1 for _ in decode_program(list(compiled.program)))
    drawing = Drawing(960, 330, "A program's life: compiled once, executed by any machine, with the same bits")
    drawing.text(20, 30, "A program's life", bold=True, size=15)
    for number, (word, note) in enumerate(
        (("model", str(compiled.model)), ("recipe", "how losses become steps"), ("samples", "typical ones"))
    ):
        y = 62 + 66 * number
        drawing.label(20, y, 170, 50, word, note, fill="none", stroke=SOFT)
        drawing.curve(190, y + 25, 232, 153, SOFT)
    drawing.box(232, 56, 190, 196, fill="none", stroke=INK)
    drawing.text(327, 78, "compiler", at="middle", bold=True)
    for number, (word, note) in enumerate(_COMPILER):
        y = 88 + 40 * number
        drawing.box(244, y, 166, 34)
        drawing.text(252, y + 21, word, size=12, bold=True)
        drawing.text(402, y + 21, note, at="end", size=10, ink=SOFT)
    drawing.curve(422, 153, 462, 153, SOFT)
    drawing.label(462, 118, 150, 70, "program", f"{instructions} instructions", fill="#b9c8ec")
    for number, (word, note) in enumerate(_MACHINES):
        y = 50 + 54 * number
        drawing.curve(612, 153, 656, y + 22, BLUE)
        drawing.label(656, y, 150, 44, word, note)
        drawing.curve(806, y + 22, 838, 153, ORANGE)
    drawing.label(838, 118, 102, 70, "same bits", "and cycles", fill="none", stroke=ORANGE)
    drawing.line([(20, 272), (940, 272)], FAINT, 1)
    drawing.text(20, 292, "The host sends samples, seeds and rates, and takes losses and parameters back: ", size=12)
    drawing.text(20, 310, f"{compiled.model.parameter_count} parameters of this one, never a gradient.", size=12)
    return drawing.svg()
