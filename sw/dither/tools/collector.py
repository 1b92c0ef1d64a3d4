"""Python's garbage collector, out of the way of work that only ever adds objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses Python's garbage collector within a ``with`` block.

    Elaborating gateware makes millions of small objects and drops next to none; the collector looks
    through all of them again and again, which takes more than half of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
