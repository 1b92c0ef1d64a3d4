"""The host's end of a serial line, bit by bit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, Timer

__all__ = ["CYCLE_NS", "Line"]

CYCLE_NS = 10
_BITS = 8


class Line:
    """Sends bytes to ``rx`` and collects those from ``tx``, as far as there is one.

    :param bit_cycles: cycles of a bit, not necessarily whole.
    """

    def __init__(self, dut: Any, bit_cycles: float) -> None:
        self.dut = dut
        self.bit_cycles = bit_cycles
        self.received = bytearray()
        """Bytes from ``tx`` that nobody has taken yet."""
        self.broken = 0
        """Bytes from ``tx`` without a stop bit."""
        if hasattr(dut, "tx"):
            cocotb.start_soon(self._listen())

    async def send(self, data: Iterable[int], *, stop: int = 1, skew: float = 0.0) -> None:
        """Bytes one behind the other, or with ``stop`` 0 without their stop bits; a part ``skew``
        too slow.
        """
        for byte in data:
            for bit in (0, *(byte >> i & 1 for i in range(_BITS)), stop):
                self.dut.rx.value = bit
                await self.wait(self.bit_cycles * (1 + skew))
            self.dut.rx.value = 1
            if not stop:
                await self.wait(self.bit_cycles)

    async def wait(self, cycles: float) -> None:
        await Timer(round(cycles * CYCLE_NS * 1000), "ps")

    async def _listen(self) -> None:
        dut = self.dut
        while True:
            await FallingEdge(dut.tx)
            await self.wait(self.bit_cycles / 2)
            assert not int(dut.tx.value), "a start bit ends early"
            byte = 0
            for i in range(_BITS):
                await self.wait(self.bit_cycles)
                byte |= int(dut.tx.value) << i
            await self.wait(self.bit_cycles)
            self.broken += not int(dut.tx.value)
            self.received.append(byte)
