"""Frames on the line: COBS with a CRC, and a decoder that takes bytes as they come.

Source of COBS: S. Cheshire, M. Baker, *Consistent overhead byte stuffing*, IEEE/ACM Transactions on
Networking 7 (1999).
"""

from __future__ import annotations

import zlib

from .protocol import CRC_BYTES, MAX_REQUEST_BODY, REQUEST

__all__ = ["MAX_FRAME", "FrameDecoder", "cobs_decode", "cobs_encode", "decode_frame", "encode_frame"]

_BLOCK = 254
"""Most bytes of a COBS block, behind its code."""


def _encoded_size(size: int) -> int:
    return size + size // _BLOCK + 1


MAX_FRAME = _encoded_size(REQUEST.size + MAX_REQUEST_BODY + CRC_BYTES)
"""Most bytes between two zeros on the line: those of the longest request.

Responses are shorter.
"""


def cobs_encode(data: bytes) -> bytes:
    """Returns the same content without zeros, longer by one byte in 254 at most, and one more."""
    out = bytearray()
    runs = data.split(b"\0")
    for number, run in enumerate(runs, 1):
        whole = len(run) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            out.append(_BLOCK + 1)
            out += run[start : start + _BLOCK]
        # A full block at the end says by itself that no zero follows.
        if whole < len(run) or not whole or number < len(runs):
            out.append(len(run) - whole + 1)
            out += run[whole:]
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """Returns the content that :func:`cobs_encode` encoded.

    :raises ValueError: if ``data`` is empty, holds a zero, or its last block is cut short.
    """
    if not data:
        raise ValueError("an empty block")
    if 0 in data:
        raise ValueError("a zero within a block")
    out, position = bytearray(), 0
    while position < len(data):
        code = data[position]
        block = data[position + 1 : position + code]
        if len(block) != code - 1:
            raise ValueError(f"a block of {code - 1} bytes with {len(block)}")
        out += block
        position += code
        if code != _BLOCK + 1 and position < len(data):
            out.append(0)
    return bytes(out)


def encode_frame(payload: bytes) -> bytes:
    """Returns a payload as a frame: COBS of payload and CRC, and a zero at the end."""
    return cobs_encode(payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little")) + b"\0"


def decode_frame(block: bytes) -> bytes:
    """Returns the payload of a frame, whose zero at the end has been taken off.

    :raises ValueError: if COBS or CRC are wrong.
    """
    content = cobs_decode(block)
    payload, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if len(content) < CRC_BYTES or zlib.crc32(payload) != int.from_bytes(crc, "little"):
        raise ValueError("a wrong CRC")
    return payload


class FrameDecoder:
    """Finds frames in received bytes and drops everything else.

    :param shortest: least number of bytes of a payload.
    :param longest: most bytes between two zeros; what is longer is thrown away while it comes.
    """

    def __init__(self, shortest: int, longest: int = MAX_FRAME) -> None:
        self.shortest = shortest
        self.longest = longest
        self.dropped = 0
        """Number of frames thrown away so far, empty ones not counted."""
        self._held = bytearray()
        self._overlong = False

    def reset(self) -> None:
        """Forgets a frame that has begun."""
        self._held.clear()
        self._overlong = False

    def spoil(self) -> None:
        """Marks the frame that has begun as bad, so that it is dropped when it ends.

        To be called when the line reports an error, such as a byte without a stop bit.
        """
        self._overlong = True

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes and returns the payloads of all frames that end in them."""
        *ended, rest = data.split(b"\0")
        payloads = []
        for block in ended:
            self._add(block)
            if (payload := self._end()) is not None:
                payloads.append(payload)
        self._add(rest)
        return payloads

    def _add(self, block: bytes) -> None:
        self._held += block
        if len(self._held) > self.longest:
            self._overlong = True
            self._held.clear()

    def _end(self) -> bytes | None:
        block, overlong = bytes(self._held), self._overlong
        self.reset()
        if not block and not overlong:
            return None
        try:
            payload = decode_frame(block)
        except ValueError:
            overlong = True
        if overlong or len(payload) < self.shortest:
            self.dropped += 1
            return None
        return payload
