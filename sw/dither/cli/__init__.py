"""The command line: one module for each group of commands, and the exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ..arch.device import DeviceError
from ..runs import RunError
from ..runs.checkpoint import CheckpointError
from ..train.tasks import TaskError
from .baseline import baseline
from .bench import bench
from .boards import boards
from .build import build, program
from .group import Commands
from .inspect import disassemble, docs, info
from .link import link_bench, link_soak
from .records import record, repeat
from .records import results as results_command
from .results import compare, report
from .train import train
from .virtual_board import link_cost, virtual_board

__all__ = ["cli", "main"]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""
UNUSABLE = 2
"""Exit code of a command that cannot use its input."""
USER_ERRORS = (TaskError, RunError, CheckpointError, DeviceError)
"""Errors whose message tells people what to do; anything else is a bug and keeps its traceback."""


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  dither train digits --device golden            train, and write runs/digits-golden-1
  dither train digits --device rtl --steps 5     the same bits from the simulated gateware
  dither compare runs/digits-golden-1 runs/digits-rtl-1
  dither report runs/digits-golden-1             a page to read
""",
)
@click.version_option(package_name="dither")
def cli() -> None:
    """Train neural networks by forward passes only, on an FPGA engine or its bit-exact twins."""


for command in (
    train,
    compare,
    report,
    record,
    repeat,
    results_command,
    baseline,
    bench,
    boards,
    build,
    program,
    link_bench,
    link_soak,
    virtual_board,
    link_cost,
    info,
    docs,
    disassemble,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    :param arguments: the words behind ``dither``; by default those of the process.
    :returns: 0 done, 1 runs differ or a file is out of date, 2 unusable input, 130 interrupted.
    """
    try:
        code = cli.main(arguments, prog_name="dither", standalone_mode=False)
    except click.exceptions.Abort:
        _complain("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        _complain(error.format_message())
        return UNUSABLE
    except USER_ERRORS as error:
        _complain(str(error))
        return UNUSABLE
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    print(f"dither: {' '.join(message.split())}", file=sys.stderr)
