"""Bridge: beats both ways under patterns of pauses, the host port a cycle away, and resets.

Parameters: ``config``, ``patterns`` of each stream's source and sink, ``cycles``.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb

from .beats import Sink, Source
from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters

_SILENCE = 8
"""Cycles behind a reset in which nothing is offered, as between two sessions."""


class _Bench:
    def __init__(self, dut: Any, random: Random) -> None:
        self.dut, self.random = dut, random
        source, sink = bench_parameters()["patterns"]
        self.inwards = Source(dut, "link__input", source, random), Sink(dut, "engine__input", sink, random)
        self.outwards = Source(dut, "engine__output", source, random), Sink(dut, "link__output", sink, random)
        self.before: tuple[int, ...] = (0, 0, 0, 0)

    async def cycle(self) -> None:
        """One cycle of everything: streams in order, ports a cycle late, ``busy`` and ``holds``
        while beats wait.
        """
        dut, random = self.dut, self.random
        for part in (*self.inwards, *self.outwards):
            part.drive()
        port = tuple(random.getrandbits(bits) for bits in (16, 1, 32, 32))
        dut.link__host_addr.value, dut.link__host_write.value, dut.link__host_wdata.value = port[:3]
        dut.engine__host_rdata.value = port[3]
        await settled(dut)
        for part in (*self.inwards, *self.outwards):
            part.settle()
        seen = dut.engine__host_addr, dut.engine__host_write, dut.engine__host_wdata, dut.link__host_rdata
        assert tuple(int(value.value) for value in seen) == self.before
        self.before = port
        assert int(dut.holds.value) == int(dut.engine__input__valid.value)
        assert int(dut.link__busy.value) >= int(dut.link__output__valid.value)
        await next_cycle(dut)


@cocotb.test()
async def beats_and_ports(dut: Any) -> None:
    random = Random(cocotb.RANDOM_SEED)
    bits = bench_config().beat_width
    quiet = {f"link__{name}": 0 for name in ("host_addr", "host_write", "host_wdata", "reset")}
    await begin(dut, engine__host_rdata=0, engine__busy=0, engine__fault=0, **quiet)
    bench = _Bench(dut, random)
    await bench.cycle()
    sent: list[list[int]] = [[], []]
    for _ in range(bench_parameters()["cycles"]):
        for number, (source, _) in enumerate((bench.inwards, bench.outwards)):
            if len(source.beats) < 3:
                beats = [random.getrandbits(bits) for _ in range(random.randrange(3))]
                source.send(beats)
                sent[number] += beats
        await bench.cycle()
    for number, (source, sink) in enumerate((bench.inwards, bench.outwards)):
        for _ in range(1000):
            if len(sink.beats) == len(sent[number]):
                break
            await bench.cycle()
        assert not source.beats
        assert sink.beats == sent[number], "beats lost, repeated or changed"
        assert len(sent[number]) > 20


@cocotb.test()
async def states_follow(dut: Any) -> None:
    """The engine's states come a cycle late; a beat that waits is busy, too."""
    await begin(dut, engine__output__valid=0, link__output__ready=0, engine__busy=0, engine__fault=0, link__reset=0)
    for busy, fault in ((1, 0), (0, 1), (1, 1), (0, 0)):
        dut.engine__busy.value, dut.engine__fault.value = busy, fault
        await next_cycle(dut)
        await settled(dut)
        assert (int(dut.link__busy.value), int(dut.link__fault.value)) == (busy, fault)
        await next_cycle(dut)
    dut.engine__output__valid.value = 1
    await next_cycle(dut)
    dut.engine__output__valid.value = 0
    for _ in range(5):
        await settled(dut)
        assert int(dut.link__busy.value) == 1
        await next_cycle(dut)


@cocotb.test()
async def resets(dut: Any) -> None:
    """Nothing of before a reset comes out behind it, though the engine hears of it a cycle
    later.
    """
    random = Random(cocotb.RANDOM_SEED)
    await begin(dut, link__reset=0, link__input__valid=0, link__output__ready=0, engine__input__ready=0)
    for _ in range(50):
        dut.link__input__valid.value = dut.engine__output__valid.value = 1
        for _ in range(random.randrange(1, 6)):
            await next_cycle(dut)
        dut.link__reset.value = 1
        await next_cycle(dut)
        dut.link__reset.value = dut.link__input__valid.value = 0
        await settled(dut)
        assert int(dut.engine__reset.value) == 1
        # The engine still offers what it has until it is reset itself.
        await next_cycle(dut)
        await settled(dut)
        assert int(dut.engine__reset.value) == 0
        await next_cycle(dut)
        dut.engine__output__valid.value = 0
        for _ in range(_SILENCE):
            await settled(dut)
            assert (int(dut.link__output__valid.value), int(dut.engine__input__valid.value)) == (0, 0)
            await next_cycle(dut)
