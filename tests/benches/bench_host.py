"""HostRegisters: the register map, the program window, starts, and counters.

What is counted is random in every cycle. Parameters: ``config``, ``count`` of runs.
"""

from __future__ import annotations

from collections import Counter, deque
from random import Random
from typing import Any

import cocotb

from dither.arch.regmap import MAGIC, PHASES, PROGRAM_WINDOW, SATURATIONS
from dither.arch.timing import BLOCK_RAM_LATENCY

from .cycles import begin, next_cycle, settled
from .host_port import ADDRESS, HostPort
from .runner import bench_config, bench_parameters

_LATE = 3
"""Cycles after the end of a program until the counters are final."""


class _Host(HostPort):
    async def begin(self) -> None:
        quiet = {f"saturations_{place}": 0 for place in SATURATIONS}
        await begin(self.dut, addr=0, write=0, wdata=0, busy=0, fault=0, program_addr=0, phase=0, row_steps=0, **quiet)

    async def cycle(self) -> None:
        await settled(self.dut)
        await next_cycle(self.dut)

    async def count(self, cycles: int) -> Counter[str]:
        """That many cycles of a program, with random increments; then the counters that are
        expected.
        """
        dut, random, totals = self.dut, self.random, Counter[str]()
        for _ in range(cycles):
            phase = random.randrange(len(PHASES))
            increments = {"row_steps": random.choice((0, random.randrange(1 << len(dut.row_steps))))}
            for name in (f"saturations_{place}" for place in SATURATIONS):
                increments[name] = random.choice((0, 1, random.randrange(1 << len(getattr(dut, name)))))
            dut.busy.value, dut.phase.value = 1, phase
            for name, value in increments.items():
                getattr(dut, name).value = value
            # Starts and other writes while it runs are ignored; some are reads.
            writing = random.random() < 0.5
            dut.addr.value = random.choice((ADDRESS["start"], random.randrange(PROGRAM_WINDOW)))
            dut.write.value, dut.wdata.value = writing, random.getrandbits(32)
            await settled(dut)
            assert not int(dut.start.value), "a start while busy"
            await next_cycle(dut)
            dut.write.value = 0
            totals += Counter(increments) + Counter({f"cycles_{PHASES[phase]}": 1})
        # An idle engine still has a phase, which nobody counts; units are quiet.
        dut.busy.value, dut.phase.value = 0, random.choice((0, random.randrange(len(PHASES))))
        for name in ("row_steps", *(f"saturations_{place}" for place in SATURATIONS)):
            getattr(dut, name).value = 0
        return totals


@cocotb.test()
async def identity(dut: Any) -> None:
    host = _Host(dut, Random(cocotb.RANDOM_SEED))
    await host.begin()
    assert await host.read(ADDRESS["magic"]) == MAGIC
    assert await host.read(ADDRESS["configuration"]) == int(bench_config().digest(), 16)
    for busy in (0, 1):
        for fault in (0, 1):
            dut.busy.value, dut.fault.value = busy, fault
            assert await host.read(ADDRESS["status"]) == busy | fault << 1


@cocotb.test()
async def starts(dut: Any) -> None:
    host = _Host(dut, Random(cocotb.RANDOM_SEED))
    await host.begin()
    for entry in (0, 1, 0x7FFF, host.random.getrandbits(15)):
        assert await host.write(ADDRESS["start"], entry) == entry
        dut.busy.value = 1
        assert await host.write(ADDRESS["start"], entry) is None, "a start while busy"
        dut.busy.value = 0
    await host.check_that_nothing_else_starts()


@cocotb.test()
async def program_window(dut: Any) -> None:
    """Every word is written and read; what is written below the window leaves them as they are."""
    host, depth = _Host(dut, Random(cocotb.RANDOM_SEED)), bench_config().program_depth
    random = host.random
    await host.begin()
    words = [random.getrandbits(32) for _ in range(depth)]
    for address in random.sample(range(depth), depth):
        await host.write(PROGRAM_WINDOW + address, words[address])
    for address in range(depth):
        await host.write(address % PROGRAM_WINDOW, random.getrandbits(32))
    asked: deque[int] = deque(maxlen=BLOCK_RAM_LATENCY)
    for address in [*range(depth), *(random.randrange(depth) for _ in range(200))]:
        dut.program_addr.value = address
        await settled(dut)
        if len(asked) == BLOCK_RAM_LATENCY:
            assert int(dut.program_data.value) == words[asked[0]], f"word {asked[0]}"
        asked.append(address)
        await next_cycle(dut)


@cocotb.test()
async def counters(dut: Any) -> None:
    host = _Host(dut, Random(cocotb.RANDOM_SEED))
    await host.begin()
    for _ in range(bench_parameters()["count"]):
        assert await host.write(ADDRESS["start"], 0) == 0
        # The first cycle is on the start's account.
        dut.busy.value, dut.phase.value = 1, host.random.randrange(len(PHASES))
        await host.cycle()
        totals = await host.count(host.random.choice((1, 2, 50, 400)))
        for _ in range(_LATE):
            await host.cycle()
        await host.check_counters(totals)
