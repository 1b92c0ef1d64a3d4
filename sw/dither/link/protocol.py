"""The link's protocol as data: requests, responses, identity.

Gateware, driver, model and docs/protocol.md derive from it.

Numbers are little-endian. A frame on the line is ``COBS(payload + CRC-32) 00``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ..arch.config import EngineConfig
from ..arch.regmap import MAGIC

__all__ = [
    "BOARD_NAME_BYTES",
    "BUILD_ID_BYTES",
    "CRC_BYTES",
    "CRC_SLACK",
    "IDENTITY",
    "MAX_READ_WORDS",
    "MAX_REQUEST_BODY",
    "MAX_RESPONSE_BODY",
    "POSITION_BITS",
    "REQUEST",
    "RESPONSE",
    "RESPONSE_BIT",
    "SMALLEST_BUFFER",
    "VERSION",
    "Field",
    "Flag",
    "Header",
    "Identity",
    "Reason",
    "RequestType",
    "config_fields",
]

VERSION = 3
"""Of this protocol; a driver refuses another one."""
CRC_BYTES = 4
"""CRC-32 as in Ethernet and zip (ISO-HDLC: polynomial 04C11DB7, reflected, both inversions) of the
payload, before COBS."""
MAX_REQUEST_BODY = 1024
"""Bytes behind a request's header, at most."""
MAX_RESPONSE_BODY = 256
"""Bytes behind a response's header, at most."""
MAX_READ_WORDS = MAX_RESPONSE_BODY // 4
"""Registers that one READ may ask for."""
CRC_SLACK = CRC_BYTES
"""Bytes of the input buffer that are never free: a frame's CRC arrives there before it is known to
be one.
"""
POSITION_BITS = 16
"""Sequence numbers and positions in the output stream are modulo 2**16."""
SMALLEST_BUFFER = 32
"""Bytes that no board's buffer has less than; what says so is broken."""
BUILD_ID_BYTES = 8
BOARD_NAME_BYTES = 16


class RequestType(IntEnum):
    """First byte of a request; a response has the highest bit set besides."""

    HELLO = 0x01
    """Opens a session. ``number``: the low half of MAGIC. If ``session`` is not the board's own
    already: the board takes it, empties its buffers, starts sequence numbers and output positions
    from 0, and resets the engine (its memories keep what they hold). Response: identity."""
    READ = 0x02
    """Reads ``argument`` registers (1 to MAX_READ_WORDS) from address ``number`` on. Response: 32
    bits each.
    """
    WRITE = 0x03
    """Sequenced. Writes the body's 32-bit words to registers from address ``argument`` on. Refused
    (BUSY) while the engine runs, the input buffer holds data, or an earlier WRITE is under way."""
    DATA = 0x04
    """Sequenced. Appends the body to the input buffer. Refused (ROOM) if it does not fit."""
    START = 0x05
    """Sequenced. Starts the program at word ``argument``. Refused (BUSY) while the engine runs or a
    WRITE is under way."""
    FETCH = 0x06
    """Asks for at most ``argument`` bytes (0 to MAX_RESPONSE_BODY) of the output stream from
    position ``number`` on; all before ``number`` is thereby acknowledged, and its room reused.
    Refused (POSITION) if ``number`` lies before what was acknowledged or behind what was produced.
    Response: as many of the bytes as there are."""
    PING = 0x07
    """No effect; the body, of any length, is thrown away. Response: ``argument`` bytes (0 to
    MAX_RESPONSE_BODY) of any value."""

    @property
    def sequenced(self) -> bool:
        """Whether it takes effect just once, and in order: only if ``number`` is the sequence
        number that the board expects."""
        return self in (RequestType.WRITE, RequestType.DATA, RequestType.START)


RESPONSE_BIT = 0x80
"""Set in the first byte of responses."""


class Flag(IntFlag):
    """What every response says of the board."""

    BUSY = 1
    """The engine runs a program, or a beat that it sent is not in the output buffer yet."""
    FAULT = 2
    """The last program met an unknown opcode, or a stack overflow or underflow."""
    WRITING = 4
    """A WRITE's words are still on their way to the registers."""


class Reason(IntEnum):
    """Why a request had no effect; OK if it had."""

    OK = 0
    SESSION = 1
    """``session`` is not the board's: another driver opened one, or the board lost its own (it is 0
    then).
    """
    SEQUENCE = 2
    """``number`` is not the sequence number expected: a repetition, or a frame before it was
    lost.
    """
    ROOM = 3
    BUSY = 4
    POSITION = 5
    MALFORMED = 6
    """Unknown type, body of a wrong length, or an argument out of range."""

    @classmethod
    def _missing_(cls, value: object) -> Reason:
        """A code that no board of this version sends has a name of its own, such as UNKNOWN_99."""
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no code of a reason")
        unknown = int.__new__(cls, value)
        unknown._name_, unknown._value_ = f"UNKNOWN_{value}", value
        return unknown


@dataclass(frozen=True, slots=True)
class Field:
    """One number of a header: so many bytes."""

    name: str
    bytes: int
    doc: str


