"""What tests of the link share: a soak of a board in software, with all that can happen to one."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dither.arch.regmap import MAGIC
from dither.link.faults import DriverKilled, FaultyTransport
from dither.link.frames import encode_frame
from dither.link.protocol import REQUEST, RequestType
from dither.train.soak import Outcome, soak
from tests.doubles.board import BoardModel, ModelTransport

__all__ = ["soak_board"]

_OTHER_SESSION = 4242


def soak_board(board: BoardModel, *, faults: int, seed: int, disasters: bool = True) -> Outcome:
    """Soaks the board in memory: line faults, killed drivers, resets, power cuts, unplugged lines,
    other drivers.
    """

    def line(random: np.random.Generator, counts: Counter[str]) -> FaultyTransport:
        def kill() -> None:
            raise DriverKilled

        def cut_power() -> None:
            board.restart()
            faulty.unplug()

        def take_over() -> None:
            header = REQUEST.pack(type=RequestType.HELLO, session=_OTHER_SESSION, number=MAGIC & 0xFFFF)
            board.exchange(b"\0" + encode_frame(header))

        happen = {
            "driver killed": kill,
            "board reset": board.restart,
            "unplugged": lambda: faulty.unplug(),
            "unplugged, power lost": cut_power,
            "taken over by another driver": take_over,
        }
        faulty = FaultyTransport(
            ModelTransport(board),
            random,
            chance=0.1,
            disasters=happen if disasters else None,
            rare=25.0,
            pause=0.003,
            counts=counts,
        )
        return faulty

    return soak(line, board.engine.config, faults=faults, seed=seed, patience=2.0, shortest_timeout=0.002)
