"""Diagrams of docs, drawn from data: the engine, its memories, a program's life, a step in time.

``dither docs`` writes them as SVG. What they show comes from the tables of :mod:`dither.arch`, and
from a program that the compiler makes and the cycle model times.
"""

from __future__ import annotations

from collections.abc import Callable

from .engine import engine_diagram
from .memories import memory_diagram
from .program import life_diagram
from .step import step_diagram

__all__ = ["DIAGRAMS"]

DIAGRAMS: dict[str, Callable[[], str]] = {
    "diagrams/engine.svg": engine_diagram,
    "diagrams/memories.svg": memory_diagram,
    "diagrams/program.svg": life_diagram,
    "diagrams/step.svg": step_diagram,
}
"""By file name in ``docs``, the function that gives a diagram's text."""
