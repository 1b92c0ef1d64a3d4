"""The perturbation generator: blocks of 64 random bits, by Threefry-2x32 with 20 rounds.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, *Parallel random numbers: as easy as 1,
2, 3*, SC'11.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.generator import BLOCK_BITS, KEY_PARITY, ROTATIONS, ROUNDS, ROUNDS_PER_INJECTION

__all__ = ["Generator"]

_INJECTIONS = ROUNDS // ROUNDS_PER_INJECTION + 1


class Generator(wiring.Component):
    """Generates blocks of 64 random bits from a key (seed, step) and a counter (block, probe).

    It is Threefry-2x32-20, as in :func:`dither.arch.generator.blocks`, computed step by step. A
    block takes :func:`dither.arch.timing.generator_cycles`: one cycle for each of six key
    injections (the first of them is the start) and ``20 / rounds_per_cycle`` for the rounds. The
    next block may start in the cycle of ``done``, so that is also the interval from block to block.

    Rounds and injections share the registers of the two words, and the first word's adder. The
    key's words stand in a ring that turns with every injection; six turns bring it back to where it
    began, so one load of a key is enough for any number of blocks. Each injection's number is added
    to its key word one injection ahead, which leaves a single adder in every path.

    Resources, one round a cycle: ECP5 about 600 LUT4, 80 carry cells, 270 flip-flops; iCE40 610
    LUT4 (carries among them), 270 flip-flops. No multiplier, no memory. Alone in an ECP5 (speed
    grade 6) it reaches 138, 98 and 60 MHz with 1, 2 and 4 rounds a cycle.

    Attributes
    ----------
    stop : In(1)
        Abandons the block that is under way: its ``done`` does not come.
    load_key : In(1)
        Takes ``seed`` and ``step`` as key and abandons the block that is under way. The first
        ``start`` comes a cycle later at the earliest.
    seed, step : In(32)
        The key.
    start : In(1)
        Starts a block; allowed only while none is under way.
    block, probe : In(32)
        The counter, taken together with ``seed`` and ``step`` one cycle before ``start``. Their
        sums then wait in registers, which keeps a late ``start`` away from the adders.
    ends : Out(1)
        ``done`` comes in the next cycle; for logic that wants to register it.
    done : Out(1)
        A pulse :func:`~dither.arch.timing.generator_cycles` after ``start``: the block is complete.
    bits : Out(64)
        The block, from ``done`` to the end of the cycle of the next ``start``.

    :param rounds_per_cycle: rounds in the logic of one cycle: 1, 2 or 4.
    :raises ValueError: on other numbers of rounds.
    """

    def __init__(self, rounds_per_cycle: int) -> None:
        if rounds_per_cycle not in (1, 2, 4):
            raise ValueError(f"rounds_per_cycle must be 1, 2 or 4, not {rounds_per_cycle}")
        self.rounds_per_cycle = rounds_per_cycle
        super().__init__(
            {
                "stop": In(1),
                "load_key": In(1),
                "seed": In(32),
                "step": In(32),
                "start": In(1),
                "block": In(32),
                "probe": In(32),
                "ends": Out(1),
                "done": Out(1),
                "bits": Out(BLOCK_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        group_cycles = ROUNDS_PER_INJECTION // self.rounds_per_cycle
        low, high = Signal(32, reset_less=True), Signal(32, reset_less=True)
        running = Signal()
        cycle = Signal(range(max(group_cycles, 2)))  # of the rounds between two injections
        number = Signal(range(_INJECTIONS))  # of the next injection
        last = Signal()
        due, inject = Signal(), Signal()
        stop = self.load_key | self.stop
        m.d.comb += [
            last.eq(number == _INJECTIONS - 1),
            inject.eq(self.start | due),
            self.bits.eq(Cat(low, high)),
            self.ends.eq(due & last & ~stop),
        ]

        ring = [Signal(32, name=f"key{i}", reset_less=True) for i in range(3)]
        high_key = Signal(32, reset_less=True)
        # The ring of keys turns with every injection; with the first one it turns a cycle late,
        # which is soon enough for the next.
        started = Signal()
        following = Signal.like(number)
        m.d.comb += following.eq(Mux(last, 0, number + 1))
        m.d.sync += started.eq(self.start)
        with m.If(self.load_key):
            parity = self.seed ^ self.step ^ KEY_PARITY
            m.d.sync += [ring[0].eq(self.seed), ring[1].eq(self.step), ring[2].eq(parity), high_key.eq(self.step)]
        with m.Elif(due | started):
            m.d.sync += [key.eq(source) for key, source in zip(ring, ring[1:] + ring[:1], strict=True)]
            m.d.sync += high_key.eq(ring[2] + Mux(started, number, following))
        with m.If(self.load_key):
            m.d.sync += number.eq(0)
        with m.Elif(inject):
            m.d.sync += number.eq(following)

        m.d.sync += [
            self.done.eq(self.ends),
            due.eq(running & ~due & (cycle == group_cycles - 1) & ~stop),
            cycle.eq(cycle + 1),
        ]
        with m.If(inject):
            m.d.sync += [running.eq(~last), cycle.eq(0)]
        with m.If(stop):
            m.d.sync += running.eq(0)

        first_low, first_high = Signal(32, reset_less=True), Signal(32, reset_less=True)
        m.d.sync += [first_low.eq(self.block + self.seed), first_high.eq(self.probe + self.step)]

        # The first round of a cycle shares its adder with injections. All injections but the first
        # happen while the generator is running.
        low_sum = Signal(32)
        m.d.comb += low_sum.eq(low + Mux(due, ring[0], high))
        with m.If(running):
            mixed_low, mixed_high = self._rounds(m, low_sum, high, Cat(cycle[: _bits(group_cycles)], ~number[0]))
            m.d.sync += [low.eq(mixed_low), high.eq(mixed_high)]
            with m.If(due):
                m.d.sync += [low.eq(low_sum), high.eq(high + high_key)]
        with m.Elif(self.start):
            m.d.sync += [low.eq(first_low), high.eq(first_high)]
        return m

    def _rounds(self, m: Module, low_sum: Value, high: Value, group: Value) -> tuple[Value, Value]:
        """Returns both words after the rounds of one cycle.

        :param group: number of this cycle within a full turn of the rotations.
        """
        low = low_sum
        for i in range(self.rounds_per_cycle):
            if i:
                low = low + high
            rotations = ROTATIONS[i :: self.rounds_per_cycle]
            mixed_low, mixed_high = Signal(32, name=f"low{i}"), Signal(32, name=f"high{i}")
            rotated = Array(high.rotate_left(rotation) for rotation in rotations)[group]
            m.d.comb += [mixed_low.eq(low), mixed_high.eq(rotated ^ mixed_low)]
            low, high = mixed_low, mixed_high
        return low, high


def _bits(count: int) -> int:
    """Returns how many bits it takes to count from 0 to ``count - 1``."""
    return (count - 1).bit_length()
