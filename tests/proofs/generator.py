"""The generator computes Threefry, and abandons what it is told to."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Mux, Signal

from dither.arch.generator import KEY_PARITY, ROTATIONS, ROUNDS, ROUNDS_PER_INJECTION
from dither.arch.timing import generator_cycles
from dither_hw.base.generator import Generator
from tests.benches.mutation import Change

from .harness import Bench, Proof


def specify(rounds_per_cycle: int) -> Callable[[Bench], None]:
    """The specification goes through the definition's rounds and injections, one step a cycle."""
    group = ROUNDS_PER_INJECTION // rounds_per_cycle
    groups = ROUNDS // ROUNDS_PER_INJECTION
    cycles = groups * (group + 1)
    assert cycles + 1 == generator_cycles(rounds_per_cycle), "the start is the first of the formula's cycles"

    def body(bench: Bench) -> None:
        m, dut = bench.m, bench.dut
        # The key, which stands until the next one, and the block under way: in its cycle 1, 2, ...
        seed, step, keyed = Signal(32), Signal(32), Signal()
        time, x, y = Signal(range(cycles + 1)), Signal(32), Signal(32)
        number, place = Signal(range(groups + 1)), Signal(range(group + 1))
        stops = dut.stop | dut.load_key
        before = {name: bench.past(getattr(dut, name), name=name) for name in ("seed", "step", "block", "probe")}
        bench.assume(~dut.start | (keyed & (time == 0) & ~dut.load_key & ~dut.stop))
        bench.assume(~dut.start | ((before["seed"] == seed) & (before["step"] == step)))

        keys = Array([seed, step, seed ^ step ^ KEY_PARITY])
        first, second = Signal(32), Signal(32)
        m.d.comb += [first.eq(keys[(number + 1) % 3]), second.eq(keys[(number + 2) % 3] + (number + 1))]
        ends = Signal()
        m.d.comb += ends.eq((time == cycles) & ~stops)
        with m.If(time != 0):
            m.d.sync += [time.eq(Mux(time == cycles, 0, time + 1)), place.eq(Mux(place == group, 0, place + 1))]
            with m.If(place == group):
                m.d.sync += [x.eq(x + first), y.eq(y + second), number.eq(number + 1)]
            with m.Else():
                left, right = x, y
                for i in range(rounds_per_cycle):
                    total, mixed = Signal(32, name=f"total{i}"), Signal(32, name=f"mixed{i}")
                    turns = Array(ROTATIONS[n % 8] for n in range(i, 8, rounds_per_cycle))
                    turned = Array(right.rotate_left(turn) for turn in turns)
                    m.d.comb += [
                        total.eq(left + right),
                        mixed.eq(turned[Cat(place[: group.bit_length() - 1], number[0])]),
                    ]
                    left, right = total, mixed ^ total
                m.d.sync += [x.eq(left), y.eq(right)]
        with m.If(dut.start):
            m.d.sync += [time.eq(1), number.eq(0), place.eq(0)]
            m.d.sync += [x.eq(before["block"] + seed), y.eq(before["probe"] + step)]
        with m.If(stops):
            # What was abandoned leaves its key turned: another one must be loaded.
            m.d.sync += [time.eq(0), keyed.eq(keyed & (time == 0))]
        with m.If(dut.load_key):
            m.d.sync += [seed.eq(dut.seed), step.eq(dut.step), keyed.eq(1)]
        bench.check(dut.ends == ends, "the end is announced a cycle before it")
        bench.check(dut.done == bench.past(ends, name="ends"), "done follows the formula")
        with m.If(dut.done):
            bench.check(dut.bits == Cat(x, y), "bits are those of the definition")
        fresh = Signal()
        m.d.sync += fresh.eq((fresh | ends) & ~(dut.start | dut.load_key))
        with m.If(fresh):
            bench.check(dut.bits == Cat(x, y), "bits stay until the next start")

        its = {name: bench.register(name) for name in ("running", "cycle", "number", "high_key", "started")}
        # Amaranth gives these no names.
        (due,) = (r for r in bench.registers() if r.name == "$signal" and len(r) == 1)
        ring = [bench.register(f"key{i}") for i in range(3)]
        running = time != 0
        bench.invariant(its["running"] == running, "running")
        bench.invariant(due == (running & (place == group)), "due")
        bench.invariant(~running | (place == group) | (its["cycle"] == place), "cycle")
        bench.invariant(~running | (its["number"] == Mux(number == groups, 0, number + 1)), "number")
        bench.invariant(running | ~keyed | (its["number"] == 0), "number at rest")
        bench.invariant(its["started"] == bench.past(dut.start, name="start"), "started")
        bench.invariant(~its["started"] | (time == 1), "start")
        bench.invariant(~running | keyed, "key")
        bench.invariant((~running & ~fresh) | (dut.bits == Cat(x, y)), "words")
        bench.invariant(~running | ((place <= group) & (number < groups)), "places")
        bench.invariant(~running | (time == number * (group + 1) + place + 1), "time")
        bench.invariant(~(fresh & running), "fresh")
        turned = Mux(running & (time != 1), number + 1, 0)
        for i in range(3):
            wanted = Signal(32, name=f"wanted{i}")
            m.d.comb += wanted.eq(keys[(turned + i) % 3])
            bench.invariant(~keyed | (ring[i] == wanted), "ring")
        bench.invariant(~running | (time == 1) | (its["high_key"] == second), "second key")
        firsts = [r for r in bench.registers() if r.name in ("$signal", "first_high") and len(r) == 32][:2]
        for register, one, other in zip(firsts, ("block", "probe"), ("seed", "step"), strict=True):
            bench.invariant(register == (before[one] + before[other])[:32], "first words")

    return body


PROOFS = tuple(
    Proof(
        f"generator, {rounds} round{'s' * (rounds > 1)} a cycle",
        "From any key and counter come, in the cycle that the formula names, the 64 bits of Threefry-2x32-20; what is "
        "stopped never comes.",
        "",
        lambda rounds=rounds: Generator(rounds),
        specify(rounds),
        faults=(Change("an injection lacks its number", "high_key", lambda old, c, m: old - 1),),
        depth=2,
        fault_depth=generator_cycles(rounds) + 8,
        slow=rounds > 1,
    )
    for rounds in (1, 2, 4)
)
