"""Frames: COBS there and back, and a decoder that lets nothing wrong through."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.link.frames import MAX_FRAME, FrameDecoder, cobs_decode, cobs_encode, decode_frame, encode_frame
from dither.link.protocol import MAX_REQUEST_BODY, REQUEST

CONTENT = st.one_of(
    st.binary(max_size=800),
    st.lists(st.sampled_from([b"\0", b"\1", b"\xff" * 253, b"\xff" * 254, b"a" * 255]), max_size=8).map(b"".join),
)


@pytest.mark.parametrize(
    ("plain", "coded"),
    [
        # The examples of the usual descriptions of COBS.
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("110000", "02110101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
        ("0001", "010201"),
    ],
)
def test_known_blocks(plain: str, coded: str) -> None:
    assert cobs_encode(bytes.fromhex(plain)).hex() == coded
    assert cobs_decode(bytes.fromhex(coded)).hex() == plain


@pytest.mark.parametrize("size", [253, 254, 255, 507, 508, 509])
def test_long_runs(size: int) -> None:
    run = bytes(1 + number % 255 for number in range(size))
    coded = cobs_encode(run)
    assert len(coded) == size + -(-size // 254)
    assert cobs_decode(coded) == run
    assert cobs_decode(cobs_encode(run + b"\0")) == run + b"\0"
    # Other encoders end a full block with an empty one.
    assert cobs_decode(b"\xff" + bytes([9]) * 254 + b"\1") == bytes([9]) * 254


@given(CONTENT)
def test_there_and_back(content: bytes) -> None:
    coded = cobs_encode(content)
    assert 0 not in coded
    assert len(coded) <= len(content) + len(content) // 254 + 1
    assert cobs_decode(coded) == content
    assert decode_frame(encode_frame(content)[:-1]) == content


@pytest.mark.parametrize("block", [b"", b"\0", b"\3a", b"\2a\0", b"\xff" + bytes(254)])
def test_broken_blocks(block: bytes) -> None:
    with pytest.raises(ValueError, match="block"):
        cobs_decode(block)


def test_crc_is_the_usual_one() -> None:
    frame = encode_frame(b"123456789")
    assert cobs_decode(frame[:-1]) == b"123456789" + bytes.fromhex("2639f4cb")
    assert zlib.crc32(b"123456789") == 0xCBF43926


@given(st.lists(CONTENT.map(lambda content: b"header--" + content), max_size=4), st.lists(st.integers(1, 90)))
def test_frames_come_in_pieces(payloads: list[bytes], sizes: list[int]) -> None:
    line = b"\0\0" + b"".join(encode_frame(payload) for payload in payloads) + encode_frame(b"cut off")[:-1]
    decoder, found = FrameDecoder(8, 3000), []
    for size in [*sizes, len(line)]:
        found += decoder.feed(line[:size])
        line = line[size:]
    assert found == payloads
    assert decoder.dropped == 0


@given(st.data())
def test_one_wrong_bit_drops_one_frame(data: st.DataObject) -> None:
    frame = bytearray(encode_frame(data.draw(st.binary(min_size=8, max_size=300))))
    place = data.draw(st.integers(0, len(frame) - 2))
    frame[place] ^= 1 << data.draw(st.integers(0, 7))
    decoder, after = FrameDecoder(8), b"the frame behind it"
    assert decoder.feed(bytes(frame) + encode_frame(after)) == [after]
    assert decoder.dropped >= 1


def test_too_short_too_long_and_spoilt() -> None:
    decoder = FrameDecoder(8)
    longest = bytes(1 + number % 255 for number in range(REQUEST.size + MAX_REQUEST_BODY))
    assert decoder.feed(encode_frame(longest)) == [longest]
    assert len(encode_frame(longest)) - 1 <= MAX_FRAME
    assert decoder.feed(encode_frame(b"seven b")) == []
    assert decoder.feed(b"\7" * 5 * MAX_FRAME) == []
    assert decoder.feed(b"\7" * MAX_FRAME + b"\0") == []
    assert decoder.dropped == 2
    frame = encode_frame(b"whatever it is")
    decoder.feed(frame[:5])
    decoder.spoil()
    assert decoder.feed(frame[5:]) == []
    decoder.feed(frame[:5])
    decoder.reset()
    assert decoder.feed(frame) == [b"whatever it is"]
