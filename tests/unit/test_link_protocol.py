"""The protocol as data: headers, identity, and that docs/protocol.md says the same."""

from __future__ import annotations

import re
import struct

import pytest

from dither.arch.config import EngineConfig, preset
from dither.arch.regmap import MAGIC
from dither.link.protocol import (
    BOARD_NAME_BYTES,
    BUILD_ID_BYTES,
    IDENTITY,
    MAX_READ_WORDS,
    MAX_REQUEST_BODY,
    MAX_RESPONSE_BODY,
    REQUEST,
    RESPONSE,
    VERSION,
    Flag,
    Header,
    Identity,
    Reason,
    RequestType,
    config_fields,
)
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()


def tables() -> list[list[list[str]]]:
    """The page's tables: rows of cells, without the line under the head."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    split = [[[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()] for block in blocks]
    return [[row for row in block if not set(row[0] or "-") <= set("-:")] or block for block in split]


def table(head: str) -> dict[str, list[str]]:
    """The rows of the table whose first cell is ``head``, by their first cells."""
    found = next(block for block in tables() if block[0][0] == head or block[0][:1] == [head])
    return {row[0]: row[1:] for row in found[1:]}


@pytest.mark.parametrize(("head", "header"), [("request", REQUEST), ("response", RESPONSE)])
def test_page_has_the_headers(head: str, header: Header) -> None:
    rows = table(head)
    body = rows.pop("body")
    assert {name: int(cells[0]) for name, cells in rows.items()} == {f.name: f.bytes for f in header.fields}
    assert list(rows) == [field.name for field in header.fields]
    largest = MAX_REQUEST_BODY if header is REQUEST else MAX_RESPONSE_BODY
    assert body[0] == f"up to {largest:,}"


def test_page_has_the_requests() -> None:
    found = next(block for block in tables() if block[0] == ["type", "number", "argument", "does"])[1:]
    assert [row[0] for row in found] == [f"{kind:02x} {kind.name}" for kind in RequestType]
    rows = {row[0].split()[1]: row for row in found}
    assert rows["HELLO"][1] == f"{MAGIC & 0xFFFF:x} hex"
    assert rows["READ"][2] == f"count, 1 to {MAX_READ_WORDS}"
    assert f"(1 to {MAX_REQUEST_BODY // 4})" in rows["WRITE"][3]
    assert f"(1 to {MAX_REQUEST_BODY:,} bytes)" in rows["DATA"][3]
    for name in ("FETCH", "PING"):
        assert rows[name][2] == f"count, 0 to {MAX_RESPONSE_BODY}"
    assert [name for name, row in rows.items() if row[1] == "sequence"] == [
        kind.name for kind in RequestType if kind.sequenced
    ]


def test_page_has_flags_and_reasons() -> None:
    rows = table("response")
    for flag in Flag:
        assert f"{flag.value} {flag.name}:" in rows["flags"][1]
    for reason in Reason:
        if reason:
            assert f"{reason.value} {reason.name}" in rows["reason"][1]


def test_page_has_the_identity() -> None:
    sizes = [cell for cells in table("identity").values() for cell in cells[0].split(", ")]
    wanted = [field.bytes for field in IDENTITY.fields] + [BOARD_NAME_BYTES]
    assert [int(size) for size in sizes if size.isdecimal()] == wanted
    assert sizes[-1] == "2 each"
    assert f"magic {MAGIC:x} hex" in table("identity")
    assert f"version of this protocol, {VERSION}" in table("identity")


def test_headers() -> None:
    packed = REQUEST.pack(type=3, session=0x1234, argument=9)
    assert packed.hex() == "0300341200000900"
    assert REQUEST.unpack(packed + b"body") == {"type": 3, "tag": 0, "session": 0x1234, "number": 0, "argument": 9}
    assert [RESPONSE.offset(field.name) for field in RESPONSE.fields] == [0, 1, 2, 4, 5, 6, 8, 10]
    with pytest.raises(ValueError, match="unknown fields: colour"):
        REQUEST.pack(colour=1)
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        REQUEST.offset("colour")
    with pytest.raises(ValueError, match="has 8 bytes, not 3"):
        REQUEST.unpack(b"123")
    with pytest.raises(struct.error):
        REQUEST.pack(tag=256)


def identity(config: EngineConfig, board: str = "ulx3s") -> Identity:
    return Identity.of(config, clock=25_000_000, baud=3_000_000, input=2044, output=1024, build=77, board=board)


def test_identity_there_and_back() -> None:
    config = preset("2x16")
    body = identity(config).encode()
    assert len(body) == IDENTITY.size + BOARD_NAME_BYTES + 2 * len(config_fields())
    assert body[IDENTITY.offset("build") :][:BUILD_ID_BYTES] == (77).to_bytes(8, "little")
    found = Identity.decode(body)
    assert found == identity(config)
    assert EngineConfig.from_dict(found.config) == config


def test_identities_of_others() -> None:
    body = identity(preset("2x16")).encode()
    with pytest.raises(ValueError, match="no dither board"):
        Identity.decode(b"\1" + body[1:])
    with pytest.raises(ValueError, match="parameters has"):
        Identity.decode(body[:-2])
    fewer = bytearray(body[:-2])
    struct.pack_into("<H", fewer, IDENTITY.offset("fields"), len(config_fields()) - 1)
    assert list(Identity.decode(bytes(fewer)).config) == list(config_fields()[:-1])
    for name in ("a name too long for it", "ülx3s"):
        with pytest.raises(ValueError, match="ASCII"):
            identity(preset("2x16"), name)
