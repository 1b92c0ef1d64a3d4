"""Streams keep their contract: a payload on offer holds, and valid waits for no ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.hdl._ast import Slice
from amaranth.lib.wiring import In

from dither.arch.config import EngineConfig
from dither_hw.link.bridge import Bridge
from dither_hw.link.cobs import FrameMemory
from dither_hw.link.packing import Packer, Unpacker
from dither_hw.link.uart import UartTransmitter
from dither_hw.memory.transfer import TransferUnit
from tests.benches.mutation import Change

from .harness import Bench, Proof

__all__ = ["holds", "waits_for_nobody"]

CONFIG = EngineConfig(rows=1, lanes=2, width=16, table_bits=6, lanes_per_table=1)
PARTS = EngineConfig(rows=2, lanes=2, table_bits=6, lanes_per_table=1, word_parts=2, local_learning=0)


def holds(bench: Bench, stream: Any, name: str, unless: Value | int = 0) -> None:
    """A beat on offer stays, and stays what it is, until it is taken.

    :param unless: what takes it back, in the cycle before.
    """
    waits = bench.past(stream.valid & ~stream.ready & ~Value.cast(unless), name=f"{name}_waits")
    before = bench.past(stream.payload, name=f"{name}_before")
    bench.check(~waits | stream.valid, f"{name} stays valid")
    bench.check(~waits | (stream.payload == before), f"{name} holds its payload")


def waits_for_nobody(
    bench: Bench, twin: Any, offers: Sequence[str], takes: Sequence[str], used: dict[str, Value] | None = None
) -> None:
    """Nothing depends on a ready without its valid, nor on a payload without its valid.

    The twin gets the same inputs, but while a stream offers nothing, its ready is anything; and
    while a stream that it takes from offers nothing, its payload is anything. All registers must
    stay equal.

    :param twin: another of the same component.
    :param offers: names of streams out of the component, ``interface__stream``.
    :param takes: names of streams into it.
    :param used: for registers that may differ, when they must not.
    """
    m, dut = bench.m, bench.dut

    def find(component: Any, path: str) -> Any:
        for step in path.split("."):
            component = getattr(component, step)
        return component

    loose = {path for stream in offers for path in (f"{stream}.ready",)} | {f"{stream}.payload" for stream in takes}
    for path, member, _ in dut.signature.flatten(dut):
        name = ".".join(map(str, path))
        mine, other = Value.cast(find(dut, name)), Value.cast(find(twin, name))
        if name in loose:
            stream = find(dut, name.rpartition(".")[0])
            any_value = bench.free(len(mine), "any_" + name.replace(".", "_"))
            m.d.comb += other.eq(Mux(stream.valid, mine, any_value))
        elif member.flow == In:
            m.d.comb += other.eq(mine)
    for mine, other in bench.pair(twin):
        bench.invariant((mine == other) | ~(used or {}).get(mine.name, Const(1, 1)), f"register {mine.name}")
    for stream in offers:
        mine, other = find(dut, stream), find(twin, stream)
        bench.check(mine.valid == other.valid, f"{stream} waits for nobody".replace(".", " "))
        bench.check(~mine.valid | (mine.payload == other.payload), f"payload of {stream}".replace(".", " "))
    for stream in takes:
        mine, other = find(dut, stream), find(twin, stream)
        bench.check(mine.ready == other.ready, f"ready of {stream}".replace(".", " "))


def transfer(config: EngineConfig) -> Callable[[Bench], None]:
    def specify(bench: Bench) -> None:
        # That payloads hold is a part of the transfer unit's own proof, with memories behind it.
        used = {} if config.local_learning else {"beat": bench.dut.write_enable}
        waits_for_nobody(bench, TransferUnit(config), ["output"], ["input"], used)
        bench.invariant(~bench.dut.write_enable | bench.state("LOAD", "WRITE"), "only LOAD writes")
        bench.check(~bench.dut.write_enable | (bench.dut.write_data == bench.twin.write_data), "what is written")

    return specify


def bridge(bench: Bench) -> None:
    dut = bench.dut
    used = {"engine__input__payload": dut.engine.input.valid, "link__output__payload": dut.link.output.valid}
    copies = [register for register in bench.registers() if register.name.endswith("_copy")]
    for number, copy in enumerate(copies):
        stream = dut.link.input if number < len(copies) // 2 else dut.engine.output
        bench.invariant(copy == stream.ready, "copies are equal")
    for source, target in ((dut.link.input, dut.engine.input), (dut.engine.output, dut.link.output)):
        bench.invariant(~(source.ready & target.valid), "full or empty")
    waits_for_nobody(bench, Bridge(CONFIG), ["engine.input", "link.output"], ["link.input", "engine.output"], used)
    reset = bench.dut.link.reset
    for i in range(1, 4):
        reset = reset | bench.past(bench.dut.link.reset, i, name=f"reset{i}")
    holds(bench, bench.dut.engine.input, "engine input", reset)
    holds(bench, bench.dut.link.output, "link output", reset)


def transmitter(bench: Bench) -> None:
    waits_for_nobody(bench, UartTransmitter(**_LINE), [], ["input"])
    bench.check(bench.dut.tx == bench.twin.tx, "the line does not depend on it")


def frame(bench: Bench) -> None:
    m, dut = bench.m, bench.dut
    # As its description says: no byte, no beginning and no end while a frame is on its way.
    ending = bench.register("ending")
    quiet = dut.sending | ending
    bench.assume(~(quiet & (dut.start | dut.valid | dut.finish)))
    bench.assume(~(dut.finish & (dut.start | dut.valid)))
    late = bench.past(dut.finish, 1, name="finish")
    bench.assume(~(late & (dut.start | dut.valid | dut.finish)))
    # Bytes come at least four cycles apart.
    recent = Signal(3)
    m.d.sync += recent.eq(Cat(dut.valid | dut.start, recent))
    bench.assume(~((dut.valid | dut.finish) & recent.any()))
    waits_for_nobody(bench, FrameMemory(), ["output"], [])
    holds(bench, dut.output, "output")


def unpacker(bench: Bench) -> None:
    dut = bench.dut
    waits_for_nobody(bench, Unpacker(CONFIG), ["output"], [])
    # Bits come only as they are wanted; the packing's own proof has that in full.
    bench.assume(~(dut.output.valid & dut.bits))
    bench.assume(~(bench.past(dut.output.valid, name="offered") & dut.bits))
    holds(bench, dut.output, "output")


def packer(bench: Bench) -> None:
    looked = bench.dut.held & ~bench.register("fresh")
    used = {"beat": bench.dut.held, "zeros": looked, "ending": looked}
    waits_for_nobody(bench, Packer(CONFIG), [], ["input"], used)
    with bench.m.If(bench.dut.take):
        bench.check(bench.dut.bit == bench.twin.bit, "bits do not depend on it")
    bench.assume(looked | ~bench.dut.take)


_LINE = {"clock_hz": 24_000_000, "baud": 3_000_000}
_CLAIM = "Valid waits for no ready, and a payload without valid changes nothing"
_HOLDS = f"{_CLAIM}; a beat on offer stays until it is taken."
PROOFS = (
    Proof(
        "stream of the transfer unit",
        f"{_CLAIM}.",
        "beats of 48 bits",
        lambda: TransferUnit(CONFIG),
        transfer(CONFIG),
        faults=(
            Change(
                "valid waits for ready",
                "output__valid",
                lambda old, c, m: c.output.ready if isinstance(old, Const) else old & c.output.ready,
            ),
        ),
        depth=2,
        fault_depth=14,
    ),
    Proof(
        "stream of the transfer unit in parts",
        f"{_CLAIM}.",
        "beats of 48 bits, two a word",
        lambda: TransferUnit(PARTS),
        transfer(PARTS),
        faults=(Change("it counts payloads that are none", "part", lambda old, c, m: old + c.input.payload[0]),),
        slow=True,
        depth=2,
        fault_depth=14,
    ),
    Proof(
        "streams of the bridge",
        _HOLDS,
        "beats of 48 bits",
        lambda: Bridge(CONFIG),
        bridge,
        faults=(
            Change("an offer lasts one cycle", "$signal", lambda old, c, m: c.link.input.valid & c.link.input.ready),
        ),
        depth=5,
    ),
    Proof(
        "stream to the serial line",
        f"{_CLAIM}.",
        "8 cycles a bit",
        lambda: UartTransmitter(**_LINE),
        transmitter,
        faults=(
            Change(
                "it sends a payload without valid",
                "shift",
                lambda old, c, m: Mux(old.value == 0, Cat(c.input.payload, 1), old) if isinstance(old, Slice) else None,
            ),
        ),
        depth=2,
        fault_depth=20,
    ),
    Proof(
        "stream of frames",
        _HOLDS,
        "",
        FrameMemory,
        frame,
        faults=(Change("an offer lasts one cycle", "fetched", lambda old, c, m: old & ~c.output.valid),),
        depth=8,
    ),
    Proof(
        "stream of the unpacker",
        _HOLDS,
        "beats of 48 bits",
        lambda: Unpacker(CONFIG),
        unpacker,
        faults=(Change("the ring turns under an offer", "turn?_copy", lambda old, c, m: old | c.output.valid),),
        depth=6,
        fault_depth=45,
    ),
    Proof(
        "stream into the packer",
        f"{_CLAIM}.",
        "beats of 48 bits",
        lambda: Packer(CONFIG),
        packer,
        faults=(
            Change(
                "a payload without valid is taken",
                "held",
                lambda old, c, m: Const(1) if not isinstance(old, Const) else None,
            ),
        ),
        depth=3,
    ),
)
