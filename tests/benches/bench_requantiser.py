"""Requantiser against :func:`dither.arch.fixedpoint.shift_round` and ``saturate``.

Numbers are at the edges of every range and shift. Parameters: ``width`` of the accumulator,
``output`` width.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from dither.arch.fixedpoint import saturate, shift_round
from dither.arch.timing import REQUANTISER_LATENCY

from .runner import bench_parameters


def _stimuli(random: Random, width: int, output: int, shift: int) -> list[int]:
    """Numbers around the ends of the output's range, at powers of two, at the ends of their own,
    and others.
    """
    half = 1 << max(0, shift - 1)
    ends = [sign << (output - 1 + shift) for sign in (1, -1)]
    numbers = [end + steps * half + off for end in ends for steps in range(-3, 3) for off in (-1, 0, 1)]
    numbers += [(sign << power) + off for sign in (1, -1) for power in range(width - 1) for off in (-1, 0, 1)]
    numbers += [-1 << (width - 1), (1 << (width - 1)) - 1, 0]
    numbers += [random.getrandbits(width) - (1 << (width - 1)) >> random.randrange(width) for _ in range(40)]
    return [number for number in numbers if -1 << (width - 1) <= number < 1 << (width - 1)]


@cocotb.test()
async def every_shift(dut: Any) -> None:
    p = bench_parameters()
    width, output = p["width"], p["output"]
    random = Random(cocotb.RANDOM_SEED)
    Clock(dut.clk, 10, "ns").start()
    dut.stages.value = (1 << REQUANTISER_LATENCY) - 1
    for shift in range(48):
        relu = random.randrange(2)
        dut.shift.value, dut.relu.value = shift, relu
        numbers = _stimuli(random, width, output, shift)
        for cycle in range(len(numbers) + REQUANTISER_LATENCY):
            if cycle < len(numbers):
                dut.x.value = numbers[cycle] & ((1 << width) - 1)
            late = cycle - REQUANTISER_LATENCY
            if late >= 0:
                clipped, clips = saturate(shift_round(numbers[late], shift), output)
                want = (max(int(clipped), 0) if relu else int(clipped)) & ((1 << output) - 1), clips
                got = int(dut.y.value.to_unsigned()), int(dut.clipped.value)
                assert got == want, f"{numbers[late]} >> {shift}, relu {relu}: {got}, not {want}"
            await FallingEdge(dut.clk)


@cocotb.test()
async def stages_hold(dut: Any) -> None:
    """A stage without its bit keeps its number: one number moves on by one stage for every bit."""
    Clock(dut.clk, 10, "ns").start()
    dut.shift.value, dut.relu.value = 0, 0
    for number in (5, -7, 100):
        dut.x.value = number & ((1 << bench_parameters()["width"]) - 1)
        before = dut.y.value.to_signed()
        for stage in range(REQUANTISER_LATENCY):
            assert dut.y.value.to_signed() == before, f"changed before stage {stage}"
            dut.stages.value = 1 << stage
            await FallingEdge(dut.clk)
            dut.stages.value = 0
            dut.x.value = 0
            await FallingEdge(dut.clk)
        assert dut.y.value.to_signed() == number
