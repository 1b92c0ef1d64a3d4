"""The board's end of the link, request by request, with a scripted engine; and the golden machine
behind it.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dither.arch.config import EngineConfig, preset
from dither.arch.isa import Memory
from dither.arch.isa.assembler import Assembler
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW
from dither.arch.streams import Segment, beat_words, pack, unpack
from dither.link.frames import decode_frame, encode_frame
from dither.link.packing import pack_input, pack_output
from dither.link.protocol import REQUEST, RESPONSE, RESPONSE_BIT, Flag, Identity, Reason, RequestType
from tests.doubles.board import BoardModel
from tests.doubles.golden import GoldenEngine
from tests.doubles.model import LinkModel

CONFIG = preset("1x8")
PARTS = EngineConfig(rows=4, lanes=8, word_parts=4)
INPUT, OUTPUT = 200, 100
SESSION = 0xBEEF


class Script:
    """An engine that does as it is told, and takes notes."""

    def __init__(self, config: EngineConfig) -> None:
        self.busy = False
        self.fault = False
        self.notes: list[tuple[Any, ...]] = []
        self.appetite = 0
        self.taken: list[NDArray[np.uint32]] = []
        self.output = np.zeros((0, beat_words(config)), np.uint32)

    def reset(self) -> None:
        self.notes.append(("reset",))
        self.busy = False

    def read(self, address: int) -> int:
        return address * 0x10001

    def write(self, address: int, word: int) -> None:
        self.notes.append(("write", address, word))

    def start(self, entry: int) -> None:
        self.notes.append(("start", entry))
        self.busy = True

    def wanted(self) -> int:
        return self.appetite

    def give(self, beats: NDArray[np.uint32]) -> None:
        self.appetite -= len(beats)
        self.taken.extend(beats)

    def offered(self, limit: int) -> NDArray[np.uint32]:
        part, self.output = self.output[:limit], self.output[limit:]
        return part


class Host:
    """Requests by name, responses as dictionaries."""

    def __init__(self, config: EngineConfig = CONFIG) -> None:
        self.engine = Script(config)
        self.identity = Identity.of(config, clock=1, baud=2, input=INPUT, output=OUTPUT, build=3, board="scripted")
        self.link = LinkModel(config, self.identity, self.engine)
        self.tag = 0

    def frame(self, kind: int, number: int = 0, argument: int = 0, body: bytes = b"", session: int = SESSION) -> bytes:
        self.tag = (self.tag + 1) % 256
        header = REQUEST.pack(type=kind, tag=self.tag, session=session, number=number, argument=argument)
        return encode_frame(header + body)

    def response(self) -> dict[str, Any]:
        answer = self.link.answer()
        assert answer is not None
        payload = decode_frame(answer[:-1])
        return {**RESPONSE.unpack(payload), "body": payload[RESPONSE.size :]}

    def ask(self, kind: int, *arguments: Any, **named: Any) -> dict[str, Any]:
        frame = self.frame(kind, *arguments, **named)
        self.link.feed(frame)
        response = self.response()
        assert (response["type"], response["tag"]) == (kind | RESPONSE_BIT, self.tag)
        assert self.link.answer() is None
        return response

    def hello(self, session: int = SESSION) -> dict[str, Any]:
        return self.ask(RequestType.HELLO, MAGIC & 0xFFFF, session=session)


@pytest.fixture
def host() -> Host:
    host = Host()
    host.hello()
    host.engine.notes.clear()
    return host


def random_beats(count: int, seed: int = 1, config: EngineConfig = CONFIG) -> NDArray[np.uint32]:
    values = np.random.default_rng(seed).integers(-1000, 1000, (count // config.word_parts, config.lanes))
    return pack(config, [Segment(Memory.ACTIVATION, values)])


def test_hello_opens_a_session_once() -> None:
    host = Host()
    assert host.ask(RequestType.PING)["session"] == 0
    response = host.hello()
    assert response["session"] == SESSION
    assert response["free"] == INPUT
    assert Identity.decode(response["body"]) == host.identity
    assert host.engine.notes == [("reset",)]
    host.ask(RequestType.DATA, 0, body=bytes(10))
    assert host.hello()["next"] == 1
    assert host.engine.notes == [("reset",)]
    response = host.hello(session=SESSION + 1)
    assert (response["next"], response["free"], response["produced"]) == (0, INPUT, 0)
    assert host.engine.notes == [("reset",)] * 2
    response = host.ask(RequestType.DATA, 0, body=b"1")
    assert (response["reason"], response["session"]) == (Reason.SESSION, SESSION + 1)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (0, {}),
        (8, {}),
        (0x81, {}),
        (RequestType.HELLO, {"number": MAGIC & 0xFFFF, "body": b"1"}),
        (RequestType.HELLO, {"number": 1}),
        (RequestType.HELLO, {"number": MAGIC & 0xFFFF, "session": 0}),
        (RequestType.READ, {"argument": 0}),
        (RequestType.READ, {"argument": 65}),
        (RequestType.READ, {"argument": 1, "body": b"1"}),
        (RequestType.WRITE, {}),
        (RequestType.WRITE, {"body": b"12345"}),
        (RequestType.DATA, {}),
        (RequestType.START, {"body": b"1"}),
        (RequestType.FETCH, {"argument": 257}),
        (RequestType.FETCH, {"argument": 1, "body": b"1"}),
        (RequestType.PING, {"argument": 257}),
    ],
)
def test_malformed_requests_have_no_effect(host: Host, kind: int, arguments: dict[str, Any]) -> None:
    frame = host.frame(kind, **arguments)
    (effect,) = host.link.feed(frame)
    assert (effect.type, effect.tag, effect.reason) == (kind, host.tag, Reason.MALFORMED)
    response = host.response()
    assert (response["type"], response["reason"], response["next"]) == (kind | 0x80, Reason.MALFORMED, 0)
    assert not response["body"]
    assert host.engine.notes == []


def test_noise_is_dropped(host: Host) -> None:
    good = host.frame(RequestType.START, 0, 5)
    assert host.link.feed(b"\0\0noise\0" + good[:-2] + b"\0" + encode_frame(b"short") + good[1:]) == []
    assert host.link.answer() is None
    assert host.engine.notes == []
    assert len(host.link.feed(good)) == 1


def test_reading_and_pinging(host: Host) -> None:
    words = struct.unpack("<3I", host.ask(RequestType.READ, 0x10, 3)["body"])
    assert words == (0x100010, 0x110011, 0x120012)
    assert len(host.ask(RequestType.PING, 7, 256, body=bytes(1024))["body"]) == 256
    assert host.ask(RequestType.PING, session=1)["reason"] == Reason.SESSION


def test_sequenced_requests_take_effect_once_and_in_order(host: Host) -> None:
    assert host.ask(RequestType.WRITE, 1, 0x8000, body=bytes(4))["reason"] == Reason.SEQUENCE
    response = host.ask(RequestType.WRITE, 0, 0x8000, body=struct.pack("<2I", 6, 7))
    assert (response["reason"], response["next"]) == (Reason.OK, 1)
    response = host.ask(RequestType.WRITE, 0, 0x8000, body=struct.pack("<2I", 6, 7))
    assert (response["reason"], response["next"]) == (Reason.SEQUENCE, 1)
    assert host.engine.notes == [("write", 0x8000, 6), ("write", 0x8001, 7)]
    assert host.ask(RequestType.START, 1, 0x123)["flags"] == Flag.BUSY
    assert host.ask(RequestType.START, 2, 0x123)["reason"] == Reason.BUSY
    assert host.ask(RequestType.WRITE, 2, 0x8000, body=bytes(4))["reason"] == Reason.BUSY
    host.engine.busy, host.engine.fault = False, True
    assert host.ask(RequestType.PING)["flags"] == Flag.FAULT
    assert host.ask(RequestType.DATA, 2, body=b"1")["next"] == 3
    assert host.ask(RequestType.WRITE, 3, 0x8000, body=bytes(4))["reason"] == Reason.BUSY
    assert host.engine.notes[2:] == [("start", 0x123)]


def test_a_write_needs_room(host: Host) -> None:
    assert host.ask(RequestType.WRITE, 0, 0x8000, body=bytes(INPUT + 4))["reason"] == Reason.ROOM
    assert host.ask(RequestType.WRITE, 0, 0x8000, body=bytes(INPUT))["reason"] == Reason.OK


def test_sequence_numbers_wrap(host: Host) -> None:
    host.link.next = 0xFFFF
    assert host.ask(RequestType.START, 0xFFFF, 1)["next"] == 0


def test_input_goes_to_the_engine_beat_by_beat(host: Host) -> None:
    beats = random_beats(6)
    packed, last = pack_input(CONFIG, beats)
    half = len(packed) // 2 + 3
    assert host.ask(RequestType.DATA, 0, body=packed[:half])["free"] == INPUT - half
    assert host.ask(RequestType.DATA, 1, body=packed[half:])["free"] == INPUT - len(packed)
    response = host.ask(RequestType.DATA, 2, body=bytes(INPUT))
    assert (response["reason"], response["next"]) == (Reason.ROOM, 2)
    host.engine.appetite = 2
    assert host.ask(RequestType.PING)["free"] == INPUT - len(packed) + len(pack_input(CONFIG, beats[:2])[0])
    host.engine.appetite = 100
    assert host.ask(RequestType.PING)["free"] == INPUT
    assert np.array_equal(host.engine.taken, beats)
    host.ask(RequestType.DATA, 2, body=pack_input(CONFIG, beats[:1], last)[0])
    assert np.array_equal(host.engine.taken[-1], beats[0])


def test_words_in_parts_go_to_the_engine_whole() -> None:
    host = Host(PARTS)
    host.hello()
    host.engine.appetite = 8
    beats = random_beats(8, config=PARTS)
    packed, last = pack_input(PARTS, beats)
    first = len(pack_input(PARTS, beats[:4])[0])
    assert host.ask(RequestType.DATA, 0, body=packed[: first - 1])["free"] == INPUT - (first - 1)
    assert not host.engine.taken
    assert host.ask(RequestType.DATA, 1, body=packed[first - 1 :])["free"] == INPUT
    assert np.array_equal(host.engine.taken, beats)
    host.engine.appetite = 4
    assert host.ask(RequestType.DATA, 2, body=pack_input(PARTS, beats[4:], last)[0])["free"] == INPUT
    assert np.array_equal(host.engine.taken[8:], beats[4:])


def test_a_new_session_forgets_the_last_beat(host: Host) -> None:
    host.engine.appetite = 100
    beats = random_beats(1)
    for session in (SESSION + 1, SESSION + 2):
        host.hello(session)
        host.ask(RequestType.DATA, 0, body=pack_input(CONFIG, beats)[0], session=session)
    assert np.array_equal(host.engine.taken, np.repeat(beats, 2, axis=0))


def test_output_waits_for_acknowledgement(host: Host) -> None:
    host.engine.output = random_beats(20)
    packed = pack_output(CONFIG, host.engine.output)
    response = host.ask(RequestType.FETCH, 0, 30)
    assert response["body"] == packed[:30]
    assert response["produced"] == OUTPUT
    assert response["flags"] == Flag.BUSY
    assert host.ask(RequestType.FETCH, 0, 30)["body"] == packed[:30]
    assert host.ask(RequestType.FETCH, 0, 256)["body"] == packed[:OUTPUT]
    assert host.ask(RequestType.FETCH, OUTPUT + 1, 1)["reason"] == Reason.POSITION
    position, found = 0, b""
    while len(found) < len(packed):
        body = host.ask(RequestType.FETCH, position, 50)["body"]
        found += body
        position += len(body)
    assert found == packed
    response = host.ask(RequestType.FETCH, position, 256)
    assert (response["produced"], response["flags"], response["body"]) == (len(packed), 0, b"")
    assert host.ask(RequestType.FETCH, position - 1, 1)["reason"] == Reason.POSITION


def test_one_answer_at_a_time(host: Host) -> None:
    def answered(*kinds: RequestType) -> int:
        frames = b"".join(host.frame(kind, 0, 1, body=b"1" if kind is RequestType.DATA else b"") for kind in kinds)
        assert len(host.link.feed(frames)) == len(kinds)
        number = (host.response()["tag"] - host.tag - 1) % 256 - 256 + len(kinds)
        assert host.link.answer() is None
        return number

    data, ping, fetch = RequestType.DATA, RequestType.PING, RequestType.FETCH
    assert answered(data, data, data) == 2
    assert answered(data, ping, data) == 1
    assert answered(ping, data, ping, fetch) == 0
    assert answered(data, fetch, ping) == 1
    hello = host.frame(RequestType.HELLO, MAGIC & 0xFFFF, session=1)
    host.link.feed(host.frame(RequestType.FETCH) + hello)
    assert host.response()["type"] == RequestType.HELLO | RESPONSE_BIT


def test_answers_tell_the_state_when_they_are_composed(host: Host) -> None:
    host.link.feed(host.frame(RequestType.FETCH, 0, 256))
    host.engine.output = random_beats(1)
    assert host.response()["body"] == pack_output(CONFIG, random_beats(1))


# The golden machine behind the link


def machine() -> GoldenEngine:
    code = Assembler()
    code.emit("PULL", target=1)
    code.emit("LOAD", memory=Memory.ACTIVATION, base=0, count=3)
    code.emit("STORE", memory=Memory.ACTIVATION, base=0, count=3)
    code.emit("EMIT", source=1)
    code.emit("HALT")
    engine = GoldenEngine(CONFIG)
    for offset, word in enumerate(code.words()):
        engine.write(PROGRAM_WINDOW + offset, word)
    return engine


def test_golden_engine_runs_a_program() -> None:
    engine, beats = machine(), random_beats(3)
    assert engine.read(0) == MAGIC
    assert engine.read(1) == int(CONFIG.digest(), 16)
    engine.write(2, 0)
    assert engine.settle(5)
    assert engine.busy
    assert engine.read(3) == 1
    assert engine.wanted() == 1
    wait = COUNTER_BASE + [counter.name for counter in COUNTERS].index("cycles_wait")
    assert engine.read(wait) < engine.read(wait)
    engine.give(pack(CONFIG, [Segment.scalars([42])]))
    engine.settle(5)
    for beat in beats:
        assert engine.wanted() > 0
        engine.give(beat[None])
    engine.settle(5)
    assert np.array_equal(np.concatenate([engine.offered(2), engine.offered(9)]), beats)
    engine.settle(5)
    assert unpack(CONFIG, None, engine.offered(9)).tolist() == [[42]]
    assert engine.settle(5)
    assert not engine.busy
    assert not engine.fault
    assert len(engine.offered(9)) == 0
    engine.close()


def test_golden_engine_resets_and_faults() -> None:
    engine = machine()
    engine.start(0)
    engine.settle(5)
    engine.start(0)
    engine.reset()
    assert not engine.busy
    assert engine.wanted() == 0
    engine.write(PROGRAM_WINDOW, 0xFF)
    engine.start(0)
    assert engine.settle(5)
    assert engine.fault
    assert "opcode 255 is unknown" in str(engine.error)
    engine.reset()
    assert not engine.fault
    engine.close()


def test_a_board_that_was_switched_off_has_lost_everything() -> None:
    board = BoardModel(CONFIG)
    board.link.feed(encode_frame(REQUEST.pack(type=RequestType.HELLO, session=5, number=MAGIC & 0xFFFF)))
    board.engine.memories.space.weight[0] = 1
    board.restart()
    assert board.link.session == 0
    assert not board.engine.memories.space.weight.any()
    board.close()
