"""A training step in time: every instruction of one probe, as long as the cycle model says."""

from __future__ import annotations

from dataclasses import dataclass

from .example import Event, example, trace
from .svg import FAINT, INK, SOFT, Drawing

__all__ = ["step_diagram"]

_UNITS = {
    "LOAD": "#6b9a8b",
    "CONTRACT": "#2f5fd0",
    "LOSS": "#8d5bb5",
    "PERTURB": "#c65a24",
    "ACCUMULATE": "#b8892f",
    "UPDATE": "#a63d5f",
}
"""Instructions that have a row of their own, and their colours; all others share the last row."""
_CONTROL, _GREY = "control", "#8a8f98"
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 960.0, 112.0, 24.0, 102.0, 34.0


@dataclass(slots=True)
class _Part:
    """A part of the step that has a name for people."""

    words: str
    begin: int
    end: int


def _parts(events: list[Event]) -> list[_Part]:
    """Divides a step where its instructions change their purpose."""
    names = {"LOAD": "samples", "PERTURB": "move", "ACCUMULATE": "difference · probe", "UPDATE": "optimiser"}
    found: list[_Part] = []
    passes = ["base pass", "pass with the probe"]
    for event in events:
        name = event.instruction.name
        if name == "PERTURB" and event.instruction["distribution"] == 0:
            words = "restore"
        elif name in ("CONTRACT", "LOSS"):
            words = passes[any(part.words == "move" for part in found)]
        elif name in names:
            words = names[name]
        else:
            continue
        if found and found[-1].words == words:
            found[-1].end = event.end
        else:
            found.append(_Part(words, event.begin, event.end))
    return found


def step_diagram() -> str:
    """Returns the text of ``docs/diagrams/step.svg``."""
    compiled = example()
    events = list(trace(compiled, [compiled.recipe.seed, 0, 1, 0]))
    length = events[-1].end
    bottom = _TOP + _ROW * (len(_UNITS) + 1)
    title = f"A step with one probe on a {compiled.engine.geometry} engine, {length:,} cycles"
    drawing = Drawing(_WIDTH, bottom + 52, title)
    scale = (_WIDTH - _LEFT - _RIGHT) / length
    drawing.text(20, 28, title, bold=True, size=15)
    for number, name in enumerate([*_UNITS, _CONTROL]):
        y = _TOP + _ROW * number
        drawing.line([(_LEFT, y + _ROW - 4), (_WIDTH - _RIGHT, y + _ROW - 4)], FAINT, 1)
        drawing.text(_LEFT - 10, y + _ROW / 2 + 4, name, at="end", size=12, bold=name != _CONTROL)
    for event in events:
        name = event.instruction.name
        row = list(_UNITS).index(name) if name in _UNITS else len(_UNITS)
        fill = _UNITS.get(name, _GREY)
        width = max(1.0, (event.end - event.begin) * scale)
        told = f"{event.instruction}: cycles {event.begin:,} to {event.end - 1:,}"
        drawing.box(_LEFT + event.begin * scale, _TOP + _ROW * row + 4, width, _ROW - 12, fill, title=told)
    for number, part in enumerate(_parts(events)):
        left, right = _LEFT + part.begin * scale, _LEFT + part.end * scale
        y = 54 + 17 * (number % 3)
        drawing.line([(left, _TOP), (left, bottom - 4)], FAINT, 1)
        drawing.line([(left, y + 4), (right, y + 4)], SOFT, 1)
        late = left > _WIDTH - 120
        drawing.text(right if late else left, y, part.words, at="end" if late else "start", size=11.5, ink=INK)
    for cycle in range(0, length + 1, 2000):
        x = _LEFT + cycle * scale
        drawing.line([(x, bottom - 4), (x, bottom + 4)], SOFT, 1)
        drawing.text(x, bottom + 18, f"{cycle:,}", at="middle", size=11, ink=SOFT)
    drawing.text(_WIDTH - _RIGHT, bottom + 38, "cycles", at="end", size=11, ink=SOFT)
    return drawing.svg()
