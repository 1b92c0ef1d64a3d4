"""The unit between streams and memories moves every beat once, in order, to and from its place."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Mux, Signal, Value, signed

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, Memory
from dither.arch.timing import MEMORY_LATENCY, STORE_INTERVAL, STORED_LATENCY
from dither_hw.memory.transfer import TransferUnit
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

ONE = EngineConfig(rows=1, lanes=2, width=16, table_bits=6, lanes_per_table=1)
PARTS = EngineConfig(rows=2, lanes=2, table_bits=6, lanes_per_table=1, word_parts=2, local_learning=0)
_OPCODES = {form.name: form.opcode for form in INSTRUCTIONS}
_BITS = 20


def specify(config: EngineConfig) -> Callable[[Bench], None]:
    parts = config.word_parts

    def body(bench: Bench) -> None:
        m, dut = bench.m, bench.dut
        load, store, pull, emit = (dut.opcode == _OPCODES[name] for name in ("LOAD", "STORE", "PULL", "EMIT"))
        whole = (dut.fields.memory == Memory.ACTIVATION_TABLE) | (dut.fields.memory == Memory.SCALAR_TABLE)

        # An instruction stands from three cycles before its start to its end; one is under way at a
        # time. What a memory gives depends on its address, some cycles late.
        busy = Signal()
        with m.If(dut.start):
            m.d.sync += busy.eq(1)
        with m.Elif(dut.done):
            m.d.sync += busy.eq(0)
        steady = Signal(2)
        instruction = Cat(dut.fields, dut.opcode, dut.operand)
        before = bench.past(instruction, name="instruction")
        m.d.sync += steady.eq(Mux(instruction == before, Mux(steady == 3, 3, steady + 1), 0))
        bench.assume(~(dut.start & busy))
        bench.assume(~(busy | dut.start) | ((instruction == before) & (steady == 3)))
        bench.assume(load | store | pull | emit)
        bench.assume(~(store & whole))
        bench.assume(dut.fields.count != 0)
        key = bench.constant(config.beat_width, "key")

        def content(place: Value) -> Value:
            """What a memory holds; no two places the same."""
            return key ^ place

        places = bench.past(dut.place, MEMORY_LATENCY + STORED_LATENCY, name="place")
        m.d.comb += dut.read_data.eq(Mux(dut.stores, content(places), 0))

        # Number of the beat, of all beats, and its place.
        number, total = Signal(_BITS), Signal(_BITS)
        m.d.comb += total.eq(Mux(load | store, dut.fields.count * parts, parts))
        place = Signal.like(dut.place)
        m.d.comb += place.eq(Mux(whole, dut.fields.base + number // parts, dut.fields.base * parts + number))
        taken, given = dut.input.valid & dut.input.ready, dut.output.valid & dut.output.ready
        last = number == total - 1
        with m.If(dut.start):
            m.d.sync += number.eq(0)
        with m.Elif(taken | given):
            m.d.sync += number.eq(number + 1)
        active = busy & (number < total)
        bench.check(~dut.input.ready | (active & (load | pull)), "no beat is taken but by LOAD and PULL")
        bench.check(~dut.output.valid | (active & (store | emit)), "no beat is given but by STORE and EMIT")

        # LOAD writes every beat in the next cycle; of a table's entry, the last beat.
        writes = taken & load & (~whole | (number % parts == parts - 1))
        due, where, what = Signal(), Signal.like(dut.place), Signal.like(dut.input.payload)
        m.d.sync += [due.eq(writes), where.eq(place), what.eq(dut.input.payload)]
        bench.check(dut.write_enable == due, "every beat is written once")
        bench.check(
            ~due | ((dut.place == where) & (dut.write_data == what)), "a beat is written unchanged in its place"
        )

        scalar = Signal(signed(config.beat_width))
        m.d.comb += scalar.eq(dut.operand)
        payload = Mux(emit, scalar.as_unsigned(), content(place))
        bench.check(~dut.output.valid | (dut.output.payload == payload), "beats are given unchanged and in order")
        ends = Signal()
        m.d.sync += ends.eq(taken & load & last)
        bench.check(dut.done == (ends | (last & (given | (taken & pull)))), "it is done with the last beat")
        bench.check(~(dut.done & pull) | (dut.result == dut.input.payload[:32]), "PULL gives the last beat")
        bench.check(
            dut.waiting == ((dut.input.ready & ~dut.input.valid) | (dut.output.valid & ~dut.output.ready)), "it waits"
        )
        # Nobody waits for ever: it asks within a few cycles.
        patience = Signal(range(STORE_INTERVAL + 2))
        m.d.sync += patience.eq(Mux(active & ~dut.start & ~dut.input.ready & ~dut.output.valid, patience + 1, 0))
        bench.check(patience < STORE_INTERVAL, "it asks or offers within a few cycles")

        # How the component counts.
        part, remaining, latency = (bench.register(name) for name in ("part", "remaining", "latency"))
        idle, write = bench.state("IDLE"), bench.state("WRITE")
        at_work = ~idle & ~write
        bench.invariant(idle == ~busy, "busy")
        for name, which in (("LOAD", load), ("STORE", store), ("PULL", pull), ("EMIT", emit)):
            bench.invariant(~bench.state(name) | (which & (number < total)), f"state {name}")
        bench.invariant(~write | (load & (number == total) & ends), "state WRITE")
        bench.invariant(~at_work | (part == number % parts), "part")
        bench.invariant(idle == 0 if parts == 0 else (~idle | (part == 0)), "part at rest")
        bench.invariant(~at_work | ~(load | store) | (remaining == (dut.fields.count - number // parts)), "remaining")
        bench.invariant(~at_work | ~store | (dut.place == place), "place of STORE")
        loading = Mux(due, where, place)
        bench.invariant(~bench.state("LOAD") | (dut.place == loading), "place of LOAD")
        bench.invariant(bench.register("$signal") == bench.past(whole, name="whole"), "whole")
        bench.invariant(~at_work | ~emit | (latency <= 2), "latency of EMIT")
        bench.invariant(~busy | (number <= total), "number")
        bench.invariant(~ends | write, "end")
        bench.invariant(~due | (load & busy), "due")

    return body


def _proof(name: str, size: str, config: EngineConfig, faults: tuple[Change, ...]) -> Proof:
    return Proof(
        name,
        "LOAD writes, STORE gives, PULL takes and EMIT gives exactly the beats that the instruction names: each once, "
        "unchanged, in order, from and to its place, however the streams pause.",
        size,
        lambda: TransferUnit(config),
        specify(config),
        faults=faults,
        depth=MEMORY_LATENCY + STORED_LATENCY + 5,
        fault_depth=24,
        slow=True,
    )


PROOFS = (
    _proof(
        "transfer",
        "beats of 48 bits, a beat a word",
        ONE,
        (
            Change("STORE waits too short", "latency", only("+", lambda old: old + 1)),
            Change("places do not advance", "place", only("+", lambda old: old - 1)),
        ),
    ),
    _proof(
        "transfer in parts",
        "beats of 48 bits, two a word",
        PARTS,
        (Change("each part of an entry is written", "write_enable", only("&", lambda old: old.operands[0])),),
    ),
)
