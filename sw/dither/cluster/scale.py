"""How long a shared step takes on W boards: a model of cycles, lines and network.

A step is a share, computed by all boards at once, and what nobody can divide: everybody applies the
whole step. With F the time of all samples on one board and A that of the rest, W boards are at most
(F + A) / (F/W + A) times as fast as one. The model adds what the bound leaves out: lane groups
cannot be cut, lines and network have a rate and an answering time, and the run talks to all.

Cycles are exact (the program's, predicted); rates are measured on the line at hand, or assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.regmap import all_cycles
from ..arch.streams import Expect, Segment, pack, slots
from ..compiler import NUMBER_BYTES, Command, Compiled, Exchange, SharedCommands
from ..golden import predict
from ..link.packing import pack_input, pack_output

__all__ = ["Line", "Network", "StepTime", "command_seconds", "engine_cycles", "shared_step"]

MESSAGE_BYTES = 600
"""Bytes of a message besides its numbers: head, seal, and Dask's own."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line to a board."""

    clock: float
    """Clock of the board's engine, in Hz."""
    upload: float
    """Packed bytes a second to the board; ``dither link-bench`` measures it."""
    download: float
    """Packed bytes a second from the board."""
    answer: float
    """Seconds of a round trip without content."""


@dataclass(frozen=True, slots=True)
class Network:
    """What lies between the run and its devices."""

    rate: float = 125e6
    """Bytes a second at the run's end, which all devices share."""
    latency: float = 2e-4
    """Seconds that a message takes, however short."""
    message: float = 1e-3
    """Seconds of the run's processor for a question and its answer."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Where a step's seconds go."""

    share: float
    """On the board that has most to do, its line included."""
    apply: float
    """What nobody divides: the same on all boards."""
    network: float
    """Messages, their bytes, and the run's own work for them."""

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return self.share + self.apply + self.network


def engine_cycles(compiled: Compiled, command: Command) -> int:
    """Returns the exact cycles of a command's program, waiting for the line left out."""
    scalars = [int(value) for each in command.inputs if each.kind is None for value in each.values[:, 0]]
    counts = predict(compiled.engine, compiled.program, command.entry, scalars)
    return all_cycles(counts)


def command_seconds(compiled: Compiled, command: Command, line: Line) -> float:
    """Returns how long a board takes for a command.

    Samples come while others are computed: the first group must be there before anything begins,
    and from then on the slower of line and engine sets the pace.
    """
    groups = max(1, sum(each.kind is not None for each in command.inputs))
    load = _packed(compiled, command.inputs) / line.upload
    compute = engine_cycles(compiled, command) / line.clock
    stream = load / groups + (groups - 1) * max(load, compute) / groups + compute / groups
    return stream + _expected(compiled, command.expects) / line.download + line.answer


def shared_step(
    compiled: Compiled,
    inputs: NDArray[np.floating[Any]],
    targets: NDArray[Any] | None,
    devices: int,
    line: Line,
    network: Network,
) -> StepTime:
    """Returns how long a step takes on equal boards.

    :param compiled: the program of one board, by :meth:`~dither.compiler.Compiled.sharing`.
    :param inputs: samples of one step, shape (batch, features).
    :param devices: how many boards there are.
    """
    commands, recipe = SharedCommands(compiled), compiled.recipe
    lanes = compiled.engine.lanes
    busiest = -(-(recipe.batch // lanes) // devices) * lanes
    share = 0.0
    for first in range(0, busiest, recipe.tile):
        part = slice(first, min(first + recipe.tile, busiest))
        wanted = None if targets is None else targets[part]
        share += command_seconds(compiled, commands.share(0, first, inputs[part], wanted), line)
    size, levels = math.prod(commands.shape) * NUMBER_BYTES[commands.exchange], 0
    if commands.exchange is Exchange.GRADIENTS:
        share += command_seconds(compiled, commands.collect(), line)
        levels = math.ceil(math.log2(devices)) if devices > 1 else 0
    rng = np.random.default_rng(0)
    # Numbers that are all different, as those of a step are: what repeats would be packed away.
    numbers = rng.integers(-(1 << 20), 1 << 20, commands.shape)
    apply = command_seconds(compiled, commands.apply(0, numbers), line)
    travels = size + devices * (size + 2 * MESSAGE_BYTES)
    talk = (2 + levels) * network.latency + travels / network.rate + levels * size / network.rate
    return StepTime(share, apply, talk + devices * network.message)


def _packed(compiled: Compiled, inputs: Sequence[Segment]) -> int:
    """Bytes of input streams on the line, packed."""
    return len(pack_input(compiled.engine, pack(compiled.engine, inputs))[0])


def _expected(compiled: Compiled, expects: Sequence[Expect]) -> int:
    """Bytes of output streams on the line, if no number of them is zero."""
    numbers = [np.ones((each.beats, slots(compiled.engine, each.kind)[0]), np.int64) for each in expects]
    found = pack(compiled.engine, [Segment(each.kind, ones) for each, ones in zip(expects, numbers, strict=True)])
    return len(pack_output(compiled.engine, found))
