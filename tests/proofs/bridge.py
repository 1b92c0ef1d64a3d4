"""Streams keep their contract, and registers in between lose nothing."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Mux, Signal, Value

from dither.arch.config import EngineConfig
from dither_hw.link.bridge import Bridge
from tests.benches.mutation import Change

from .harness import Bench, Proof

CONFIG = EngineConfig(rows=1, lanes=2, width=16, table_bits=6, lanes_per_table=1)


def one_beat(bench: Bench, source: Any, target: Any, reset: Value, name: str) -> None:
    """A register for one beat: what was taken and not yet given is there, and nothing else."""
    m = bench.m
    taken, given = source.valid & source.ready, target.valid & target.ready
    holds, beat = Signal(name=f"{name}_holds"), Signal.like(source.payload, name=f"{name}_beat")
    m.d.sync += holds.eq(Mux(taken, 1, holds & ~given) & ~reset)
    with m.If(taken):
        m.d.sync += beat.eq(source.payload)
    bench.check(target.valid == holds, f"{name} offers a beat if one was taken and not given")
    bench.check(~holds | (target.payload == beat), f"{name} offers the beat that was taken")
    bench.check(~(taken & holds), f"{name} takes no beat while it has one")
    # An empty register is ready from the second cycle on, so a stream cannot stand still.
    bench.check(holds | source.ready | ~bench.started, f"{name} is ready when it is empty")


def specify(bench: Bench) -> None:
    dut = bench.dut
    late = [bench.past(dut.link.reset, i, name=f"reset{i}") for i in range(1, 4)]
    reset = dut.link.reset
    for past in late:
        reset = reset | past
    one_beat(bench, dut.link.input, dut.engine.input, reset, "input")
    one_beat(bench, dut.engine.output, dut.link.output, reset, "output")
    bench.check(dut.holds == dut.engine.input.valid, "holds says what waits for the engine")
    bench.check(~dut.link.output.valid | dut.link.busy, "busy as long as a beat waits for the link")
    # Copies of one register are equal.
    copies = [register for register in bench.registers() if register.name.endswith("_copy")]
    for number, copy in enumerate(copies):
        stream = dut.link.input if number < len(copies) // 2 else dut.engine.output
        bench.invariant(copy == stream.ready, "copies are equal")
    for stream, target in ((dut.link.input, dut.engine.input), (dut.engine.output, dut.link.output)):
        bench.invariant(~(stream.ready & target.valid), "full or empty")


PROOFS = (
    Proof(
        "bridge",
        "Both streams give each beat that they take once, unchanged and in order, and nothing else; a reset empties "
        "them. Payloads hold until they are taken.",
        "beats of 48 bits",
        lambda: Bridge(CONFIG),
        specify,
        faults=(
            Change("takes beats while full", "free", lambda old, c, m: Const(1)),
            Change("a copy is stuck", "free24_copy", lambda old, c, m: Const(1)),
        ),
        depth=5,
        fault_depth=12,
    ),
)
