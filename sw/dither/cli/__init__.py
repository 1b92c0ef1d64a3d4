"""The command line: one module for each group of commands, and the exit codes.

This module knows all commands by name, but imports none of them: ``dither --help`` needs neither
NumPy nor the compiler.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from .group import Commands, Entry

__all__ = ["COMMANDS", "cli", "main"]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""
UNUSABLE = 2
"""Exit code of a command that cannot use its input."""

COMMANDS = {
    "train": Entry("train", "train", "Train a network, by forward passes only."),
    "fit": Entry("fit", "fit", "Say what fits a board or engine, and what it takes there."),
    "worker": Entry("worker", "worker", "Offer a device to a run whose steps many devices share."),
    "sweep": Entry("sweep", "sweep", "Try many designs and recipes, and find the best compromises."),
    "predict": Entry("predict", "predict", "Run samples through a trained network."),
    "export": Entry("predict", "export", "Hand a trained network over: ONNX, PyTorch, NumPy, a board."),
    "compare": Entry("results", "compare", "Say whether two runs are identical, bit by bit."),
    "report": Entry("results", "report", "Write a run's report, one page that needs nothing else."),
    "record": Entry("records", "record", "Keep a finished run's result, curve and first digests."),
    "repeat": Entry("records", "repeat", "Repeat the first steps of recorded results, bit by bit."),
    "results": Entry("records", "results", "Make the page of recorded results again."),
    "baseline": Entry("baseline", "baseline", "Train a network by back-propagation, as a yardstick."),
    "bench": Entry("bench", "bench", "Measure utilisation and speed on MNIST's network."),
    "boards": Entry("boards", "boards", "List the boards."),
    "build": Entry("build", "build", "Make a board's bitstream."),
    "program": Entry("build", "program", "Load a bitstream into a board."),
    "release": Entry("build", "release", "Gather bitstreams for others, with digests."),
    "link-bench": Entry("link", "link_bench", "Measure the line to a board."),
    "link-soak": Entry("link", "link_soak", "Train over a line that is made to fail."),
    "virtual-board": Entry("virtual_board", "virtual_board", "Simulate a whole board behind a pseudo-terminal."),
    "link-cost": Entry("virtual_board", "link_cost", "Measure what the link costs a training step."),
    "info": Entry("inspect", "info", "Show engines, tasks, versions, tools and serial ports."),
    "docs": Entry("inspect", "docs", "Make the pages of docs that derive from data again."),
    "disassemble": Entry("inspect", "disassemble", "Show the program of a compiled task."),
}
"""All commands by the names that people type, in the order of their work."""


@click.group(
    cls=Commands,
    table=COMMANDS,
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
    except _user_errors() as error:
        _complain(str(error))
        return UNUSABLE
    return code if isinstance(code, int) else 0


def _user_errors() -> tuple[type[Exception], ...]:
    """Returns the errors whose message tells people what to do.

    Anything else is a bug and keeps its traceback. Python calls this only once something has been
    raised.
    """
    from ..arch.device import DeviceError
    from ..runs import RunError
    from ..runs.checkpoint import CheckpointError
    from ..tools.cache import CacheError
    from ..train.tasks import TaskError

    return TaskError, RunError, CheckpointError, DeviceError, CacheError


def _complain(message: str) -> None:
    line = " ".join(message.split())
    # Names and texts from files and boards are repeated, but command no terminal.
    line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    print(f"dither: {line}", file=sys.stderr)
