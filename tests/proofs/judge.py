"""The judge decides as the link's description says, and nothing has an effect before it has."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from dither.arch.regmap import MAGIC
from dither.link.protocol import MAX_READ_WORDS, MAX_RESPONSE_BODY, Reason, RequestType
from dither_hw.link.columns import RequestField
from dither_hw.link.judge import KIND_BITS, Judge
from dither_hw.link.serial import SLOT_CYCLES, SlotCounter
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

_STATES = ("WAIT", "TYPE", "ARGUMENT", "SESSION", "NUMBER", "STATE", "EFFECT", "SETTLE")


def specify(bench: Bench) -> None:
    """The specification sees a request's numbers whole, and decides once about each."""
    m, dut = bench.m, bench.dut
    m.submodules.counter = counter = SlotCounter()
    slot = counter.slot
    m.d.comb += dut.slot.eq(slot)
    time = Signal(range(SLOT_CYCLES))
    m.d.sync += time.eq(Mux(time == SLOT_CYCLES - 1, 0, time + 1))
    bench.invariant(slot.gap == (time == 0), "gap")
    bench.invariant(slot.last == (time == SLOT_CYCLES - 1), "last")
    bench.invariant((time == 0) | (slot.bit == time - 1), "bit")
    bench.invariant(slot.ahead == Mux(time == SLOT_CYCLES - 1, 0, time), "ahead")
    state = {name: bench.state(name) for name in _STATES}

    # A request and the board's numbers: any, but steady from the frame's end on.
    numbers = {}
    for name in ("type", "session", "number", "argument", "own", "next"):
        numbers[name] = Signal(16, name=f"request_{name}")
        with m.If(state["WAIT"]):
            m.d.sync += numbers[name].eq(bench.free(16, f"new_{name}"))
    ended = bench.past(dut.ended, name="ended")
    bench.assume(dut.ended | ~ended | bench.past(dut.done, name="done"))
    steady = Cat(dut.sound, dut.begun, dut.occupied)
    bench.assume(state["WAIT"] | (steady == bench.past(steady, name="steady")))
    read = Signal(16)
    for number, name in (
        (RequestField.TYPE, "type"),
        (RequestField.SESSION, "session"),
        (RequestField.NUMBER, "number"),
        (RequestField.ARGUMENT, "argument"),
    ):
        with m.If(dut.field == number):
            m.d.comb += read.eq(numbers[name])
    own, following = numbers["own"], numbers["next"]
    m.d.comb += [
        dut.bit.eq(read.bit_select(slot.bit, 1)),
        dut.session.out.eq(own.bit_select(slot.bit, 1)),
        dut.next.out.eq(following.bit_select(slot.bit, 1)),
    ]

    # The decision, one question after the other; the buffers are asked at the end of their slot.
    kind, argument = numbers["type"][:8], numbers["argument"]
    is_a = {request.name: kind == request.value for request in RequestType}
    known = Cat(*is_a.values()).any()
    sequenced = is_a["WRITE"] | is_a["DATA"] | is_a["START"]
    length = Mux(
        is_a["PING"], 0, Mux(is_a["WRITE"], dut.bodyless | ~dut.words, Mux(is_a["DATA"], dut.bodyless, ~dut.bodyless))
    )
    count = Mux(
        is_a["READ"],
        (argument == 0) | (argument > MAX_READ_WORDS),
        (is_a["FETCH"] | is_a["PING"]) & (argument > MAX_RESPONSE_BODY),
    )
    stranger = Mux(is_a["HELLO"], numbers["session"] == 0, numbers["session"] != own)
    disorder = Mux(
        is_a["FETCH"],
        ~dut.within,
        Mux(is_a["HELLO"], numbers["number"] != (MAGIC & 0xFFFF), sequenced & (numbers["number"] != following)),
    )
    busy = Mux(is_a["WRITE"], dut.busy | dut.writing | dut.nonempty, is_a["START"] & (dut.busy | dut.writing))
    room = (is_a["DATA"] | is_a["WRITE"]) & (dut.overflow | dut.writing)
    reason = Signal(4)
    for name, wrong, why in (
        ("ARGUMENT", length | count | ~known, Const(Reason.MALFORMED, 4)),
        ("SESSION", stranger, Mux(is_a["HELLO"], Reason.MALFORMED, Reason.SESSION)),
        (
            "NUMBER",
            disorder,
            Mux(is_a["FETCH"], Reason.POSITION, Mux(is_a["HELLO"], Reason.MALFORMED, Reason.SEQUENCE)),
        ),
        ("STATE", busy | room, Mux(busy, Reason.BUSY, Reason.ROOM)),
    ):
        with m.If(state[name] & slot.last & wrong & (reason == Reason.OK)):
            m.d.sync += reason.eq(why)
    admitted = Signal()
    with m.If(state["WAIT"]):
        m.d.sync += [admitted.eq(slot.last & dut.ended & dut.sound), reason.eq(Reason.OK)]

    # What may happen, and when: in one slot of eight, of a frame that was sound.
    fresh = Signal(init=1)
    with m.If(slot.last):
        m.d.sync += fresh.eq(0)
    effect = state["EFFECT"]
    works = effect & (reason == Reason.OK)
    opens = works & is_a["HELLO"] & (numbers["session"] != own)
    bench.check(~effect | admitted, "a frame that is not sound has no effect")
    for name, wanted in (
        ("commit", works & (is_a["WRITE"] | is_a["DATA"])),
        ("start", works & is_a["START"]),
        ("write", works & is_a["WRITE"]),
        ("acknowledge", works & is_a["FETCH"] & ~dut.occupied),
        ("forget", opens | fresh),
        ("remember", effect & slot.last & ~dut.occupied),
        ("settle", state["SETTLE"]),
        ("done", state["SETTLE"] & slot.last),
        ("clear", bench.past(opens & slot.gap, name="opens")),
    ):
        bench.check(getattr(dut, name) == wanted, f"{name} comes exactly when it must")
    bench.check(~effect | (dut.query == (known & ~sequenced)), "queries are known")
    grown, code = Signal(16), Signal(16)
    m.d.comb += [grown.eq(following + (works & sequenced)), code.eq(Mux(effect & ~dut.occupied, reason << 8, 0))]
    with m.If(~slot.gap):
        new_next = Mux(dut.forget, 0, grown.bit_select(slot.bit, 1))
        bench.check(dut.next.enter == new_next, "the sequence number grows with what takes effect")
        new_own = Mux(fresh, 0, Mux(opens, numbers["session"].bit_select(slot.bit, 1), dut.session.out))
        bench.check(dut.session.enter == new_own, "a session begins with HELLO alone")
        answered = Mux(effect & ~dut.occupied, code.bit_select(slot.bit, 1), dut.reason.out)
        bench.check(dut.reason.enter == answered, "the reason is answered")
    error, opened = Signal(), Signal()
    with m.If(state["WAIT"] & slot.last & dut.ended & ~dut.sound & dut.begun):
        m.d.sync += error.eq(1)
    with m.If(dut.clear):
        m.d.sync += error.eq(0)
    with m.If(opens):
        m.d.sync += opened.eq(1)
    bench.check((dut.error == error) & (dut.opened == opened), "what the board shows")

    # How the component counts. Of numbers that come bit by bit, it has seen those below the time.
    seen = Signal(16)
    m.d.comb += seen.eq((Const(1, 17) << time) - 1 >> 1)
    later = ["ARGUMENT", "SESSION", "NUMBER", "STATE", "EFFECT"]
    known_kind = Cat(*(state[name] for name in later)).any()
    its_kind, its_known, its_reason, its_own = (bench.register(name) for name in ("kind", "known", "reason", "own"))
    bench.invariant(~known_kind | (its_kind == kind[:KIND_BITS]), "kind")
    bench.invariant(~known_kind | (its_known == ~kind[KIND_BITS:].any()), "known")
    bench.invariant(~(state["TYPE"] & slot.gap) | its_known, "known at first")
    done_bits = Signal(KIND_BITS)
    m.d.comb += done_bits.eq(~((1 << KIND_BITS) - 1 >> Mux(slot.gap, 0, Mux(slot.bit > 3, 3, slot.bit))))
    moved = Signal(KIND_BITS)
    m.d.comb += moved.eq(Cat(Const(0, 3), kind[:3]) >> Mux(slot.gap, 0, Mux(slot.bit > 3, 3, slot.bit)))
    bench.invariant(~state["TYPE"] | ((its_kind & done_bits) == (moved & done_bits)), "kind comes")
    bench.invariant(~(state["TYPE"] & ~slot.gap) | (its_known == ~(kind & seen & 0xF8).any()), "known comes")
    bench.invariant(~known_kind | (Value.cast(its_reason) == reason), "reason")
    bench.invariant(~(state["TYPE"] | state["ARGUMENT"]) | (reason == 0), "no reason yet")
    for name in ("SESSION", "NUMBER", "STATE", "EFFECT"):
        bench.invariant(~state[name] | known | (reason == Reason.MALFORMED), "unknown type")
    bench.invariant(~state["TYPE"] | (Value.cast(its_reason) == 0), "no reason before")
    bench.invariant(~(known_kind | state["TYPE"]) | admitted, "admitted")
    for name in ("NUMBER", "STATE", "EFFECT"):
        bench.invariant(~state[name] | (its_own == (numbers["session"] == own)), "own")
    bench.invariant(bench.register("fresh") == fresh, "fresh")
    bench.invariant(~fresh | state["WAIT"], "first slot")
    bench.invariant(~dut.clear | (effect & (time == 1)), "clear")
    wanted = Signal(16)
    m.d.comb += wanted.eq(following)
    # Of an unknown type, which is refused first, it looks at the lowest bits.
    with m.If(kind[:KIND_BITS] == RequestType.HELLO):
        m.d.comb += wanted.eq(MAGIC & 0xFFFF)
    with m.If(state["SESSION"]):
        m.d.comb += wanted.eq(own)
    limit = Mux(kind[:KIND_BITS] == RequestType.READ, MAX_READ_WORDS, MAX_RESPONSE_BODY)
    for name in ("ARGUMENT", "SESSION", "NUMBER"):
        number = numbers[name.lower()]
        here = state[name] & ~slot.gap
        bench.invariant(~here | (bench.register("something_seen") == (number & seen).any()), "something")
        if name == "ARGUMENT":
            bench.invariant(~here | (bench.register("excess_before") == ((number & seen) > (limit & seen))), "excess")
        else:
            bench.invariant(~here | (bench.register("differs_seen") == ((number ^ wanted) & seen).any()), "differs")
    carry = bench.register("next_carry")
    bench.invariant(slot.gap | (carry == (works & sequenced & ((following & seen) == seen))), "carry")


PROOFS = (
    Proof(
        "judge",
        "Each request is decided as the link's description says, in the order of its checks; only then, in one slot of "
        "eight, and only of a frame that was sound, has it its effect, all of it and no other; sequence number and "
        "session change with it alone.",
        "",
        Judge,
        specify,
        faults=(
            Change(
                "only the first condition about a length counts", "malformed", only("|", lambda old: old.operands[0])
            ),
            Change(
                "a FETCH that is not remembered acknowledges", "acknowledge", only("&", lambda old: old.operands[0])
            ),
        ),
        depth=3,
        fault_depth=180,
        slow=False,
    ),
)
