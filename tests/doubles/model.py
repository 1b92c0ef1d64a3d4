"""A board's end of the link in software, request by request and byte by byte as docs/protocol.md
has it.

:class:`LinkModel` is the twin of the gateware (``dither_hw.link``): a deterministic machine without
threads or clocks.
What stands behind it, golden machine or script, is an :class:`EngineSide`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.isa import WORD_BITS
from dither.arch.regmap import MAGIC
from dither.link.frames import FrameDecoder, encode_frame
from dither.link.packing import beats_before, longest_beat, pack_output, unpack_input
from dither.link.protocol import (
    MAX_READ_WORDS,
    MAX_REQUEST_BODY,
    MAX_RESPONSE_BODY,
    POSITION_BITS,
    REQUEST,
    RESPONSE,
    RESPONSE_BIT,
    Flag,
    Identity,
    Reason,
    RequestType,
)

__all__ = ["Effect", "EngineSide", "LinkModel"]

_MODULUS = 1 << POSITION_BITS
_QUERIES = (RequestType.HELLO, RequestType.READ, RequestType.FETCH, RequestType.PING)


class EngineSide(Protocol):
    """What the link is wired to: host port and streams of an engine."""

    @property
    def busy(self) -> bool:
        """Whether a program runs."""

    @property
    def fault(self) -> bool:
        """Whether the last one met an unknown opcode, or a stack overflow or underflow."""

    def reset(self) -> None:
        """Ends the program; memories keep what they hold."""

    def read(self, address: int) -> int:
        """A register's 32 bits."""

    def write(self, address: int, word: int) -> None:
        """Writes 32 bits to a register or the program memory."""

    def start(self, entry: int) -> None:
        """Starts the program at a word address."""

    def wanted(self) -> int:
        """Beats that the program would take now."""

    def give(self, beats: NDArray[np.uint32]) -> None:
        """Hands over so many or fewer, shape (beats, words)."""

    def offered(self, limit: int) -> NDArray[np.uint32]:
        """Takes at most ``limit`` beats that the program sends now, shape (beats, words)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of one request."""

    type: int
    tag: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Request:
    type: int
    tag: int
    session: int
    number: int
    argument: int
    body: bytes


