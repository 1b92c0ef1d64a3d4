"""Boards that are alive but broken: whatever they say, the driver ends in time, in one line, and a
right board goes on exactly from there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.isa.assembler import Assembler
from dither.arch.streams import Expect, Segment
from dither.link.driver import LinkDevice
from tests.doubles.board import BoardModel, ModelTransport
from tests.doubles.broken import BEGINNINGS, MISBEHAVIOURS, BrokenLine, VirtualTime

CONFIG = preset("1x8")
PATIENCE = 1.0
LONGEST = 20 * PATIENCE
"""Virtual seconds that a conversation with a broken board may take: it has a few dozen steps, each
of which may use up some patience."""
HARMLESS = {
    ("a board that has nothing wrong", "from the first"),
}


@pytest.fixture(scope="module")
def board() -> Iterator[BoardModel]:
    board = BoardModel(CONFIG)
    yield board
    board.close()


def echo(device: LinkDevice, groups: int = 12) -> None:
    """Writes a program, has it send back what it is given, and compares."""
    code = Assembler()
    code.emit("PULL", target=1)
    with code.loop(register=1):
        code.emit("LOAD", memory=Memory.ACTIVATION, base=0, count=3)
        code.emit("STORE", memory=Memory.ACTIVATION, base=0, count=3)
    code.emit("HALT")
    device.write_program(code.words())
    values = np.random.default_rng(groups).integers(-9000, 9000, (3 * groups, CONFIG.lanes))
    inputs = [Segment.scalars([groups]), Segment(Memory.ACTIVATION, values)]
    outputs = device.run(0, inputs, [Expect(Memory.ACTIVATION, 3 * groups)]).outputs
    assert np.array_equal(outputs[0], values)


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
def test_no_broken_board_hangs_the_driver(board: BoardModel, misbehaviour: str, beginning: str) -> None:
    time = VirtualTime()
    line = BrokenLine(board, MISBEHAVIOURS[misbehaviour], BEGINNINGS[beginning], time)
    said = ""
    try:
        with LinkDevice(line, patience=PATIENCE, shortest_timeout=0.002, now=time) as device:
            echo(device)
    except DeviceError as error:
        said = str(error)
    print(f"{misbehaviour:50} {beginning:26} {time.seconds:8.2f} {line.spoilt:6} {said}")
    with LinkDevice(ModelTransport(board), patience=PATIENCE, shortest_timeout=0.002) as device:
        echo(device)
    assert time.seconds < LONGEST
    assert "\n" not in said
