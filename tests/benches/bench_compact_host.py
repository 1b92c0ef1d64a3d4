"""CompactHost: identity, program memory, starts, and counters under random events.

The events are such as an engine makes. Parameters: ``config``, ``count`` of runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import cocotb

from dither.arch.isa import INSTRUCTIONS
from dither.arch.isa.formats import InstructionFormat
from dither.arch.regmap import MAGIC, PROGRAM_WINDOW

from .cycles import begin, next_cycle, settled
from .host_port import ADDRESS, HostPort
from .runner import bench_config, bench_parameters

_BUSY, _FAULT = 1, 2
_FETCH = 8
"""Cycles of fetching between two instructions' work, at least."""
_CLIPS = {"contract": "requantise", "perturb": "weight", "loss": "loss", "update": "update"}
_EVENTS = ("fetching", "working", "waiting", "row", "clipped")
_ENOUGH = 100


class _Host(HostPort):
    def __init__(self, dut: Any, random: Random) -> None:
        super().__init__(dut, random)
        self._forms = self._all_forms()

    def _all_forms(self) -> Iterator[InstructionFormat]:
        """Instructions, each once before any comes again."""
        while True:
            yield from self.random.sample(INSTRUCTIONS, len(INSTRUCTIONS))

    async def begin(self) -> None:
        quiet = dict.fromkeys(_EVENTS, 0)
        await begin(self.dut, addr=0, write=0, wdata=0, busy=0, fault=0, program_addr=0, opcode=0, **quiet)

    async def run(self, instructions: int) -> Counter[str]:
        """A program of some instructions with random events; what must have been counted."""
        dut, random, totals = self.dut, self.random, Counter[str]()
        assert await self.write(ADDRESS["start"], 5) == 5
        dut.busy.value = 1
        for _ in range(_ENOUGH):
            await settled(dut)
            if int(dut.cleared.value):
                break
            await next_cycle(dut)
        assert int(dut.cleared.value), "counters are not cleared"
        await next_cycle(dut)
        for _ in range(instructions):
            form = next(self._forms)
            dut.opcode.value = form.opcode
            await self._cycles(totals, _FETCH + random.choice((0, 0, 1, 20)), "fetching", "cycles_fetch")
            for _ in range(random.choice((1, 1, 2, 5))):
                waits = random.choice((0, 0, 3))
                await self._cycles(totals, waits, "waiting", "cycles_wait")
                await self._cycles(totals, random.choice((1, 1, 3, 60)), "working", f"cycles_{form.phase}", form.phase)
        dut.busy.value = 0
        return totals

    async def _cycles(self, totals: Counter[str], cycles: int, event: str, counter: str, phase: str = "") -> None:
        dut, random = self.dut, self.random
        for _ in range(cycles):
            row, clipped = random.random() < 0.7, phase in _CLIPS and random.random() < 0.5
            for name in _EVENTS:
                getattr(dut, name).value = name == event or (name == "row" and row) or (name == "clipped" and clipped)
            totals[counter] += 1
            totals["row_steps"] += row
            if clipped:
                totals[f"saturations_{_CLIPS[phase]}"] += 1
            # Reads and starts while it runs do no harm.
            dut.addr.value = random.choice((ADDRESS["start"], random.randrange(PROGRAM_WINDOW)))
            dut.write.value = random.random() < 0.3
            await settled(dut)
            assert not int(dut.start.value), "a start while busy"
            await next_cycle(dut)
        dut.write.value = 0
        for name in _EVENTS:
            getattr(dut, name).value = 0


@cocotb.test()
async def identity_and_starts(dut: Any) -> None:
    host = _Host(dut, Random(cocotb.RANDOM_SEED))
    await host.begin()
    assert await host.read(ADDRESS["magic"]) == MAGIC
    assert await host.read(ADDRESS["configuration"]) == int(bench_config().digest(), 16)
    for fault in (0, 1):
        dut.fault.value = fault
        assert await host.read(ADDRESS["status"]) == fault * _FAULT
    await host.check_that_nothing_else_starts()


@cocotb.test()
async def program_window(dut: Any) -> None:
    host, depth = _Host(dut, Random(cocotb.RANDOM_SEED)), bench_config().program_depth
    random = host.random
    await host.begin()
    words = [random.getrandbits(32) for _ in range(depth)]
    for address in random.sample(range(depth), depth):
        await host.write(PROGRAM_WINDOW + address, words[address])
    for address in set(range(depth)) - {ADDRESS["start"]}:
        await host.write(address % PROGRAM_WINDOW, random.getrandbits(32))
    previous = None
    for address in [*range(depth), *(random.randrange(depth) for _ in range(100))]:
        dut.program_addr.value = address
        await settled(dut)
        if previous is not None:
            assert int(dut.program_data.value) == words[previous], f"word {previous}"
        previous = address
        await next_cycle(dut)


@cocotb.test()
async def counters(dut: Any) -> None:
    host = _Host(dut, Random(cocotb.RANDOM_SEED))
    await host.begin()
    for _ in range(bench_parameters()["count"]):
        totals = await host.run(host.random.choice((1, 5, 30)))
        for _ in range(_ENOUGH):
            status = await host.read(ADDRESS["status"])
            if not status & _BUSY:
                break
        assert status == 0, "busy for ever"
        await host.check_counters(totals)
        assert await host.read(ADDRESS["magic"]) == MAGIC
