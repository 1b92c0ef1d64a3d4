"""Boards that answer, but wrongly: a board in software behind a line that spoils its answers, in
time that passes only as somebody waits.

:data:`MISBEHAVIOURS` says in which ways. Each is an answer changed before it leaves the board with
a right checksum, so that nothing but its content gives it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dither.arch.regmap import COUNTERS
from dither.link.exchange import Response
from dither.link.frames import FrameDecoder, encode_frame
from dither.link.protocol import RESPONSE, RESPONSE_BIT, Flag, Identity, Reason, RequestType
from tests.doubles.board import BoardModel

__all__ = ["BEGINNINGS", "GREETINGS", "MISBEHAVIOURS", "BrokenLine", "Place", "Spoil", "VirtualTime"]

_BYTE_SECONDS = 1e-5
_WAIT = [counter.name for counter in COUNTERS].index("cycles_wait")


class VirtualTime:
    """Seconds that pass only when :attr:`seconds` is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Place:
    """Where in the conversation an answer is."""

    number: int
    """Of the answer, counted from the first one that is spoilt."""
    seconds: float
    """Since then."""
    first: Response
    """The first answer that was spoilt."""


Spoil = Callable[[Response, Place], Response | bytes | None]
"""What leaves the board in place of an answer: another one, bytes that are none, or nothing."""


def _set(**fields: int) -> Spoil:
    return lambda answer, place: replace(answer, **fields)  # type: ignore[arg-type]


def _add(field: str, step: int) -> Spoil:
    return lambda answer, place: replace(answer, **{field: (getattr(answer, field) + step) % (1 << 16)})  # type: ignore[arg-type]


def _scatter(field: str, size: int) -> Spoil:
    """Another number every time."""
    return lambda answer, place: replace(answer, **{field: (place.number * 40503 + 12345) % size})  # type: ignore[arg-type]


def _freeze(field: str) -> Spoil:
    return lambda answer, place: replace(answer, **{field: getattr(place.first, field)})  # type: ignore[arg-type]


def _body(kind: RequestType, change: Callable[[bytes, Place], bytes]) -> Spoil:
    def spoil(answer: Response, place: Place) -> Response:
        mine = answer.type == kind | RESPONSE_BIT
        return replace(answer, body=change(answer.body, place)) if mine else answer

    return spoil


def _silent(*kinds: RequestType) -> Spoil:
    return lambda answer, place: None if answer.type & ~RESPONSE_BIT in kinds else answer


def _busy(counters: Callable[[Place], Sequence[int]]) -> Spoil:
    """Busy for ever, with counters like these."""

    def spoil(answer: Response, place: Place) -> Response:
        body = answer.body
        if answer.type == RequestType.READ | RESPONSE_BIT and len(body) == 4 * len(COUNTERS):
            body = b"".join((value % (1 << 32)).to_bytes(4, "little") for value in counters(place))
        return replace(answer, flags=Flag.BUSY, body=body)

    return spoil


def _counters(work: int = 0, wait: int = 0) -> list[int]:
    values = [0] * len(COUNTERS)
    values[0], values[_WAIT] = work, wait
    return values


def _identity(**fields: int) -> Spoil:
    def change(body: bytes, place: Place) -> bytes:
        return replace(Identity.decode(body), **fields).encode()  # type: ignore[arg-type]

    return _body(RequestType.HELLO, change)


