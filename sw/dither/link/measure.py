"""Measures a line to a board: round trips, upload and download against the baud rate's limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..arch.isa import Memory
from ..arch.isa.assembler import Assembler
from ..arch.streams import Expect, Segment
from .driver import LinkDevice

__all__ = ["BYTE_BITS", "measure_link"]

BYTE_BITS = 10
"""Number of bits on the line for a byte: start, eight of data, stop."""
_FIRST_SECONDS = 0.2
_MOST_ROUNDS = 1 << 20
"""Most rounds of a measurement; loop counts stay far within their registers."""


def measure_link(
    device: LinkDevice, *, pings: int = 200, seconds: float = 2.0, tell: Callable[[str, float], None]
) -> dict[str, Any]:
    """Measures the link; overwrites the board's program and activation memories.

    :param pings: number of round trips to time.
    :param seconds: how long upload and download take, each, about.
    :param tell: called with what is going on, and which part of it is done (0 to 1).
    :returns: JSON data; rates in bytes a second as they pass the line, headers and repetitions left
        out.
    :raises DeviceError: if the board is lost.
    """
    before = asdict(device.statistics)
    trips = []
    for number in range(pings):
        trips.append(device.ping())
        tell("round trips", (number + 1) / pings)
    words = min(256, device.config.activation_depth)
    device.write_program(_program(words))
    uploaded = _rate(lambda rounds: _upload(device, words, rounds), seconds, lambda part: tell("upload", part))
    downloaded = _rate(lambda rounds: _download(device, words, rounds), seconds, lambda part: tell("download", part))
    after, identity = asdict(device.statistics), device.identity
    limit = max(1, identity.baud) / BYTE_BITS
    return {
        "port": device.name,
        "board": identity.board,
        "build": f"{identity.build:016x}",
        "engine": device.config.to_dict(),
        "clock": identity.clock,
        "baud": identity.baud,
        "input_buffer": identity.input,
        "output_buffer": identity.output,
        "round_trip_seconds": {
            "least": min(trips),
            "median": float(np.median(trips)),
            "p99": float(np.quantile(trips, 0.99)),
        },
        "limit_bytes_per_s": limit,
        "upload_bytes_per_s": uploaded,
        "upload_of_limit": uploaded / limit,
        "download_bytes_per_s": downloaded,
        "download_of_limit": downloaded / limit,
        **{name: after[name] - before[name] for name in ("requests", "resent", "timeouts", "damaged")},
    }


def _program(words: int) -> list[int]:
    """Returns a program with two entries: one takes activations over and over, one sends them.

    The first starts at word 0, the second behind the HALT of the first.
    """
    code = Assembler()
    for name in ("LOAD", "STORE"):
        code.label(name)
        code.emit("PULL", target=1)
        with code.loop(register=1):
            code.emit(name, memory=Memory.ACTIVATION, base=0, count=words)
        code.emit("HALT")
    return code.words()


def _entry(name: str, words: int) -> int:
    if name == "LOAD":
        return 0
    return len(_program(words)) // 2


def _upload(device: LinkDevice, words: int, rounds: int) -> int:
    rng, width = np.random.default_rng(rounds), device.config.width
    half = 1 << (width - 1)
    values = rng.integers(-half, half, (rounds * words, device.config.lanes))
    sent = device.payload_sent
    device.run(_entry("LOAD", words), [Segment.scalars([rounds]), Segment(Memory.ACTIVATION, values)])
    return device.payload_sent - sent


def _download(device: LinkDevice, words: int, rounds: int) -> int:
    fetched = device.payload_fetched
    expects = [Expect(Memory.ACTIVATION, rounds * words)]
    device.run(_entry("STORE", words), [Segment.scalars([rounds])], expects)
    return device.payload_fetched - fetched


def _rate(transfer: Callable[[int], int], seconds: float, tell: Callable[[float], None]) -> float:
    """Returns bytes a second, measured by a transfer that is long enough."""
    rounds = 1
    while True:
        tell(0.0)
        begun = time.perf_counter()
        moved = transfer(rounds)
        spent = time.perf_counter() - begun
        if spent >= seconds / 2 or rounds >= _MOST_ROUNDS:
            tell(1.0)
            return moved / spent
        rounds = min(_MOST_ROUNDS, max(2 * rounds, int(rounds * seconds / max(spent, _FIRST_SECONDS / 10))))