class Header:
    """A fixed sequence of unsigned numbers.

    :param fields: in the order of transmission.
    """

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self._struct = struct.Struct("<" + "".join({1: "B", 2: "H", 4: "I", 8: "Q"}[field.bytes] for field in fields))
        self.size = self._struct.size

    def pack(self, **values: int) -> bytes:
        """The header's bytes; fields left out are 0.

        :raises struct.error: if a value does not fit its field.
        :raises ValueError: on unknown fields.
        """
        if unknown := set(values) - {field.name for field in self.fields}:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        return self._struct.pack(*(values.get(field.name, 0) for field in self.fields))

    def unpack(self, data: bytes) -> dict[str, int]:
        """The fields of the header that ``data`` begins with.

        :raises ValueError: if it is shorter.
        """
        if len(data) < self.size:
            raise ValueError(f"a header has {self.size} bytes, not {len(data)}")
        return {
            field.name: int(value)
            for field, value in zip(self.fields, self._struct.unpack(data[: self.size]), strict=True)
        }

    def offset(self, name: str) -> int:
        """Where a field begins, in bytes."""
        position = 0
        for field in self.fields:
            if field.name == name:
                return position
            position += field.bytes
        raise ValueError(f"unknown field {name!r}")


REQUEST = Header(
    Field("type", 1, "what is asked for"),
    Field("tag", 1, "comes back in the response"),
    Field("session", 2, "chosen by the driver at random, not 0"),
    Field("number", 2, "sequence number, address or position, by type"),
    Field("argument", 2, "address or count, by type"),
)
RESPONSE = Header(
    Field("type", 1, "of the request, with bit 7 set"),
    Field("tag", 1, "of the request"),
    Field("session", 2, "of the board; 0 if nobody has opened one"),
    Field("flags", 1, "see below"),
    Field("reason", 1, "why the request had no effect, or 0"),
    Field("next", 2, "the sequence number expected: all before it have taken effect"),
    Field("free", 2, "bytes that the body of a DATA may have"),
    Field("produced", 2, "position behind the last byte of the output stream"),
)
IDENTITY = Header(
    Field("magic", 4, f"{MAGIC:#x}, as the register of this name"),
    Field("version", 2, "of this protocol"),
    Field("fields", 2, "how many numbers of the engine's configuration follow the board's name"),
    Field("configuration", 4, "digest of the engine's configuration"),
    Field("clock", 4, "of the engine, in Hz"),
    Field("baud", 4, "of the line"),
    Field("input", 2, "bytes of the input buffer, as ``free`` says when it is empty"),
    Field("output", 2, "bytes of the output buffer"),
    Field("build", BUILD_ID_BYTES, "digest of what the bitstream was made of"),
)
"""Followed by BOARD_NAME_BYTES of ASCII, padded with zeros, and a 16-bit number for each of
:func:`config_fields`.
"""


def config_fields() -> tuple[str, ...]:
    """Parameters of an engine's configuration in the order of transmission."""
    return tuple(EngineConfig.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a board is: the body of HELLO's response."""

    version: int = VERSION
    configuration: int
    """Digest, as the register of this name."""
    clock: int
    baud: int
    input: int
    output: int
    build: int
    board: str
    config: dict[str, int]
    """By :func:`config_fields`, as far as both sides know them."""

    @classmethod
    def of(
        cls, config: EngineConfig, *, clock: int, baud: int, input: int, output: int, build: int, board: str
    ) -> Identity:
        """The identity of a board with this engine.

        :raises ValueError: if the name does not fit.
        """
        if not board.isascii() or len(board) > BOARD_NAME_BYTES:
            raise ValueError(f"a board's name has up to {BOARD_NAME_BYTES} ASCII characters, not {board!r}")
        return cls(
            configuration=int(config.digest(), 16),
            clock=clock,
            baud=baud,
            input=input,
            output=output,
            build=build,
            board=board,
            config=config.to_dict(),
        )

    def encode(self) -> bytes:
        """The body."""
        numbers = [self.config[name] for name in config_fields()]
        header = IDENTITY.pack(
            magic=MAGIC,
            version=self.version,
            fields=len(numbers),
            configuration=self.configuration,
            clock=self.clock,
            baud=self.baud,
            input=self.input,
            output=self.output,
            build=self.build,
        )
        return header + self.board.encode().ljust(BOARD_NAME_BYTES, b"\0") + struct.pack(f"<{len(numbers)}H", *numbers)

    @classmethod
    def decode(cls, body: bytes) -> Identity:
        """The inverse of :meth:`encode`; configurations of other versions keep the parameters known
        here.

        :raises ValueError: if it is no identity, or one that no board can have.
        """
        header = IDENTITY.unpack(body)
        if header.pop("magic") != MAGIC:
            raise ValueError("no dither board: wrong magic number")
        start = IDENTITY.size + BOARD_NAME_BYTES
        count = header.pop("fields")
        if len(body) != start + 2 * count:
            raise ValueError(f"an identity with {count} parameters has {start + 2 * count} bytes, not {len(body)}")
        name = body[IDENTITY.size : start].rstrip(b"\0").decode("ascii", "backslashreplace")
        name = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in name)
        for field in ("clock", "baud"):
            if not header[field]:
                raise ValueError(f"no usable board: it says that its {field} is 0")
        for field in ("input", "output"):
            if header[field] < SMALLEST_BUFFER:
                raise ValueError(
                    f"no usable board: its {field} buffer has {header[field]} bytes, less than {SMALLEST_BUFFER}"
                )
        numbers = struct.unpack(f"<{count}H", body[start:])
        return cls(board=name, config=dict(zip(config_fields(), numbers, strict=False)), **header)
