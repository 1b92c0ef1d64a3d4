"""UartReceiver and UartTransmitter: bytes at a baud rate that does not divide the clock.

The baud rates of hosts are a little off. Parameters: ``part`` (receiver or transmitter),
``bit_cycles``, ``count`` of bytes.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge

from .beats import Source
from .cycles import begin, next_cycle, settled
from .link_line import Line
from .runner import bench_parameters

_SKEWS = (0.0, -0.025, 0.025)


async def _collect(dut: Any, taken: list[tuple[int, int]]) -> None:
    while True:
        await FallingEdge(dut.clk)
        if int(dut.valid.value):
            taken.append((int(dut.data.value), int(dut.error.value)))


@cocotb.test(skip=bench_parameters()["part"] != "receiver")
async def receiver(dut: Any) -> None:
    random, parameters = Random(cocotb.RANDOM_SEED), bench_parameters()
    await begin(dut, rx=1)
    taken: list[tuple[int, int]] = []
    cocotb.start_soon(_collect(dut, taken))
    cycles = parameters["bit_cycles"]
    line = Line(dut, cycles)
    for skew in _SKEWS:
        sent = [0, 255, 0x55, 0xAA, *random.randbytes(parameters["count"])]
        await line.send(sent, skew=skew)
        await line.wait(random.uniform(1, 3) * cycles)
        assert taken == [(byte, 0) for byte in sent], (
            f"{len(taken)} of {len(sent)} bytes, or other ones, at {skew:+.1%}"
        )
        taken.clear()
    for byte in random.randbytes(10):
        await line.send([byte], stop=0)
        await line.send([byte ^ 0xFF])
        assert taken == [(byte, 1), (byte ^ 0xFF, 0)], f"a byte without a stop bit: {taken}"
        taken.clear()
    # Noise shorter than half a bit is no start bit; a line that stays low is one bad byte.
    dut.rx.value = 0
    await line.wait(0.3 * cycles)
    dut.rx.value = 1
    await line.wait(20 * cycles)
    assert not taken, f"noise is a byte: {taken}"
    dut.rx.value = 0
    await line.wait(40 * cycles)
    dut.rx.value = 1
    await line.wait(2 * cycles)
    assert taken == [(0, 1)], f"a line that stays low: {taken}"


@cocotb.test(skip=bench_parameters()["part"] != "transmitter")
async def transmitter(dut: Any) -> None:
    random, parameters = Random(cocotb.RANDOM_SEED), bench_parameters()
    await begin(dut, input__valid=0)
    cycles = parameters["bit_cycles"]
    line = Line(dut, cycles)
    for pattern in ("always", "rarely"):
        source = Source(dut, "input", pattern, random)
        sent = [0, 255, *random.randbytes(parameters["count"])]
        source.send(sent)
        busy = 0
        while source.beats:
            source.drive()
            await settled(dut)
            source.settle()
            busy += 1
            await next_cycle(dut)
        dut.input__valid.value = 0
        await line.wait(12 * cycles)
        assert bytes(line.received) == bytes(sent), f"sent {line.received.hex()}, not {bytes(sent).hex()}"
        assert not line.broken
        if pattern == "always":
            most = 10 * cycles * 1.005 * (len(sent) - 1) + cycles + 2
            assert busy <= most, f"{busy} cycles for {len(sent)} bytes one behind the other, not {most:.0f}"
        line.received.clear()
        for _ in range(50):
            await settled(dut)
            assert int(dut.tx.value), "an idle line is not high"
            await next_cycle(dut)