MISBEHAVIOURS: dict[str, Spoil] = {
    "next is 0": _set(next=0),
    "next is 65,535": _set(next=0xFFFF),
    "next is one too many": _add("next", 1),
    "next is two too many": _add("next", 2),
    "next is one too few": _add("next", -1),
    "next is far off": _add("next", 0x4000),
    "next is opposite": _add("next", 0x8000),
    "next is another number every time": _scatter("next", 1 << 16),
    "next stands still": _freeze("next"),
    "busy for ever": lambda answer, place: replace(answer, flags=answer.flags | Flag.BUSY),
    "flags are 255": _set(flags=255),
    "a fault for ever": lambda answer, place: replace(answer, flags=answer.flags | Flag.FAULT),
    "writing and busy for ever": _set(flags=Flag.BUSY | Flag.WRITING),
    "busy every other time": lambda answer, place: replace(answer, flags=Flag.BUSY if place.number % 2 else Flag.FAULT),
    "busy, counters stand still": _busy(lambda place: _counters(12345, 678)),
    "busy, counters are 0": _busy(lambda place: _counters()),
    "busy, counters are all ones": _busy(lambda place: [0xFFFFFFFF] * len(COUNTERS)),
    "busy, only waiting is counted": _busy(lambda place: _counters(7, int(place.seconds * 1e6))),
    "busy, counters run on": _busy(lambda place: _counters(int(place.seconds * 25e6))),
    "busy, counters crawl": _busy(lambda place: _counters(place.number)),
    "busy, counters run slowly": _busy(lambda place: _counters(int(place.seconds * 2000))),
    "busy, counters run backwards": _busy(lambda place: _counters(-int(place.seconds * 2000))),
    "busy, counters are noise": _busy(lambda place: _counters(place.number * 2654435761, place.number * 40503)),
    "produced is 0": _set(produced=0),
    "produced is one too many": _add("produced", 1),
    "produced is one too few": _add("produced", -1),
    "produced is far off": _add("produced", 0x8000),
    "produced is another number every time": _scatter("produced", 1 << 16),
    "produced stands still": _freeze("produced"),
    "FETCH brings nothing": _body(RequestType.FETCH, lambda body, place: b""),
    "FETCH brings one byte too few": _body(RequestType.FETCH, lambda body, place: body[:-1]),
    "FETCH brings one byte too many": _body(RequestType.FETCH, lambda body, place: body + b"\0"),
    "FETCH brings 256 bytes for ever": _body(RequestType.FETCH, lambda body, place: bytes(256)),
    "FETCH brings one byte for ever": _body(RequestType.FETCH, lambda body, place: b"\0"),
    "FETCH brings more than is asked for": _body(RequestType.FETCH, lambda body, place: bytes(300)),
    "FETCH brings all bytes twice": _body(RequestType.FETCH, lambda body, place: body + body),
    "READ brings nothing": _body(RequestType.READ, lambda body, place: b""),
    "READ brings one byte too few": _body(RequestType.READ, lambda body, place: body[:-1]),
    "READ brings too much": _body(RequestType.READ, lambda body, place: body + bytes(4)),
    "tags are one too many": lambda answer, place: replace(answer, tag=(answer.tag + 1) % 256),
    "tags are one too few": lambda answer, place: replace(answer, tag=(answer.tag - 1) % 256),
    "tags are opposite": lambda answer, place: replace(answer, tag=answer.tag ^ 0x80),
    "tags are another number every time": _scatter("tag", 256),
    "all answers are PING's": _set(type=RequestType.PING | RESPONSE_BIT),
    "all answers are START's": _set(type=RequestType.START | RESPONSE_BIT),
    "answers are requests": lambda answer, place: replace(answer, type=answer.type & ~RESPONSE_BIT),
    "types are 255": _set(type=255),
    "types are another number every time": _scatter("type", 256),
    "the session is 0": _set(session=0),
    "the session is another": _add("session", 1),
    "the session is another every time": _scatter("session", 1 << 16),
    **{f"refused: {reason.name}": _set(reason=reason) for reason in Reason if reason},
    "refused for a reason that nobody knows": _set(reason=77),
    "no room": _set(free=0),
    "room without end": _set(free=0xFFFF),
    "room for one byte less than there is": _add("free", -1),
    "silence": lambda answer, place: None,
    "silence to FETCH": _silent(RequestType.FETCH),
    "silence to PING and READ": _silent(RequestType.PING, RequestType.READ),
    "an answer in a hundred": lambda answer, place: None if place.number % 100 else answer,
    "noise": lambda answer, place: bytes((place.number * 7 + k * 31) % 255 + 1 for k in range(40)) + b"\0",
    "noise without an end": lambda answer, place: b"\x55" * 700,
    "zeros": lambda answer, place: bytes(300),
    "headers cut short": lambda answer, place: encode_frame(b"\x86\0\0"),
}
"""By name, what becomes of every answer once the board is broken."""

