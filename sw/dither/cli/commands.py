"""All commands by name, and what their ends mean to whoever called them.

Nothing here imports a command before it is used: ``dither --help`` needs neither NumPy nor the
compiler.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence

import click

from . import INTERRUPTED
from .group import Commands, Entry
from .terminal import spell_out

__all__ = ["COMMANDS", "cli", "complain", "run"]

UNUSABLE = 2
"""Exit code of a command that cannot use its input."""
BROKEN = 70
"""Exit code of a command that ran into a fault of this software."""
UNREAD = 141
"""Exit code of a command whose output nobody reads any more, as shells have it for SIGPIPE."""

_BOARDS, _INSIDE, _MAKERS = "Boards", "Looking inside", "For who works on dither itself"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_LONGEST = 200
"""Most characters of a word in a line for people: what they have given may be longer."""

COMMANDS = {
    "train": Entry("train", "train", "Train a network, by forward passes only."),
    "fit": Entry("fit", "fit", "Say what fits a board or engine, and what it takes there."),
    "worker": Entry("worker", "worker", "Offer a device to a run whose steps many devices share."),
    "sweep": Entry("sweep", "sweep", "Try many designs and recipes, and find the best compromises."),
    "predict": Entry("predict", "predict", "Run samples through a trained network."),
    "export": Entry("predict", "export", "Hand a trained network over: ONNX, PyTorch, NumPy, a board."),
    "compare": Entry("results", "compare", "Say whether two runs are identical, bit by bit."),
    "report": Entry("results", "report", "Write a run's report, one page that needs nothing else."),
    "baseline": Entry("baseline", "baseline", "Train a network by back-propagation, as a yardstick."),
    "boards": Entry("boards", "boards", "List the boards.", _BOARDS),
    "build": Entry("build", "build", "Make a board's bitstream.", _BOARDS),
    "program": Entry("build", "program", "Load a bitstream into a board.", _BOARDS),
    "virtual-board": Entry("virtual_board", "virtual_board", "Simulate a board behind a pseudo-terminal.", _BOARDS),
    "link-bench": Entry("link", "link_bench", "Measure the line to a board.", _BOARDS),
    "link-cost": Entry("virtual_board", "link_cost", "Measure what the link costs a training step.", _BOARDS),
    "info": Entry("inspect", "info", "Show engines, tasks, versions, tools and serial ports.", _INSIDE),
    "disassemble": Entry("inspect", "disassemble", "Show the program of a compiled task.", _INSIDE),
    "record": Entry("records", "record", "Keep a finished run's result, curve and first digests.", _MAKERS),
    "repeat": Entry("records", "repeat", "Repeat the first steps of recorded results, bit by bit.", _MAKERS),
    "results": Entry("records", "results", "Make the page of recorded results again.", _MAKERS),
    "bench": Entry("bench", "bench", "Measure utilisation and speed on MNIST's network.", _MAKERS),
    "link-soak": Entry("link", "link_soak", "Train over a line that is made to fail.", _MAKERS),
    "release": Entry("build", "release", "Gather bitstreams for others, with digests.", _MAKERS),
    "docs": Entry("inspect", "docs", "Make the pages of docs that derive from data again.", _MAKERS),
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


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    :param arguments: the words behind ``dither``; by default those of the process. Without any,
        the help is shown.
    :returns: 0 done, 1 runs differ or a file is out of date, 2 unusable input, 70 a fault of this
        software, 130 interrupted, 141 output that nobody reads.
    """
    spell_out()
    words = list(sys.argv[1:] if arguments is None else arguments)

    def refused(message: str, code: int = UNUSABLE) -> int:
        complain(message)
        if "--json" in words:
            print(json.dumps({"error": message}, ensure_ascii=False))
        return code

    try:
        code = cli.main(words or ["--help"], prog_name="dither", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit:
        # So click ends where nobody reads any more; nothing else here ends by itself.
        return _unread()
    except click.exceptions.Abort:
        return refused("interrupted", INTERRUPTED)
    except click.ClickException as error:
        return refused(error.format_message())
    except _user_errors() as error:
        return refused(str(error))
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        # A name comes from people, and so does a disk that is full; anything else is a fault.
        if error.strerror is None or (error.filename is None and error.errno not in _FULL):
            return refused(_fault(words), BROKEN)
        return refused(f"cannot use {error.filename or 'the disk'}: {error.strerror}")
    except MemoryError as error:
        return refused(
            f"out of memory ({error}); use a smaller model, batch or tile" if str(error) else "out of memory"
        )
    except Exception:
        return refused(_fault(words), BROKEN)
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


def _fault(words: Sequence[str]) -> str:
    """Prints the traceback of what should not have happened, and returns a message about it."""
    traceback.print_exc()
    return (
        f"this is a fault of dither, not yours (exit code {BROKEN}); please report it with the lines above, the "
        f"command (dither {' '.join(words)}) and what dither info says"
    )


def _unread() -> int:
    """Ends quietly where the reader of a pipe has gone."""
    # What is still in the buffer would otherwise complain when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


def complain(message: str) -> None:
    """Prints one line on standard error, whatever the message has in it."""
    line = " ".join(message.split())
    # Names and texts from files and boards are repeated, but command no terminal.
    line = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    line = re.sub(rf"\S{{{_LONGEST},}}", lambda word: f"{word[0][: _LONGEST // 2]}…{word[0][-20:]}", line)
    print(f"dither: {line}", file=sys.stderr)
