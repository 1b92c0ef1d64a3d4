"""Link: requests without a pause between them, some repeated, stale, broken or from strangers.

Effects must be the model's, in the same order; every answer must be one to a request that was sent,
and none older than the one before.

Parameters: those of :mod:`.link_twin`, ``count`` of requests.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb

from dither.arch.regmap import MAGIC, PROGRAM_WINDOW
from dither.link.protocol import MAX_READ_WORDS, MAX_RESPONSE_BODY, POSITION_BITS, RESPONSE_BIT, Reason, RequestType

from .link_twin import Twins
from .runner import bench_parameters
from .with_registers import register

_MODULUS = 1 << POSITION_BITS
_BREATH = 20
"""READs, and what comes between them, that have tags of their own."""
_QUERIES = (RequestType.HELLO, RequestType.READ, RequestType.FETCH, RequestType.PING)


class _Storm:
    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        self.random = twins.random
        self.sent: deque[tuple[int, int]] = deque()
        """Types and tags of what might be answered, in order."""
        self.bytes = b""
        self.numbers: dict[int, int] = {}
        """First registers of READs, by tag."""

    def add(
        self, kind: int, number: int = 0, argument: int = 0, body: bytes = b"", session: int | None = None
    ) -> bytes:
        frame = self.twins.frame(kind, number, argument, body, session=session)
        self.sent.append((kind, self.twins.tag))
        self.bytes += frame
        return frame

    async def break_loose(self) -> None:
        """All to both; then everything that came back, and whether the last answer tells the
        truth.
        """
        twins = self.twins
        twins.model.feed(self.bytes)
        while twins.model.answer() is not None:
            pass
        await twins.line.send(self.bytes)
        self.bytes = b""
        while (got := await twins.response()) is not None:
            header, body = got
            kind = header["type"] & ~RESPONSE_BIT
            while self.sent and self.sent[0] != (kind, header["tag"]):
                self.sent.popleft()
            assert self.sent, f"an answer to nothing, or too late: {header}"
            self.sent.popleft()
            if kind == RequestType.READ and header["reason"] == Reason.OK:
                words = [int.from_bytes(body[i : i + 4], "little") for i in range(0, len(body), 4)]
                first = self.numbers[header["tag"]]
                assert words == [register((first + i) % _MODULUS) for i in range(len(words))]
        self.sent.clear()
        await twins.settle()
        await twins.exchange(RequestType.PING, 0, 1)


@cocotb.test()
async def data(dut: Any) -> None:
    twins = await Twins.begun(dut)
    random = twins.random
    await twins.open()
    storm = _Storm(twins)
    count = bench_parameters()["count"]
    stream = twins.packed(twins.random_beats(3 * count * twins.config.word_parts))
    number = 0
    for _ in range(count):
        match random.randrange(8):
            case 0:
                storm.add(RequestType.DATA, number - random.randrange(1, 3), 0, b"\0\1")
            case 1:
                frame = bytearray(storm.twins.frame(RequestType.DATA, number, 0, b"\0\3\0"))
                frame[random.randrange(len(frame) - 1)] ^= 1 << random.randrange(8)
                storm.bytes += bytes(frame) + b"\0"
            case 2:
                storm.add(RequestType.DATA, number, 0, b"\7\7", session=twins.session ^ random.randrange(1, _MODULUS))
            case 3:
                storm.add(random.choice(_QUERIES), 0, random.randrange(60))
                storm.numbers[twins.tag] = 0
            case _:
                size = random.choice((1, 2, random.randrange(3, 40)))
                if stream:
                    storm.add(RequestType.DATA, number, 0, stream[:size])
                    stream, number = stream[size:], number + 1
    await storm.break_loose()
    assert twins.model.next == number


@cocotb.test()
async def registers(dut: Any) -> None:
    """READs are being answered while WRITEs and STARTs want the same port; sessions change in
    between.
    """
    twins = await Twins.begun(dut)
    random = twins.random
    await twins.open()
    storm = _Storm(twins)
    number = 0
    for request in range(bench_parameters()["count"] // 4):
        if request % _BREATH == _BREATH - 1:
            await storm.break_loose()
        first = random.randrange(_MODULUS)
        storm.add(RequestType.READ, first, random.choice((3, MAX_READ_WORDS, MAX_READ_WORDS)))
        storm.numbers[twins.tag] = first
        if random.random() < 0.3:
            storm.add(RequestType.PING, 0, MAX_RESPONSE_BODY)
        for _ in range(random.randrange(3)):
            if random.random() < 0.5:
                storm.add(
                    RequestType.WRITE,
                    number,
                    PROGRAM_WINDOW + random.randrange(64),
                    random.randbytes(4 * random.randrange(1, 6)),
                )
            else:
                storm.add(RequestType.START, number, random.randrange(_MODULUS))
            number += 1
        if random.random() < 0.2:
            twins.session = random.randrange(1, _MODULUS)
            storm.add(RequestType.HELLO, MAGIC % _MODULUS)
            number = 0
    await storm.break_loose()


@cocotb.test()
async def a_read_among_others(dut: Any) -> None:
    """A query is answered, whatever follows it."""
    twins = await Twins.begun(dut)
    random = twins.random
    await twins.open()
    for number in range(0, 6, 3):
        await twins.settle()
        first = random.randrange(_MODULUS)
        frames = twins.frame(RequestType.READ, first, MAX_READ_WORDS)
        tag = twins.tag
        frames += twins.frame(RequestType.START, number, random.randrange(_MODULUS))
        frames += twins.frame(RequestType.WRITE, number + 1, PROGRAM_WINDOW, random.randbytes(8))
        frames += twins.frame(RequestType.START, number + 2, random.randrange(_MODULUS))
        twins.model.feed(frames)
        twins.model.answer()
        await twins.line.send(frames)
        got = await twins.response()
        assert got is not None
        header, body = got
        assert (header["type"] & ~RESPONSE_BIT, header["tag"]) == (RequestType.READ, tag), f"answers {header}"
        words = [int.from_bytes(body[i : i + 4], "little") for i in range(0, len(body), 4)]
        assert words == [register((first + i) % _MODULUS) for i in range(MAX_READ_WORDS)]
        await twins.response()
    await twins.settle()
