"""MacChain against Python's integers, on random tiles.

Some have extreme products in a row, so that the upper bits count both ways. Parameters: ``config``,
``count`` of tiles.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb

from dither_hw.compact.mac import SETTLED

from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters
from .words import pack

_LARGEST = (1 << 15) - 1


def _number(random: Random, mood: str) -> int:
    """A factor: anything, or such that products of one sign pile up."""
    match mood:
        case "high":
            return _LARGEST
        case "low":
            return -_LARGEST - 1
        case _:
            return random.randint(-_LARGEST - 1, _LARGEST) >> random.randrange(16)


@cocotb.test()
async def random_tiles(dut: Any) -> None:
    config, random = bench_config(), Random(cocotb.RANDOM_SEED)
    lanes, most = config.lanes, 1 << (config.accumulator_width - 1)
    await begin(dut, weight=0, activation=0, accumulate=0, shift=0, lane=0, clear=0)
    reach = 0
    for _ in range(bench_parameters()["count"]):
        sums, moods = [0] * lanes, [random.choice(("any", "high", "low")) for _ in range(lanes)]
        common = random.choice(("any", "high", "low"))
        for _ in range(random.choice((1, 2, 7, 30, 200))):
            weight = _number(random, common)
            numbers = [_number(random, mood) for mood in moods]
            accumulate = random.random() < 0.8
            dut.weight.value = weight & 0xFFFF
            dut.activation.value = pack(numbers, config.width)
            dut.accumulate.value = accumulate
            if accumulate:
                sums = [total + weight * number for total, number in zip(sums, numbers, strict=True)]
            await next_cycle(dut)
        assert all(-most <= total < most for total in sums), "the stimuli overflow"
        reach = max(reach, *map(abs, sums))
        dut.accumulate.value = 0
        # The last operands were there a cycle ago; their address, another one before.
        for _ in range(random.choice((SETTLED - 2, SETTLED, SETTLED + 3))):
            await next_cycle(dut)
        for lane in range(lanes):
            dut.shift.value, dut.lane.value, dut.clear.value = 1, lane, lane == lanes - 1
            await settled(dut)
            total = dut.total.value.to_signed()
            assert total == sums[lane], f"lane {lane}: {total}, not {sums[lane]}"
            await next_cycle(dut)
        dut.shift.value = dut.clear.value = 0
    assert reach >> 36, "the stimuli never reached the upper bits"
