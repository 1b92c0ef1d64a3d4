"""A component's host port, driven by a bench, and checks that hold for every engine's."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from dither.arch.regmap import COUNTER_BASE, COUNTERS, PROGRAM_WINDOW, REGISTERS

from .cycles import next_cycle, settled
from .runner import bench_config

__all__ = ["ADDRESS", "HostPort"]

ADDRESS = {register.name: register.address for register in REGISTERS}
"""Addresses of the registers, by name."""


class HostPort:
    """Reads and writes registers: ports ``addr``, ``write``, ``wdata``, ``rdata``, and what a start
    shows.
    """

    def __init__(self, dut: Any, random: Random) -> None:
        self.dut = dut
        self.random = random

    async def read(self, address: int) -> int:
        """The register of this cycle's address comes later, whatever the address is then."""
        dut = self.dut
        dut.addr.value, dut.write.value = address, 0
        for _ in range(bench_config().family.host_read_cycles):
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

    async def check_that_nothing_else_starts(self) -> None:
        """Neither a write to another address nor a read."""
        dut = self.dut
        for address in {*range(64), PROGRAM_WINDOW, PROGRAM_WINDOW + ADDRESS["start"]} - {ADDRESS["start"]}:
            assert await self.write(address, 5) is None, f"writing {address:#x} starts"
        dut.addr.value, dut.write.value = ADDRESS["start"], 0
        await settled(dut)
        assert not int(dut.start.value), "reading starts"

    async def check_counters(self, totals: Counter[str]) -> None:
        """All of them; those that are not in ``totals`` are zero."""
        for i, counter in enumerate(COUNTERS):
            value = await self.read(COUNTER_BASE + i)
            assert value == totals[counter.name], f"{counter.name}: {value}, not {totals[counter.name]}"