GREETINGS: dict[str, Spoil] = {
    "it is empty": _body(RequestType.HELLO, lambda body, place: b""),
    "it is cut short": _body(RequestType.HELLO, lambda body, place: body[:-1]),
    "it is noise": _body(RequestType.HELLO, lambda body, place: bytes(len(body))),
    "it tells of another version": _identity(version=99),
    "it tells of another engine": _identity(configuration=1),
    "it tells of an input buffer of nothing": _identity(input=0),
    "it tells of an input buffer of three bytes": _identity(input=3),
    "it tells of an output buffer of nothing": _identity(output=0),
}
"""By name, what becomes of the answer to HELLO."""

BEGINNINGS: dict[str, Callable[[Response], bool]] = {
    "from the first": lambda answer: True,
    "once it is open": lambda answer: answer.type != RequestType.HELLO | RESPONSE_BIT,
    "once a program runs": lambda answer: answer.type == RequestType.FETCH | RESPONSE_BIT,
    "once output has come": lambda answer: answer.produced > 0,
}
"""By name, with which answer a board breaks."""


class BrokenLine:
    """A line to a board in the same process, whose answers are spoilt from some moment on.

    :param board: the board; whoever made it closes it.
    :param spoil: one of :data:`MISBEHAVIOURS`.
    :param begins: one of :data:`BEGINNINGS`.
    :param time: moved by what passes the line, and by waiting for it.
    """

    name = "broken"
    bauds: Sequence[int] = ()
    baud: int | None = None

    def __init__(self, board: BoardModel, spoil: Spoil, begins: Callable[[Response], bool], time: VirtualTime) -> None:
        self.board = board
        self.spoilt = 0
        """Answers so far that were not what they should have been."""
        self._count = 0
        self._spoil = spoil
        self._begins = begins
        self._time = time
        self._begun = 0.0
        self._first: Response | None = None
        self._arrived = b""

    def set_baud(self, baud: int) -> None:
        """See :meth:`~dither.link.transport.Transport.set_baud`; does nothing."""

    def write(self, data: bytes) -> None:
        """See :meth:`~dither.link.transport.Transport.write`."""
        answers = self.board.exchange(data)
        for payload in FrameDecoder(RESPONSE.size).feed(answers):
            self._arrived += self._sent(Response(**RESPONSE.unpack(payload), body=payload[RESPONSE.size :]))
        self._time.seconds += _BYTE_SECONDS * (len(data) + len(self._arrived))

    def _sent(self, answer: Response) -> bytes:
        if self._first is None and self._begins(answer):
            self._first, self._begun = answer, self._time.seconds
        spoilt: Response | bytes | None = answer
        if self._first is not None:
            spoilt = self._spoil(answer, Place(self._count, self._time.seconds - self._begun, self._first))
            self._count += 1
            self.spoilt += spoilt != answer
        if isinstance(spoilt, Response):
            fields = {field.name: int(getattr(spoilt, field.name)) for field in RESPONSE.fields}
            return encode_frame(RESPONSE.pack(**fields) + spoilt.body)
        return spoilt or b""

    def read(self, timeout: float) -> bytes:
        """See :meth:`~dither.link.transport.Transport.read`; where nothing has come, time
        passes.
        """
        if not self._arrived:
            self.board.settle()
            self._time.seconds += timeout
        arrived, self._arrived = self._arrived, b""
        return arrived

    def reset_input(self) -> None:
        """See :meth:`~dither.link.transport.Transport.reset_input`."""
        self._arrived = b""

    def close(self) -> None:
        """See :meth:`~dither.link.transport.Transport.close`; the board lives on."""
