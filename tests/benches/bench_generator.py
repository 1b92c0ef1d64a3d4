"""Generator against its software twin, and against the published vectors of Threefry-2x32-20.

Parameters: ``rounds_per_cycle``, and ``count`` of keys.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb

from dither.arch.generator import blocks
from dither.arch.timing import generator_cycles

from .cycles import begin, next_cycle, settled
from .runner import bench_parameters

ONES = 0xFFFFFFFF
KNOWN = (
    # seed, step, block, probe, bits 0 to 31, bits 32 to 63: Random123's known answers.
    (0, 0, 0, 0, 0x6B200159, 0x99BA4EFE),
    (ONES, ONES, ONES, ONES, 0x1CB996FC, 0xBB002BE7),
    (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3, 0xC4923A9C, 0x483DF7A0),
)


async def _load_key(dut: Any, seed: int, step: int) -> None:
    dut.seed.value, dut.step.value, dut.load_key.value = seed, step, 1
    await next_cycle(dut)
    dut.load_key.value = 0


async def _run(dut: Any, blocks_and_gaps: list[tuple[int, int, int, int]]) -> None:
    """Runs blocks given as (block, probe, expected bits, cycles of rest behind it), from the cycle
    before the first start to the last one of the rest. A counter is on the inputs only when it must
    be."""
    cycles = generator_cycles(bench_parameters()["rounds_per_cycle"])
    starts, position = {}, 1
    for block, probe, expected, rest in blocks_and_gaps:
        starts[position] = block, probe, expected
        position += cycles + rest
    due, wanted = None, 0
    for now in range(position):
        dut.block.value, dut.probe.value = starts[now + 1][:2] if now + 1 in starts else (0x5A5A5A5A, 0xA5A5A5A5)
        dut.start.value = now in starts
        await settled(dut)
        assert int(dut.done.value) == (now == due), f"done is {int(dut.done.value)} in cycle {now}, due in {due}"
        if due is not None and now >= due:
            bits = int(dut.bits.value)
            assert bits == wanted, f"{bits:016x}, not {wanted:016x}"
        if now in starts:
            due, wanted = now + cycles, starts[now][2]
        await next_cycle(dut)
    dut.start.value = 0
    await settled(dut)
    assert int(dut.done.value) == (position == due)
    assert int(dut.bits.value) == wanted


async def _begin(dut: Any) -> None:
    await begin(dut, start=0, load_key=0, seed=0, step=0, block=0, probe=0)


@cocotb.test()
async def known_answers(dut: Any) -> None:
    await _begin(dut)
    for seed, step, block, probe, low, high in KNOWN:
        await _load_key(dut, seed, step)
        await _run(dut, [(block, probe, high << 32 | low, 0)])
        await next_cycle(dut)


@cocotb.test()
async def random_blocks(dut: Any) -> None:
    """Several blocks a key, some of them back to back; keys loaded while a block is under way."""
    random = Random(cocotb.RANDOM_SEED)
    await _begin(dut)
    for _ in range(bench_parameters()["count"]):
        seed, step = (random.choice((0, ONES, random.getrandbits(32))) for _ in range(2))
        await _load_key(dut, seed, step)
        runs = []
        for _ in range(random.randint(1, 5)):
            block, probe = (random.choice((0, ONES, random.getrandbits(32))) for _ in range(2))
            low, high = blocks(seed, step, block, probe)
            runs.append((block, probe, int(high) << 32 | int(low), random.choice((0, 0, 1, 10))))
        await _run(dut, runs)
        await next_cycle(dut)
        if random.random() < 0.5:
            dut.start.value = 1
            await next_cycle(dut)
            dut.start.value = 0
            for _ in range(random.randrange(generator_cycles(bench_parameters()["rounds_per_cycle"]))):
                await next_cycle(dut)
