"""How long a shared step takes on W boards: a model of cycles, lines and network.

A step is a share, computed by all boards at once, and what nobody can divide: everybody applies the
whole step. With F the time of all samples on one board and A that of the rest, W boards are at most
(F + A) / (F/W + A) times as fast as one. The model adds what the bound leaves out: lane groups
cannot be cut, lines and network have a rate and an answering time, an engine waits where the
board's buffer of output is full, the driver asks a silent board less and less often, and the run
talks to all.

Cycles are exact (the program's, predicted), and so are the bytes of a share on the line: a golden
machine computes it. Rates are measured on the line at hand, or assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.regmap import all_cycles
from ..arch.streams import Segment, pack
from ..compiler import NUMBER_BYTES, Command, Compiled, Exchange, SharedCommands, State
from ..devices import build_device
from ..golden import predict
from ..link.driver import POLLS
from ..link.packing import pack_input, pack_output
from ..link.protocol import MAX_REQUEST_BODY, MAX_RESPONSE_BODY
from ..train.session import Session

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
    """Seconds that a command takes that computes and moves next to nothing."""
    round_trip: float
    """Seconds from a question to its answer, without content."""
    buffer: int = 1024
    """Bytes of output that the board keeps until they are fetched."""


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


def command_seconds(
    compiled: Compiled, command: Command, line: Line, outputs: Sequence[NDArray[np.int64]] = ()
) -> float:
    """Returns how long a board takes for a command.

    Three things go on at once: samples come, in requests that the board takes as a whole; the
    engine computes, once its group is there; what it sends is fetched, as soon as all samples have
    left the line, in pieces of which the board keeps so many. Where nothing is sent, the driver
    asks now and then whether the engine is done.

    :param outputs: what the command sends, as a machine has computed it.
    """
    groups = max(1, sum(each.kind is not None for each in command.inputs))
    taken = _packed(compiled, command.inputs)
    load, request = taken / line.upload, MAX_REQUEST_BODY / line.upload
    compute = engine_cycles(compiled, command) / line.clock
    sent = _sent(compiled, command, outputs)
    slices = groups * max(1, math.ceil(sent / groups / MAX_RESPONSE_BODY))
    kept = math.floor(line.buffer * slices / max(1, sent))
    made, fetched = [0.0], [load]
    for number in range(1, slices + 1):
        there = load * math.ceil(number * groups / slices) / groups
        room = fetched[number - kept] if number > kept else 0.0
        made.append(max(made[-1], min(load, math.ceil(there / request) * request), room) + compute / slices)
        fetched.append(max(made[-1], fetched[-1]) + sent / slices / line.download)
    if sent > MAX_RESPONSE_BODY:
        return fetched[-1] + line.answer
    silent = made[-1 - slices // groups] if sum(each.beats for each in command.expects) > groups else 0.0
    return _asked(made[-1], max(load, silent), line) + sent / line.download + line.answer


def _asked(done: float, begun: float, line: Line) -> float:
    """When the driver gets to know that a silent engine is done: it asks less and less often.

    :param begun: when it begins to ask.
    """
    pause, longest = POLLS
    while begun < done:
        begun += pause + line.round_trip
        pause = min(2 * pause, longest)
    return begun


def shared_step(
    compiled: Compiled,
    state: State,
    inputs: NDArray[np.floating[Any]],
    targets: NDArray[Any] | None,
    devices: int,
    line: Line,
    network: Network,
) -> StepTime:
    """Returns how long a step takes on equal boards.

    :param compiled: the program of one board, by :meth:`~dither.compiler.Compiled.sharing`.
    :param state: training state in front of the step.
    :param inputs: samples of one step, shape (batch, features).
    :param devices: how many boards there are.
    """
    commands, recipe = SharedCommands(compiled), compiled.recipe
    session = Session(build_device("golden", compiled.engine), compiled)
    session.load(state)
    lanes = compiled.engine.lanes
    busiest = -(-(recipe.batch // lanes) // devices) * lanes
    share, rows = 0.0, []
    for first in range(0, busiest, recipe.tile):
        part = slice(first, min(first + recipe.tile, busiest))
        wanted = None if targets is None else targets[part]
        command = commands.share(0, first, inputs[part], wanted)
        outputs, _ = session.run(command)
        rows.append(commands.read_share(outputs)[1])
        share += command_seconds(compiled, command, line, outputs)
    size, levels, found = math.prod(commands.shape) * NUMBER_BYTES[commands.exchange], 0, np.concatenate(rows)
    if commands.exchange is Exchange.GRADIENTS:
        outputs, _ = session.run(commands.collect())
        share += command_seconds(compiled, commands.collect(), line, outputs)
        levels = math.ceil(math.log2(devices)) if devices > 1 else 0
        found = commands.read_collect(outputs) * devices
    # Numbers of the others are like those of this board, in another order.
    numbers = np.random.default_rng(0).choice(found, commands.shape)
    apply = command_seconds(compiled, commands.apply(0, numbers), line)
    travels = size + devices * (size + 2 * MESSAGE_BYTES)
    talk = (2 + levels) * network.latency + travels / network.rate + levels * size / network.rate
    return StepTime(share, apply, talk + devices * network.message)


def _packed(compiled: Compiled, inputs: Sequence[Segment]) -> int:
    """Bytes of input streams on the line, packed."""
    return len(pack_input(compiled.engine, pack(compiled.engine, inputs))[0])


def _sent(compiled: Compiled, command: Command, outputs: Sequence[NDArray[np.int64]]) -> int:
    """Bytes of output streams on the line, packed."""
    engine, found = compiled.engine, b""
    for each, values in zip(command.expects, outputs, strict=True):
        beats = pack(engine, [Segment(each.kind, values)])
        if each.kind is None:
            # An engine sends a scalar with its sign all over the beat.
            negative = np.repeat(values[:, 0] < 0, len(beats) // len(values))
            beats[negative, 1:] = 0xFFFFFFFF
            beats[negative, -1] &= (1 << 1 + (engine.beat_width - 1) % 32) - 1
        found += pack_output(engine, beats)
    return len(found)
