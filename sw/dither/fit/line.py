"""How long a step's samples take on their way to a board's engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.streams import Expect, Segment, beats_per_word, physical_beats, slots
from ..boards import Board
from ..compiler import Compiled, SolvingCommands
from ..link.protocol import CRC_BYTES, MAX_REQUEST_BODY, REQUEST
from ..link.shelf import Named
from ..link.upload import Upload
from ..store.layout import choose_layout, pack_samples

__all__ = ["Line", "line_of"]

BYTE_BITS = 10
"""Bits on the line for a byte: a start bit, eight of data, a stop bit."""
_FRAMED = (MAX_REQUEST_BODY + REQUEST.size + CRC_BYTES + 6) / MAX_REQUEST_BODY
"""Bytes on the line for a byte of a full request: header, CRC, the codes of COBS, and the zero."""
_STORE_WAIT = 1 / 8
"""Share of a LOAD's beats that an engine waits for its store: the flags' byte to eight words."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """What a training step takes of the line between host and board."""

    bytes: int
    """Bytes on the line for a step, packed and framed; about, as data differ from step to step."""
    seconds: float
    """Seconds that the line needs for a step."""
    step_seconds: float
    """Seconds of a step on the board, the wait for samples included."""
    wait_share: float
    """Share of these seconds in which the engine waits for samples."""
    stored: bool
    """Whether the board keeps the data set in a memory of its own, and samples are only named."""
    once_bytes: int = 0
    """Bytes of the data set in that memory, which the line carries once; about."""
    once_seconds: float = 0.0
    """Seconds that the line needs for them."""


def line_of(
    board: Board,
    compiled: Compiled,
    cycles: int,
    inputs: NDArray[np.floating[Any]],
    targets: NDArray[Any] | None,
    kept: int,
) -> Line:
    """Works out how a board's line keeps up with its engine.

    While the engine is at work on a group of samples, the next one comes into the link's buffer, as
    far as it has room. The bytes are those of the given step's samples, packed as the driver does;
    ``dither link-cost`` measures the same on a simulated board, cycle by cycle.

    :param compiled: the program of the board's engine, or of one like it with more memory.
    :param cycles: cycles of a step, waiting left out.
    :param inputs: samples of one step, shape (batch, features).
    :param targets: their targets; None if there are none.
    :param kept: number of samples of the data set, for boards that keep it.
    """
    if compiled.recipe.solved:
        return _conversation(board, compiled, cycles, inputs)
    segments = compiled.commands.train(0, [(inputs, targets)]).inputs
    groups = [segment for segment in segments if segment.kind is not None]
    stored = board.memory is not None and targets is not None
    busy = cycles / board.clock.hz
    rate = board.uart.baud / BYTE_BITS
    sent = _payload(compiled, segments, stored)
    framed = round(sent * _FRAMED)
    seconds = framed / rate
    if stored:
        once = _data_set(compiled, inputs, targets) * kept // len(inputs)
        waiting = _STORE_WAIT * sum(physical_beats(compiled.engine, group) for group in groups) / board.clock.hz
        taken = max(seconds, busy + waiting)
        return Line(framed, seconds, taken, 1 - busy / taken, True, once, once * _FRAMED / rate)
    # What a group has beyond the buffer comes only once the engine takes it.
    late = max(0.0, sent / len(groups) - board.link.input_bytes) * len(groups) * _FRAMED / rate
    taken = max(seconds, busy + late)
    return Line(framed, seconds, taken, 1 - busy / taken, False)


def _conversation(board: Board, compiled: Compiled, cycles: int, inputs: NDArray[np.floating[Any]]) -> Line:
    """Works out the same where the host solves for steps, and the engine waits for what it says."""
    commands = SolvingCommands(compiled).conversation(inputs)
    sent = sum(_payload(compiled, command.inputs, False) for command in commands)
    answered = sum(expect.beats * _answer(compiled, expect) for command in commands for expect in command.expects)
    framed = round((sent + answered) * _FRAMED)
    busy, seconds = cycles / board.clock.hz, framed * BYTE_BITS / board.uart.baud
    return Line(framed, seconds, busy + seconds, seconds / (busy + seconds), False)


def _answer(compiled: Compiled, expect: Expect) -> int:
    """Returns the most bytes that a word takes on its way to the host."""
    engine = compiled.engine
    count, _, pitch = slots(engine, expect.kind)
    beats = beats_per_word(engine, expect.kind)
    chunks = beats * -(-engine.beat_width // engine.width)
    # A bit for each chunk, and those that are not empty.
    return -(-(chunks + count * pitch) // 8) + beats


def _payload(compiled: Compiled, segments: Sequence[Segment], stored: bool) -> int:
    """Returns the bytes of a command's input as the driver packs them."""
    lanes = tuple(range(compiled.engine.lanes))
    given = [
        Named(lanes, len(segment.values)) if stored and segment.kind is not None else segment for segment in segments
    ]
    upload, total = Upload(compiled.engine, given, None), 0
    while size := upload.left(_PIECE):
        total += len(upload.take(size))
    return total


def _data_set(compiled: Compiled, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None) -> int:
    """Returns the bytes of a step's samples as a board keeps them."""
    words = compiled.samples.words(inputs, targets)
    return len(pack_samples(words, choose_layout(words, compiled.engine.width)).data)
