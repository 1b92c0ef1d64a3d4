"""PERTURB and ACCUMULATE: one traversal of a tensor with one sign from the generator for every parameter."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.engine import EngineConfig
from dither.generator import BLOCK_BITS, INDEX_ALIGNMENT
from dither.timing import MEMORY_LATENCY

from .generator import Generator
from .interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout

__all__ = ["ParameterUnit"]

assert MEMORY_LATENCY == 2, "two stages select the signs while a word is read"

_MASTER_BITS = 32


class ParameterUnit(wiring.Component):
    """Writes working weights (PERTURB) or adds to gradient accumulators (ACCUMULATE), one word a cycle.

    ``w = sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))`` or ``gradient += difference * xi`` modulo 2**32. The
    traversal is that of ``docs/architecture.md``: inputs outside, row tiles inside, so that indices only grow and
    every generator block is used once. The next block is generated while this one is used.

    Cycles: :func:`dither.timing.execution_cycles`. A block of n words costs ``max(n, generator_cycles)``; the first
    one cannot be hidden. PERTURB with ``random`` 0 waits for no block. Nothing depends on data.
    From a word's address to its write: PERTURB 4 cycles, ACCUMULATE 3 (no word is visited twice, so a
    read-modify-write needs no forwarding).

    Resources (ECP5, R = 4, W = 18, the generator included): about 1200 LUT4, 240 carry cells, 790
    flip-flops.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle.
    accumulate : In(1)
        1: ACCUMULATE; 0: PERTURB. Like all operands stable from start to done.
    fields : In
        PERTURB's layout; ACCUMULATE's is the same up to ``probe``, and what stands behind it is ignored then.
    seed, step, probe, difference : In(32)
        Values of the registers that the fields of these names choose.
    master, gradient : Out
        Read ports, R times 32 bits.
    gradient_write, weight_write : Out
        Write ports, R times 32 and R times W bits.
    saturations : Out
        Working weights clipped in the word that is written in this cycle.

    :param config: gives R, W and the generator's rounds per cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "accumulate": In(1),
                "fields": In(instruction_layout("PERTURB")),
                "seed": In(32),
                "step": In(32),
                "probe": In(32),
                "difference": In(32),
                "master": Out(ReadPort(config.rows * _MASTER_BITS)),
                "gradient": Out(ReadPort(config.rows * _MASTER_BITS)),
                "gradient_write": Out(WritePort(config.rows * _MASTER_BITS)),
                "weight_write": Out(WritePort(config.rows * config.width)),
                "saturations": Out(range(config.rows + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        random = Signal()
        m.d.comb += random.eq(self.accumulate | self.fields.random)
        # Words waiting to be issued, and whether the block that the next one needs is at hand.
        active, ready = Signal(), Signal()
        issue = Signal()
        m.d.comb += issue.eq(active & (ready | ~random))

        address, position, leaves_block, last = self._traverse(m, issue, active)
        signs = self._signs(m, random, issue, position, leaves_block, ready)
        self._compute(m, issue, last, address, signs, random)
        return m

    def _traverse(self, m: Module, issue: Value, active: Signal) -> tuple[Value, Value, Value, Value]:
        """The word at hand: its address, the position of its first sign in the block, and whether it is the last
        of its block and of the tensor. All are registers, found while the word before it is at hand."""
        rows, fields = self.config.rows, self.fields
        tiles_left, inner_left = Signal(16), Signal(16)
        address, column = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        position = Signal(range(BLOCK_BITS))
        ends_row, leaves_block, last = Signal(), Signal(), Signal()
        next_ends_row, next_last = Signal(), Signal()
        following = Signal(range(BLOCK_BITS))
        behind = Signal(range(2 * BLOCK_BITS))
        padding = Signal(range(INDEX_ALIGNMENT))
        m.d.sync += padding.eq(-(fields.tiles * rows))
        m.d.comb += [
            next_ends_row.eq(Mux(ends_row, fields.tiles == 1, tiles_left == 2)),
            next_last.eq(next_ends_row & (inner_left == Mux(ends_row, 2, 1))),
            following.eq(position + rows + Mux(ends_row, padding, 0)),
            behind.eq(following + rows + Mux(next_ends_row, padding, 0)),
        ]
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                tiles_left.eq(fields.tiles),
                inner_left.eq(fields.inner),
                address.eq(fields.base),
                column.eq(fields.base),
                position.eq(0),
                ends_row.eq(fields.tiles == 1),
                leaves_block.eq(0),
                last.eq((fields.tiles == 1) & (fields.inner == 1)),
            ]
        with m.Elif(issue):
            m.d.sync += [
                active.eq(~last),
                position.eq(following),
                ends_row.eq(next_ends_row),
                leaves_block.eq(behind[-1]),
                last.eq(next_last),
            ]
            with m.If(ends_row):
                m.d.sync += [
                    tiles_left.eq(fields.tiles),
                    inner_left.eq(inner_left - 1),
                    address.eq(column + 1),
                    column.eq(column + 1),
                ]
            with m.Else():
                m.d.sync += [tiles_left.eq(tiles_left - 1), address.eq(address + fields.inner)]
        return address, position, leaves_block, last

    def _signs(
        self, m: Module, random: Value, issue: Value, position: Value, leaves_block: Value, ready: Signal
    ) -> Value:
        """R sign bits (1: plus), in the cycle in which the word's data arrive."""
        rows = self.config.rows
        m.submodules.generator = generator = Generator(self.config.rounds_per_cycle)
        fresh = Signal()  # the generator holds a block that was not taken yet
        take, primed = Signal(), Signal()
        block = Signal(len(self.fields.block) + 1)  # a tensor that fits in the memories has some thousand blocks
        current = Signal(BLOCK_BITS, reset_less=True)
        m.d.comb += [
            take.eq((generator.done | fresh) & (~ready | (issue & leaves_block))),
            generator.load_key.eq(self.start & random),
            generator.seed.eq(self.seed),
            generator.step.eq(self.step),
            generator.block.eq(block),
            generator.probe.eq(self.probe),
            generator.start.eq(primed | take),
        ]
        key_loaded = Signal()
        m.d.sync += [key_loaded.eq(generator.load_key), primed.eq(key_loaded)]
        with m.If(self.start):
            m.d.sync += [block.eq(self.fields.block), ready.eq(0), fresh.eq(0)]
        with m.Else():
            with m.If(generator.start):
                m.d.sync += block.eq(block + 1)
            with m.If(take):
                m.d.sync += [current.eq(generator.bits), ready.eq(1), fresh.eq(0)]
            with m.Else():
                m.d.sync += fresh.eq(generator.done | fresh)
                with m.If(issue & leaves_block):
                    m.d.sync += ready.eq(0)

        byte, place = Signal(INDEX_ALIGNMENT), Signal(range(INDEX_ALIGNMENT))
        signs = Signal(rows)
        m.d.sync += [
            byte.eq(current.word_select(position[3:], INDEX_ALIGNMENT)),
            place.eq(position[:3]),
            signs.eq(byte.bit_select(place, rows)),
        ]
        return signs

    def _compute(self, m: Module, issue: Value, last: Value, address: Value, signs: Value, random: Value) -> None:
        config = self.config
        discarded = _MASTER_BITS - config.width
        # Both signs' addends, the rounding half included, are made once for the whole tensor.
        plus, minus = Signal(signed(34), reset_less=True), Signal(signed(34), reset_less=True)
        half = Const(1 << (discarded - 1))
        amplitude = self.fields.amplitude
        with m.If(self.accumulate):
            m.d.sync += [plus.eq(self.difference), minus.eq(-self.difference)]
        with m.Elif(random):
            m.d.sync += [plus.eq(half + amplitude), minus.eq(half - amplitude)]
        with m.Else():
            m.d.sync += [plus.eq(half), minus.eq(half)]

        sums = Signal(data.ArrayLayout(signed(34), config.rows), reset_less=True)
        clipped = Signal(config.rows)
        for row in range(config.rows):
            part = slice(row * _MASTER_BITS, (row + 1) * _MASTER_BITS)
            old = Mux(self.accumulate, self.gradient.data[part], self.master.data[part]).as_signed()
            m.d.sync += sums[row].eq(old + Mux(signs[row], plus, minus))

            rounded = sums[row][discarded:]
            sign, high = rounded[-1], rounded[config.width - 1 : -1]
            weight = self.weight_write.data.word_select(row, config.width)
            m.d.comb += clipped[row].eq(Mux(sign, ~high.all(), high.any()))
            limit = Cat((~sign).replicate(config.width - 1), sign)
            m.d.sync += weight.eq(Mux(clipped[row], limit, rounded[: config.width]))
            m.d.comb += self.gradient_write.data[part].eq(sums[row][:_MASTER_BITS])

        # What travels along with a word: valid, last of all, its address.
        layout = data.StructLayout({"valid": 1, "last": 1, "addr": unsigned(ADDRESS_BITS)})
        stages = [Signal(layout, name=f"stage{i}") for i in range(MEMORY_LATENCY + 2)]
        source: Value = Cat(issue, issue & last, address)
        for stage in stages:
            m.d.sync += stage.eq(source)
            source = stage.as_value()
        summed, saturated = stages[-2:]
        # ACCUMULATE ends a stage earlier: nothing of it may reach into the next instruction.
        with m.If(self.accumulate):
            m.d.sync += [saturated.valid.eq(0), saturated.last.eq(0)]
        m.d.comb += [
            self.master.addr.eq(address),
            self.gradient.addr.eq(address),
            self.gradient_write.enable.eq(summed.valid & self.accumulate),
            self.gradient_write.addr.eq(summed.addr),
            self.weight_write.enable.eq(saturated.valid),
            self.weight_write.addr.eq(saturated.addr),
            self.done.eq((summed.last & self.accumulate) | saturated.last),
        ]
        with m.If(summed.valid & ~self.accumulate):
            m.d.sync += self.saturations.eq(sum(clipped))
        with m.Else():
            m.d.sync += self.saturations.eq(0)
