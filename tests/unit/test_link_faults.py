"""A line that misbehaves does so as it says, and a driver behind it never accepts a wrong
result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.link.faults import LINE_FAULTS, DriverKilled, FaultyTransport
from dither.link.frames import encode_frame
from dither.train.soak import soak
from tests.doubles.board import BoardModel
from tests.link import soak_board

FRAME = encode_frame(b"a frame as any other")


class Loop:
    """A line whose other end sends everything back."""

    name, bauds, baud = "loop", (1,), 1

    def __init__(self) -> None:
        self.held = b""
        self.closed = False

    def set_baud(self, baud: int) -> None:
        self.baud = baud

    def write(self, data: bytes) -> None:
        self.held += data

    def read(self, timeout: float) -> bytes:
        held, self.held = self.held, b""
        return held

    def reset_input(self) -> None:
        self.held = b""

    def close(self) -> None:
        self.closed = True


def faulty(chance: float, **options: object) -> tuple[Loop, FaultyTransport]:
    loop = Loop()
    return loop, FaultyTransport(loop, np.random.default_rng(1), chance=chance, pause=0.001, **options)  # type: ignore[arg-type]


def test_a_whole_line() -> None:
    loop, line = faulty(0.0)
    line.write(FRAME)
    assert line.read(0) == FRAME
    line.write(FRAME)
    line.reset_input()
    assert line.read(0) == b""
    line.set_baud(5)
    assert (line.baud, line.name, line.counts.total()) == (5, "loop", 0)
    line.close()
    assert loop.closed


@pytest.mark.parametrize("fault", LINE_FAULTS)
def test_faults_are_what_they_say(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dither.link.faults.LINE_FAULTS", (fault,))
    loop, line = faulty(1.0)
    lengths = set()
    for _ in range(50):
        line.write(FRAME)
        found = loop.held
        loop.held = b""
        lengths.add(len(found) - len(FRAME))
        differing = sum(a != b for a, b in zip(found, FRAME, strict=False))
        if fault == "bit flipped":
            assert np.unpackbits(np.frombuffer(found, np.uint8) ^ np.frombuffer(FRAME, np.uint8)).sum() == 1
        elif fault == "bytes garbled":
            assert differing <= len(FRAME)
        elif fault in ("pause", "frame lost", "frame repeated"):
            assert differing == 0
    expected = {
        "byte lost": -1,
        "byte added": 1,
        "byte repeated": 1,
        "frame lost": -len(FRAME),
        "frame repeated": len(FRAME),
    }
    assert lengths == {expected.get(fault, 0)}
    assert line.counts == {f"{fault} to the board": 50}
    loop.held = FRAME
    line.read(0)
    assert line.counts[f"{fault} from the board"] == 1


def test_disasters() -> None:
    def kill() -> None:
        raise DriverKilled

    loop, line = faulty(1.0, disasters={"killed": kill}, rare=1.0)
    with pytest.raises(DriverKilled):
        line.write(FRAME)
    assert len(loop.held) < len(FRAME)
    assert line.counts == {"killed": 1}
    with pytest.raises(DeviceError, match="loop is gone"):
        line.unplug()
    for touch in (lambda: line.write(FRAME), lambda: line.read(0), line.reset_input):
        with pytest.raises(DeviceError, match="loop is gone"):
            touch()


@pytest.fixture
def board() -> Iterator[BoardModel]:
    board = BoardModel(preset("1x8"))
    yield board
    board.close()


def test_no_fault_gives_a_wrong_result(board: BoardModel) -> None:
    outcome = soak_board(board, faults=200, seed=1)
    print(outcome.report())
    assert outcome.runs
    assert outcome.resent
    assert outcome.faults.total() >= 200
    assert f"{outcome.faults.total()} faults in {outcome.runs} runs" in outcome.report()


def test_a_soak_notices_wrong_bits(board: BoardModel) -> None:
    engine = board.engine
    give = engine.give

    def spoilt(beats: np.ndarray) -> None:
        give(beats ^ np.uint32(int(beats.shape[0] > 3)))

    engine.give = spoilt  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="another curve than the golden machine's"):
        soak_board(board, faults=1, seed=1, disasters=False)


def test_a_soak_ends_where_no_run_does(board: BoardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dither.train.soak._ATTEMPTS", 2)

    def line(random: np.random.Generator, counts: Counter[str]) -> FaultyTransport:
        return FaultyTransport(Loop(), random, chance=0.0, counts=counts)

    with pytest.raises(AssertionError, match="no driver came to the end of a run in 2 attempts"):
        soak(line, preset("1x8"), faults=1, patience=0.05, shortest_timeout=0.01)
