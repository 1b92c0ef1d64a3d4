"""The link's protocol as data: requests, responses, identity.

Gateware, driver and docs/protocol.md derive from it. Numbers are little-endian. A frame on the line
is ``COBS(payload + CRC-32) 00``.
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
"""Version of this protocol; a driver refuses boards of another one."""
CRC_BYTES = 4
"""Number of bytes of the CRC of the payload, before COBS.

It is the CRC-32 of Ethernet and zip (ISO-HDLC: polynomial 04C11DB7, reflected, both inversions).
"""
MAX_REQUEST_BODY = 1024
"""Most bytes behind a request's header."""
MAX_RESPONSE_BODY = 256
"""Most bytes behind a response's header."""
MAX_READ_WORDS = MAX_RESPONSE_BODY // 4
"""Most registers that one READ may ask for."""
CRC_SLACK = CRC_BYTES
"""Number of bytes of the input buffer that never count as free.

A frame's CRC goes there before it is known to be one.
"""
POSITION_BITS = 16
"""Bits of sequence numbers and of positions in the output stream, which are modulo 2**16."""
BUILD_ID_BYTES = 8
"""Number of bytes of a bitstream's build id."""
BOARD_NAME_BYTES = 16
"""Number of bytes of a board's name."""


class RequestType(IntEnum):
    """Type of a request: its first byte. A response has the same with the highest bit set.

    HELLO, READ, FETCH and PING are *queries*: they may be repeated at will. WRITE, DATA and START
    are *sequenced*: they take effect just once, and in order.
    """

    HELLO = 0x01
    """Opens a session; the response's body is the board's identity.

    ``number`` is the low half of MAGIC. Unless ``session`` is the board's own already, the board
    takes it, empties its buffers, starts sequence numbers and output positions from 0, and resets
    the engine (whose memories keep what they hold).
    """
    READ = 0x02
    """Reads ``argument`` registers (1 to MAX_READ_WORDS) from address ``number`` on.

    The response has 32 bits for each.
    """
    WRITE = 0x03
    """Writes the body's 32-bit words to registers from address ``argument`` on; sequenced.

    Refused (BUSY) while the engine runs, the input buffer holds data, or an earlier WRITE is under
    way.
    """
    DATA = 0x04
    """Appends the body to the input buffer; sequenced.

    Refused (ROOM) if it does not fit.
    """
    START = 0x05
    """Starts the program at word ``argument``; sequenced.

    Refused (BUSY) while the engine runs or a WRITE is under way.
    """
    FETCH = 0x06
    """Asks for at most ``argument`` bytes of the output stream from position ``number`` on.

    ``argument`` is from 0 to MAX_RESPONSE_BODY. All before ``number`` is thereby acknowledged, and
    its room reused. Refused (POSITION) if ``number`` lies before what was acknowledged or behind
    what was produced. The response has as many of the bytes as there are.
    """
    PING = 0x07
    """Has no effect; the response has ``argument`` bytes (0 to MAX_RESPONSE_BODY) of any value.

    The request's body, of any length, is thrown away.
    """

    @property
    def sequenced(self) -> bool:
        """Whether a request of this type takes effect just once, and in order.

        It does so only if ``number`` is the sequence number that the board expects.
        """
        return self in (RequestType.WRITE, RequestType.DATA, RequestType.START)


RESPONSE_BIT = 0x80
"""Bit that is set in the first byte of responses."""


class Flag(IntFlag):
    """Flags in every response: the state of the board."""

    BUSY = 1
    """The engine runs a program, or a beat that it sent is not in the output buffer yet."""
    FAULT = 2
    """The last program met an unknown opcode, or a stack overflow or underflow."""
    WRITING = 4
    """The words of a WRITE are still on their way to the registers."""


