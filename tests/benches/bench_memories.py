"""BankedMemory: random traffic on few words, so that reads and writes often meet.

Parameters: ``depth``, ``width`` (bits of a word of all banks), ``near``, ``count`` of cycles.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import cocotb

from dither.arch.timing import BLOCK_RAM_LATENCY, MEMORY_LATENCY, WRITE_LATENCY

from .cycles import begin, next_cycle, settled
from .runner import bench_parameters


@cocotb.test()
async def random_traffic(dut: Any) -> None:
    parameters, random = bench_parameters(), Random(cocotb.RANDOM_SEED)
    depth, width = parameters["depth"], parameters["width"]
    await begin(dut, write__enable=0, write__addr=0, write__data=0, read__addr=0)
    words = [0] * depth
    expected: deque[int | None] = deque([None] * (BLOCK_RAM_LATENCY if parameters["near"] else MEMORY_LATENCY))
    latency = WRITE_LATENCY + parameters["near"]
    written: deque[tuple[int, int] | None] = deque([None] * (latency - 1))
    meetings = near = 0
    for cycle in range(parameters["count"]):
        # First every word is written once. Then a few neighbours for a while, now and then any
        # word.
        filling = cycle < depth
        if cycle % 64 == 0:
            near = random.randrange(depth)
        anywhere = random.random() < 0.2
        write, read = (
            random.randrange(depth) if anywhere else min(near + random.randrange(3), depth - 1) for _ in range(2)
        )
        if filling:
            write = cycle
        enable, data = filling or random.random() < 0.5, random.getrandbits(width)
        dut.write__enable.value, dut.write__addr.value, dut.write__data.value = enable, write, data
        dut.read__addr.value = read
        await settled(dut)
        got, want = int(dut.read__data.value), expected.popleft()
        assert want is None or got == want, f"cycle {cycle}: {got:#x}, not {want:#x}"
        # A word whose write is under way gives anything; the ones behind it are as they were.
        written.append((write, data) if enable else None)
        arriving = written.popleft()
        under_way = [word for word in (arriving, *written) if word is not None and word[0] == read]
        unknown = arriving is not None and arriving[0] == read
        meetings += bool(under_way)
        expected.append(None if filling or unknown else words[read])
        if arriving is not None:
            words[arriving[0]] = arriving[1]
        await next_cycle(dut)
    assert meetings > 100, "reads and writes hardly ever met"
