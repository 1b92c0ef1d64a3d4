"""What a device has found out about some samples of a step, and how such answers are added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compiler import Exchange
from ..golden.probes import wrap_gradients
from ..tools.forms import COUNT
from .division import Piece
from .messages import MessageError, seal, unseal

__all__ = ["Answer", "read_answer", "write_answer"]

_FORM = {
    "run": str,
    "asks": [COUNT],
    "step": COUNT,
    "pieces": [[COUNT]],
    "total": COUNT,
    "clips": {"requantise": COUNT, "loss": COUNT},
    "weights": {str: COUNT},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What devices have found out about some pieces of a step's batch."""

    asks: tuple[int, ...]
    """Numbers of the questions that this answers."""
    step: int
    pieces: tuple[Piece, ...]
    total: int
    """Sum of the samples' unperturbed losses."""
    clips: Mapping[str, int]
    """Numbers that were clipped for these samples, by place."""
    weights: Mapping[int, int]
    """Working weights that were clipped in each tile, by the tile's number: the same for all lane
    groups of a tile, hence counted once."""
    numbers: NDArray[np.int64]
    """Loss differences, shape (pieces, differences); or sums of gradients, shape (parameters,)."""

    def __add__(self, other: Answer) -> Answer:
        """Returns both as one; only sums of gradients can be added.

        :raises MessageError: if they are of different steps or counted different weights.
        """
        if self.step != other.step or self.numbers.shape != other.numbers.shape:
            raise MessageError("answers of different steps cannot be added")
        if any(other.weights.get(tile, count) != count for tile, count in self.weights.items()):
            raise MessageError("two devices clipped different weights for the same tile")
        return Answer(
            self.asks + other.asks,
            self.step,
            self.pieces + other.pieces,
            self.total + other.total,
            {place: count + other.clips[place] for place, count in self.clips.items()},
            {**self.weights, **other.weights},
            # Accumulators are numbers modulo 2**48: a part may wrap, the whole does not.
            wrap_gradients(self.numbers + other.numbers),
        )


def write_answer(key: bytes, run: str, exchange: Exchange, answer: Answer) -> bytes:
    """Returns the message that says an answer."""
    head = {
        "run": run,
        "asks": list(answer.asks),
        "step": answer.step,
        "pieces": [list(piece) for piece in answer.pieces],
        "total": answer.total,
        "clips": dict(answer.clips),
        "weights": {str(tile): count for tile, count in answer.weights.items()},
    }
    kind = "i4" if exchange is Exchange.SCALARS else "i6"
    return seal(key, head, {"numbers": (kind, answer.numbers)})


def read_answer(key: bytes, run: str, message: object) -> Answer:
    """Returns the answer that a message says.

    :raises MessageError: if it was altered, is no answer, or one within another run.
    """
    head, arrays = unseal(key, message, _FORM)
    if head["run"] != run:
        raise MessageError("it is from another run")
    if set(arrays) != {"numbers"} or arrays["numbers"].dtype != np.int64:
        raise MessageError("it has other arrays than an answer")
    if any(len(piece) != 2 for piece in head["pieces"]) or not all(map(str.isdecimal, head["weights"])):
        raise MessageError("its pieces or tiles make no sense")
    return Answer(
        tuple(head["asks"]),
        head["step"],
        tuple((first, count) for first, count in head["pieces"]),
        head["total"],
        head["clips"],
        {int(tile): count for tile, count in head["weights"].items()},
        arrays["numbers"],
    )