class Reason(IntEnum):
    """Reason why a request had no effect; OK if it had."""

    OK = 0
    """The request has taken effect."""
    SESSION = 1
    """The request's ``session`` is not the board's.

    Another driver opened one, or the board lost its own (it is 0 then).
    """
    SEQUENCE = 2
    """The request's ``number`` is not the sequence number expected.

    It is a repetition, or a frame before it was lost.
    """
    ROOM = 3
    """The body does not fit into the input buffer."""
    BUSY = 4
    """The engine runs, or a WRITE or input data are under way."""
    POSITION = 5
    """The position asked for lies outside what the output buffer holds."""
    MALFORMED = 6
    """The type is unknown, the body has a wrong length, or an argument is out of range."""


@dataclass(frozen=True, slots=True)
class Field:
    """One unsigned number of a header."""

    name: str
    """Name of the number, by which headers are packed."""
    bytes: int
    """Length in bytes: 1, 2, 4 or 8."""
    doc: str
    """Meaning of the number, for people."""


class Header:
    """A fixed sequence of unsigned numbers, little-endian.

    :param fields: in the order of transmission.
    """

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self._struct = struct.Struct("<" + "".join({1: "B", 2: "H", 4: "I", 8: "Q"}[field.bytes] for field in fields))
        self.size = self._struct.size

    def pack(self, **values: int) -> bytes:
        """Returns the header's bytes; fields left out are 0.

        :raises struct.error: if a value does not fit its field.
        :raises ValueError: on unknown fields.
        """
        if unknown := set(values) - {field.name for field in self.fields}:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        return self._struct.pack(*(values.get(field.name, 0) for field in self.fields))

    def unpack(self, data: bytes) -> dict[str, int]:
        """Returns the fields of the header that ``data`` begins with.

        :raises ValueError: if ``data`` is shorter than the header.
        """
        if len(data) < self.size:
            raise ValueError(f"a header has {self.size} bytes, not {len(data)}")
        return {
            field.name: int(value)
            for field, value in zip(self.fields, self._struct.unpack(data[: self.size]), strict=True)
        }

    def offset(self, name: str) -> int:
        """Returns the position of a field in the header, in bytes.

        :raises ValueError: if there is no such field.
        """
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
"""Header of a request; a body may follow."""
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
"""Header of a response; a body may follow."""
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
"""Header of the body of HELLO's response.

It is followed by BOARD_NAME_BYTES of ASCII, padded with zeros, and a 16-bit number for each of
:func:`config_fields`.
"""


def config_fields() -> tuple[str, ...]:
    """Returns the names of an engine's parameters in the order of transmission."""
    return tuple(EngineConfig.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a board says of itself: the body of HELLO's response."""

    version: int = VERSION
    """Version of the protocol that the board speaks."""
    configuration: int
    """Digest of the engine's configuration, as the register of this name."""
    clock: int
    """Frequency of the engine's clock in Hz."""
    baud: int
    """Baud rate of the line in bits a second."""
    input: int
    """Number of bytes of the input buffer that are free when it is empty."""
    output: int
    """Number of bytes of the output buffer."""
    build: int
    """Build id: digest of what the bitstream was made of."""
    board: str
    """Name of the board."""
    config: dict[str, int]
    """Parameters of the engine by name, as far as board and driver both know them."""

    @classmethod
    def of(
        cls, config: EngineConfig, *, clock: int, baud: int, input: int, output: int, build: int, board: str
    ) -> Identity:
        """Makes the identity of a board with a given engine.

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
        """Returns the identity as the body of HELLO's response."""
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
        """Reads the body of HELLO's response.

        Of configurations of other versions it keeps the parameters known here.

        :raises ValueError: if the body is no identity.
        """
        header = IDENTITY.unpack(body)
        if header.pop("magic") != MAGIC:
            raise ValueError("no dither board: wrong magic number")
        start = IDENTITY.size + BOARD_NAME_BYTES
        count = header.pop("fields")
        if len(body) != start + 2 * count:
            raise ValueError(f"an identity with {count} parameters has {start + 2 * count} bytes, not {len(body)}")
        name = body[IDENTITY.size : start].rstrip(b"\0").decode("ascii", "replace")
        numbers = struct.unpack(f"<{count}H", body[start:])
        return cls(board=name, config=dict(zip(config_fields(), numbers, strict=False)), **header)
