"""The command line: one module for each group of commands, and the exit codes.

This module imports nothing, so that Ctrl-C ends a command cleanly from its first import on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code, as :func:`dither.cli.commands.run` has them.

    :param arguments: the words behind ``dither``; by default those of the process.
    """
    try:
        from .commands import run

        return run(arguments)
    except KeyboardInterrupt:
        print("\ndither: interrupted", file=sys.stderr)
        return INTERRUPTED
