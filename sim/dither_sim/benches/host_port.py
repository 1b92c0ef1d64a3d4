"""A component's host port, driven by a bench."""

from __future__ import annotations

from random import Random
from typing import Any

from dither_hw.interfaces import host_read_cycles

from ..cocotb_runner import bench_config
from .cycles import next_cycle, settled

__all__ = ["HostPort"]


class HostPort:
    """Reads and writes registers: ports ``addr``, ``write``, ``wdata``, ``rdata``, and what a start shows."""

    def __init__(self, dut: Any, random: Random) -> None:
        self.dut = dut
        self.random = random

    async def read(self, address: int) -> int:
        """The register of this cycle's address comes later, whatever the address is then."""
        dut = self.dut
        dut.addr.value, dut.write.value = address, 0
        for _ in range(host_read_cycles(bench_config())):
            await next_cycle(dut)
            dut.addr.value = self.random.getrandbits(16)
        await settled(dut)
        value = int(dut.rdata.value)
        await next_cycle(dut)
        return value

    async def write(self, address: int, value: int) -> int | None:
        """Write a register; the entry if that is a start."""
        dut = self.dut
        dut.addr.value, dut.write.value, dut.wdata.value = address, 1, value
        await settled(dut)
        start = int(dut.entry.value) if int(dut.start.value) else None
        await next_cycle(dut)
        dut.write.value = 0
        return start
