"""Link: the longest requests that the protocol allows.

Parameters: those of :mod:`.link_twin`.
"""

from __future__ import annotations

from typing import Any

import cocotb

from dither.link.protocol import CRC_BYTES, MAX_REQUEST_BODY, RequestType

from .link_twin import Twins


@cocotb.test()
async def longest_requests(dut: Any) -> None:
    """Of 1,024 bytes, and of one more, which is no frame."""
    twins = await Twins.begun(dut)
    random = twins.random
    await twins.open()
    await twins.exchange(RequestType.PING, 0, 1, random.randbytes(MAX_REQUEST_BODY))
    assert not int(dut.error.value)
    body = bytes(random.randrange(1, 256) for _ in range(MAX_REQUEST_BODY + CRC_BYTES + 1))
    await twins.exchange(RequestType.PING, 0, 1, body)
    assert int(dut.error.value)
    await twins.exchange(RequestType.PING, 0, 1)
    room = min(MAX_REQUEST_BODY, twins.identity.input) // 4 * 4
    await twins.exchange(RequestType.WRITE, 0, 100, random.randbytes(room))
    assert len(twins.writes) == room // 4
