"""Ten thousand faults on the line, and not one wrong bit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dither.arch.config import preset
from dither.link.faults import LINE_FAULTS, FaultyTransport
from dither.link.transport import SerialTransport
from dither.train.soak import soak
from tests.doubles.board import BoardModel, PseudoTerminal
from tests.link import soak_board


@pytest.mark.slow
def test_ten_thousand_faults() -> None:
    board = BoardModel(preset("1x8"))
    outcome = soak_board(board, faults=10_000, seed=7)
    print(outcome.report())
    for fault in LINE_FAULTS:
        for direction in ("to the board", "from the board"):
            assert outcome.faults[f"{fault} {direction}"] > 100
    assert outcome.resumed
    board.close()


def test_faults_on_a_pseudo_terminal() -> None:
    board = BoardModel(preset("1x8"))
    with PseudoTerminal(board) as terminal:

        def line(random: np.random.Generator, counts: Counter[str]) -> FaultyTransport:
            faulty = FaultyTransport(
                SerialTransport(terminal.path),
                random,
                chance=0.05,
                disasters={"cut off": lambda: faulty.unplug()},
                pause=0.05,
                counts=counts,
            )
            return faulty

        outcome = soak(line, preset("1x8"), faults=30, seed=1, shortest_timeout=0.01)
        print(outcome.report())
        assert outcome.runs
    board.close()
