"""A report of a run under way: made again whenever the run has logged something."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..runs import RunError, RunFolder
from ..tools.files import AnyPath
from . import write_report

__all__ = ["REFRESH", "watch"]

REFRESH = 5
"""Seconds after which browsers show the page anew, while the run goes on."""
_POLL = 1.0
"""Seconds between looks at the run, at least."""
_REST = 4
"""Times as long as a page takes to make, nothing is made: training needs the processor."""


def watch(
    path: AnyPath,
    out: AnyPath | None = None,
    *,
    seen: Callable[[RunFolder], None] = lambda run: None,
    wait: Callable[[float], None] = lambda seconds: time.sleep(seconds),
) -> Path:
    """Makes a run's report again and again until nobody writes the run any more.

    It only reads the run, and takes no lock that somebody could need. An interrupted watch leaves a
    page that no longer shows itself anew.

    :param out: file to write; ``report.html`` in the folder if None.
    :param seen: called with the run whenever a page has been written, the last one included.
    :param wait: called with the seconds to wait.
    :returns: path of the last page.
    :raises RunError: as :func:`~dither.report.write_report`.
    """
    before, complaint = None, ""
    try:
        while True:
            begun, run = time.monotonic(), RunFolder.open(path)
            # Asked before anything is read, so that the last page has what the run's end wrote.
            busy = run.busy
            state = run.state
            try:
                if not busy or (state != before and run.curve()):
                    page = write_report(run, out, REFRESH if busy else None)
                    before = state
                    seen(run)
                    if not busy:
                        return page
                complaint = ""
            except RunError as error:
                # Who resumes a run cuts it back first: only what stays wrong is wrong.
                if not busy or str(error) == complaint:
                    raise
                complaint = str(error)
            wait(max(_POLL, _REST * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        return write_report(RunFolder.open(path), out)