class LinkModel:
    """The link's state machine.

    :param config: of the engine behind it.
    :param identity: what HELLO answers; its buffer sizes are the model's.
    :param engine: what it is wired to.
    """

    def __init__(self, config: EngineConfig, identity: Identity, engine: EngineSide) -> None:
        self.config = config
        self.identity = identity
        self.engine = engine
        self.session = 0
        self._decoder = FrameDecoder(REQUEST.size)
        self._pending: tuple[_Request, Reason] | None = None
        self._longest = longest_beat(config)
        self._clear()

    def _clear(self) -> None:
        self.next = 0
        """The sequence number expected."""
        self._input = bytearray()
        self._last: NDArray[np.uint32] | None = None
        self._output = bytearray()
        self._unsent = b""
        self._acknowledged = 0
        self._produced = 0

    def feed(self, data: bytes) -> list[Effect]:
        """Takes bytes from the line; what became of the requests that end in them."""
        return [self._execute(payload) for payload in self._decoder.feed(data)]

    def answer(self) -> bytes | None:
        """The frame of the one response that is due, composed from the state as it is now; None if
        none is due.
        """
        if self._pending is None:
            return None
        self.pump()
        (request, reason), self._pending = self._pending, None
        return encode_frame(self._header(request, reason) + (b"" if reason else self._body(request)))

    def pump(self) -> bool:
        """Moves beats between buffers and engine as far as they go; whether any did."""
        moved = False
        while self._pump_input() | self._pump_output():
            moved = True
        return moved

    @property
    def free(self) -> int:
        """Bytes of the input buffer that hold no words that the engine has yet to take; gateware
        has some more while it holds a word."""
        return self.identity.input - len(self._input)

    @property
    def flags(self) -> Flag:
        """As a response has them now."""
        busy = Flag.BUSY if self.engine.busy or self._unsent else Flag(0)
        return busy | (Flag.FAULT if self.engine.fault else Flag(0))

    def _pump_input(self) -> bool:
        wanted = self.engine.wanted() if self._input else 0
        if not wanted:
            return False
        beats, used = unpack_input(self.config, bytes(self._input), self._last, wanted)
        if not used:
            return False
        del self._input[:used]
        self._last = beats_before(self.config, self._last, beats)
        self.engine.give(beats)
        return True

    def _pump_output(self) -> bool:
        room = self.identity.output - len(self._output)
        if not self._unsent:
            self._unsent = pack_output(self.config, self.engine.offered(max(1, room // self._longest)))
        part, self._unsent = self._unsent[:room], self._unsent[room:]
        self._output += part
        self._produced = (self._produced + len(part)) % _MODULUS
        return bool(part)

    def _execute(self, payload: bytes) -> Effect:
        values = REQUEST.unpack(payload)
        request = _Request(**values, body=payload[REQUEST.size :])
        self.pump()
        before = self.session
        reason = self._effect(request)
        if self.session != before:
            self._pending = None
        self.pump()
        if self._pending is None or self._pending[0].type not in _QUERIES:
            self._pending = (request, reason)
        return Effect(request.type, request.tag, reason)

    def _effect(self, request: _Request) -> Reason:
        if not _well_formed(request):
            return Reason.MALFORMED
        kind = RequestType(request.type)
        if kind is RequestType.HELLO:
            if request.session != self.session:
                self.session = request.session
                self.engine.reset()
                self._clear()
            return Reason.OK
        if request.session != self.session:
            return Reason.SESSION
        if kind.sequenced:
            return self._sequenced(kind, request)
        return self._acknowledge(request.number) if kind is RequestType.FETCH else Reason.OK

    def _sequenced(self, kind: RequestType, request: _Request) -> Reason:
        if request.number != self.next:
            return Reason.SEQUENCE
        match kind:
            case RequestType.WRITE:
                if self.flags & Flag.BUSY or self._input:
                    return Reason.BUSY
                if len(request.body) > self.identity.input:
                    return Reason.ROOM
                for offset, (word,) in enumerate(struct.iter_unpack("<I", request.body)):
                    self.engine.write((request.argument + offset) % _MODULUS, word)
            case RequestType.DATA:
                if len(request.body) > self.free:
                    return Reason.ROOM
                self._input += request.body
            case _:
                if self.flags & Flag.BUSY:
                    return Reason.BUSY
                self.engine.start(request.argument)
        self.next = (self.next + 1) % _MODULUS
        return Reason.OK

    def _acknowledge(self, position: int) -> Reason:
        acknowledged = (position - self._acknowledged) % _MODULUS
        if acknowledged > len(self._output):
            return Reason.POSITION
        del self._output[:acknowledged]
        self._acknowledged = position
        return Reason.OK

    def _header(self, request: _Request, reason: Reason) -> bytes:
        return RESPONSE.pack(
            type=request.type | RESPONSE_BIT,
            tag=request.tag,
            session=self.session,
            flags=self.flags,
            reason=reason,
            next=self.next,
            free=self.free,
            produced=self._produced,
        )

    def _body(self, request: _Request) -> bytes:
        match request.type:
            case RequestType.HELLO:
                return self.identity.encode()
            case RequestType.READ:
                addresses = range(request.number, request.number + request.argument)
                return struct.pack(f"<{request.argument}I", *(self.engine.read(a % _MODULUS) for a in addresses))
            case RequestType.FETCH:
                start = (request.number - self._acknowledged) % _MODULUS
                return bytes(self._output[start : start + request.argument])
            case RequestType.PING:
                return bytes(request.argument)
            case _:
                return b""


def _well_formed(request: _Request) -> bool:
    size = len(request.body)
    match request.type:
        case RequestType.HELLO:
            return size == 0 and request.number == MAGIC % _MODULUS and request.session != 0
        case RequestType.READ:
            return size == 0 and 1 <= request.argument <= MAX_READ_WORDS
        case RequestType.WRITE:
            return 0 < size <= MAX_REQUEST_BODY and size % (WORD_BITS // 8) == 0
        case RequestType.DATA:
            return 0 < size <= MAX_REQUEST_BODY
        case RequestType.START:
            return size == 0
        case RequestType.FETCH:
            return size == 0 and request.argument <= MAX_RESPONSE_BODY
        case RequestType.PING:
            return size <= MAX_REQUEST_BODY and request.argument <= MAX_RESPONSE_BODY
        case _:
            return False
