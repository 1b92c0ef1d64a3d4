"""Pages of docs that derive from data: what a second machine has to know of the engine.

Numbers come from the modules of :mod:`dither.arch`, and their meanings from the docstrings that
stand there, so that a page cannot say anything else than the machines do. ``dither docs`` writes
the pages, and says with ``--check`` whether one of them is out of date.
"""

from __future__ import annotations

from collections.abc import Callable

from .instructions import instruction_page
from .memories import memory_page
from .packages import package_page
from .registers import register_page
from .timing import timing_page

__all__ = ["PAGES"]

PAGES: dict[str, Callable[[], str]] = {
    "isa.md": instruction_page,
    "memories.md": memory_page,
    "packages.md": package_page,
    "registers.md": register_page,
    "timing.md": timing_page,
}
"""By file name in ``docs``, the function that gives a page's text."""
