"""The unit of PERTURB and ACCUMULATE: it meets every parameter with the probe's number for it."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.generator import BLOCK_BITS, INDEX_ALIGNMENT
from dither.arch.isa import GRADIENT_BITS, MASTER_BITS, Distribution
from dither.arch.timing import MEMORY_LATENCY, MULTIPLIER_LATENCY, PROBE_PRODUCT_CYCLES

from ..base.generator import Generator
from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout
from ..base.multiplier import Multiplier

__all__ = ["ParameterUnit"]

assert MEMORY_LATENCY == 4, "four stages select the signs while a word is read"
assert PROBE_PRODUCT_CYCLES == MULTIPLIER_LATENCY + 2 - MEMORY_LATENCY, "bits, product, sum of its halves"

_NARROW_BITS = MASTER_BITS + 2
"""Width in bits of a master plus an addend of a master's size plus the half that rounds."""
_XI_BITS = 9


class ParameterUnit(wiring.Component):
    """Makes working weights (PERTURB) or adds to gradient accumulators (ACCUMULATE).

    PERTURB computes ``w = sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))``, ACCUMULATE
    ``gradient += difference * xi`` modulo 2**48, where ``xi`` is the probe's number for the
    parameter. Both work on a part of a word in a cycle, or slower. Parameters are visited in the
    order of ``docs/arithmetic.md``: inputs outside, row tiles inside, so that their indices only
    grow and every generator block is used once. The next block is generated while this one is used.

    One *item* enters the pipeline at a time. That is a part of a word; but with UNIFORM and
    GAUSSIAN, where a block is enough for only 8 or 4 parameters, it is a single parameter, so that
    one multiplier is enough.

    Cycles: :func:`dither.arch.timing.execution_cycles`. A block that serves n items takes
    ``max(n, generator_cycles)``; generating the first block cannot be hidden. NONE and COORDINATE
    wait for no block. No number of cycles depends on data. From a part's address to its write:
    :data:`~dither.arch.timing.MEMORY_LATENCY` + 3 cycles in PERTURB, + 2 in ACCUMULATE (no part is
    visited twice, so no sum has to be forwarded); with UNIFORM and GAUSSIAN,
    :data:`~dither.arch.timing.PROBE_PRODUCT_CYCLES` more.

    Resources (ECP5, R = 4, W = 18, the generator included): about 1530 LUT4, 300 carry cells, 1090
    flip-flops, two multipliers, 120 MHz in nextpnr (speed grade 6, unit alone); without
    ``wide_probes`` 1200 LUT4, 280 carry cells, 890 flip-flops, no multiplier, 134 MHz.

    Attributes
    ----------
    reset : In(1)
        Makes the unit issue nothing more; what is under way leaves the pipeline.
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    accumulate : In(1)
        The instruction is ACCUMULATE if 1, PERTURB if 0. Like all operands it is stable from
        ``start`` to ``done``.
    fields : In
        The instruction in PERTURB's layout, a cycle before ``start`` at the latest. ACCUMULATE's
        layout is the same up to ``distribution``; what stands behind that is ignored then.
    seed, step, probe, difference : In(32)
        Values of the registers that the fields of these names choose.
    master, gradient : Out
        Read ports, of 32 and 48 bits for every parameter of a part of a word.
    gradient_write : Out
        Write port, of 48 bits for every parameter of a part of a word.
    weight_write : Out
        Write port, of W bits for every parameter of a part of a word, with an enable for each part.
        Its addresses are those of whole words.
    saturations : Out
        Number of working weights that were clipped in the part that is written in this cycle.

    :param config: gives R, W, the parts of a word, the generator's rounds per cycle, and whether
        there are UNIFORM and GAUSSIAN.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._rows = rows = config.part_rows
        self._part_bits = config.part_bits
        super().__init__(
            {
                "reset": In(1),
                "start": In(1),
                "done": Out(1),
                "accumulate": In(1),
                "fields": In(instruction_layout("PERTURB")),
                "seed": In(32),
                "step": In(32),
                "probe": In(32),
                "difference": In(32),
                "master": Out(ReadPort(rows * MASTER_BITS)),
                "gradient": Out(ReadPort(rows * GRADIENT_BITS)),
                "gradient_write": Out(WritePort(rows * GRADIENT_BITS)),
                "weight_write": Out(WritePort(rows * config.width, config.word_parts)),
                "saturations": Out(range(rows + 1)),
            }
        )
        self._item = data.StructLayout(
            {"whole": 1, "last": 1, "addr": unsigned(ADDRESS_BITS), "row": unsigned((rows - 1).bit_length())}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        uniform, gaussian = Signal(), Signal()
        self._wide, self._random = Signal(), Signal()
        if self.config.wide_probes:
            m.d.comb += [uniform.eq(self._is(Distribution.UNIFORM)), gaussian.eq(self._is(Distribution.GAUSSIAN))]
        random = uniform | gaussian | self._is(Distribution.RADEMACHER)
        m.d.sync += [self._wide.eq(uniform | gaussian), self._random.eq(random)]
        # Items waiting to be issued, and whether the block that the next one needs is at hand.
        active, ready = Signal(), Signal()
        issue = Signal()
        m.d.comb += issue.eq(active & ready)

        # Whether the item at hand is the last of its block.
        leaving = Signal()
        item, position, leaves, distance = self._traverse(m, issue, active, uniform, gaussian, leaving)
        bits = self._bits(m, leaves, leaving, ready)
        signs, byte, pair = self._select(m, bits, position, distance)
        source: Value = item
        product: Value = Const(0)
        if self.config.wide_probes:
            product = self._product(m, Mux(gaussian, _gaussian(pair), _uniform(byte)))
            for i in range(PROBE_PRODUCT_CYCLES):
                delayed = Signal(self._item, name=f"delayed{i}")
                m.d.sync += delayed.eq(source)
                source = delayed.as_value()
            source = Mux(self._wide, source, item)
        self._compute(m, source, signs, product)
        return m

    def _is(self, distribution: Distribution) -> Value:
        """Returns whether the instruction has this distribution."""
        return self.fields.distribution == distribution.value

    def _traverse(
        self, m: Module, issue: Value, active: Signal, uniform: Value, gaussian: Value, leaving: Signal
    ) -> tuple[Value, Value, Value, Value]:
        """Walks through the tensor; returns what is known of the item at hand.

        That is: what travels along with the item, if it is issued; the position of its first bit in
        the block; how many blocks end with it (its own, and maybe one that is nothing but padding);
        and how far the coordinate is behind its first parameter. All are registers, found while the
        item before is at hand.
        """
        rows, fields, wide = self._rows, self.fields, self._wide
        # Parts are counted like tiles; a word's are side by side.
        shift = self._part_bits
        tiles, inner, base = fields.tiles << shift, fields.inner << shift, fields.base << shift
        tiles_left, inner_left = Signal.like(tiles), Signal(16)
        address, column = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        row = Signal((rows - 1).bit_length())
        position = Signal(range(BLOCK_BITS))
        # Whether the item is the last of its word; of its input, if it closes a word; of the
        # tensor.
        closes, ends_row, last = Signal(), Signal(), Signal()
        leaves = Signal(2)
        next_closes, next_ends_row, next_last, next_row_end = Signal(), Signal(), Signal(), Signal()
        following = Signal(range(BLOCK_BITS))
        behind = Signal(range(4 * BLOCK_BITS))
        advance, padding = Signal(range(17)), Signal(range(INDEX_ALIGNMENT << 4))
        missing = Signal(range(INDEX_ALIGNMENT))
        m.d.comb += missing.eq(-(fields.tiles * self.config.rows))
        m.d.sync += [
            advance.eq(Mux(gaussian, 16, Mux(uniform, 8, rows))),
            padding.eq(Mux(gaussian, missing << 4, Mux(uniform, missing << 3, missing))),
        ]
        m.d.comb += [
            next_closes.eq(~wide | (row == (rows - 2) % rows)),
            next_ends_row.eq(Mux(ends_row, tiles == 1, tiles_left == 2)),
            next_last.eq(next_ends_row & (inner_left == Mux(ends_row, 2, 1))),
            next_row_end.eq(next_closes & Mux(closes, next_ends_row, ends_row)),
            following.eq(position + advance + Mux(ends_row & closes, padding, 0)),
            behind.eq(following + advance + Mux(next_row_end, padding, 0)),
        ]
        begun = Signal()
        m.d.sync += begun.eq(self.start)
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                tiles_left.eq(tiles),
                inner_left.eq(fields.inner),
                address.eq(base),
                column.eq(base),
                row.eq(0),
                position.eq(0),
                closes.eq(~wide | (rows == 1)),
                ends_row.eq(tiles == 1),
                leaves.eq(0),
                leaving.eq(0),
                last.eq((tiles == 1) & (fields.inner == 1)),
            ]
        with m.Elif(issue):
            m.d.sync += [
                active.eq(~(last & closes)),
                row.eq(row + wide),
                position.eq(following),
                closes.eq(next_closes),
                leaves.eq(behind >> 6),
                leaving.eq(((behind >> 6) != 0) & self._random & ~(last & closes)),
            ]
            with m.If(closes):
                m.d.sync += [ends_row.eq(next_ends_row), last.eq(next_last)]
                with m.If(ends_row):
                    following_column = column + self.config.word_parts
                    m.d.sync += [
                        tiles_left.eq(tiles),
                        inner_left.eq(inner_left - 1),
                        address.eq(following_column),
                        column.eq(following_column),
                    ]
                with m.Else():
                    m.d.sync += [tiles_left.eq(tiles_left - 1), address.eq(address + self._to_next(address, inner))]
        with m.Elif(begun):
            # A single parameter and its padding may fill the first block; it is still to be
            # generated.
            alone = Signal.like(leaves)
            m.d.comb += alone.eq((advance + Mux(ends_row & closes, padding, 0)) >> 6)
            m.d.sync += [leaves.eq(alone), leaving.eq(alone.any() & self._random)]

        with m.If(self.reset):
            m.d.sync += [active.eq(0), leaving.eq(0)]
        distance = Signal(32)
        with m.If(self.start):
            m.d.sync += distance.eq(self.probe - (fields.block << 6))
        with m.Elif(issue):
            m.d.sync += distance.eq(distance - (rows + Mux(ends_row, missing, 0)))

        item = Signal(self._item)
        m.d.comb += [
            item.whole.eq(issue & closes),
            item.last.eq(issue & closes & last),
            item.addr.eq(address),
            item.row.eq(row),
        ]
        return item.as_value(), position, leaves, distance

    def _to_next(self, address: Value, inner: Value) -> Value:
        """Returns the distance from a part's address to the next part's.

        The next part is in the same word or in the next word of the same column.
        """
        if not self._part_bits:
            return inner
        within = ~address[: self._part_bits].all()
        return Mux(within, 1, inner - (self.config.word_parts - 1))

    def _bits(self, m: Module, leaves: Value, leaving: Value, ready: Signal) -> Value:
        """Returns the generator's block at hand.

        Whatever decides about taking the next block comes from registers, because many registers
        take it.
        """
        m.submodules.generator = generator = Generator(self.config.rounds_per_cycle)
        held = Signal()  # the generator holds a block that was not taken yet
        take, key_due, primed = Signal(), Signal(), Signal()
        padding = Signal()  # the block that comes next is nothing but padding
        discards = Signal()
        # A tensor that fits in the memories has some thousand blocks.
        block = Signal(len(self.fields.block) + 1)
        current = Signal(BLOCK_BITS, reset_less=True)
        m.d.comb += [
            take.eq(held & (~ready | leaving)),
            discards.eq(Mux(ready, leaves[1], padding)),
            generator.stop.eq(self.start),
            generator.load_key.eq(key_due),
            generator.seed.eq(self.seed),
            generator.step.eq(self.step),
            generator.block.eq(block),
            generator.probe.eq(self.probe),
            generator.start.eq(primed | take),
        ]
        m.d.sync += [key_due.eq(self.start & self._random), primed.eq(key_due)]
        with m.If(self.start):
            # Without random numbers no block is waited for, and none is left.
            m.d.sync += [block.eq(self.fields.block), ready.eq(~self._random), held.eq(0), padding.eq(0)]
        with m.Else():
            with m.If(generator.start):
                m.d.sync += block.eq(block + 1)
            m.d.sync += held.eq(generator.ends | (held & ~take))
            with m.If(take):
                m.d.sync += [current.eq(generator.bits), ready.eq(~discards), padding.eq(0)]
            with m.Elif(ready & leaving):
                m.d.sync += [ready.eq(0), padding.eq(leaves[1])]
        return current

    def _select(self, m: Module, bits: Value, position: Value, distance: Value) -> tuple[Value, Value, Value]:
        """Returns a part's signs (1: plus), in the cycle in which its data arrive.

        Also returns, three cycles before that, the byte and the sixteen bits that the item begins
        with.
        """
        rows = self._rows
        byte = Signal(INDEX_ALIGNMENT)
        place = Signal(range(INDEX_ALIGNMENT))
        pair = Signal(16)
        near = Signal()
        spot = Signal((rows - 1).bit_length())
        picked, coordinate, chosen, signs = (Signal(rows, name=name) for name in ("picked", "spots", "chosen", "signs"))
        m.d.sync += [
            byte.eq(bits.word_select(position[3:], INDEX_ALIGNMENT)),
            pair.eq(bits.word_select(position[4:], 16)),
            place.eq(position[:3]),
            near.eq(distance[len(spot) :] == 0),
            spot.eq(distance[: len(spot)]),
            picked.eq(byte.bit_select(place, rows)),
            coordinate.eq(near << spot),
            chosen.eq(picked),
            signs.eq(chosen),
        ]
        with m.If(self._is(Distribution.COORDINATE)):
            m.d.sync += chosen.eq(coordinate)
        return signs, byte, pair

    def _product(self, m: Module, xi: Value) -> Value:
        """Returns amplitude or difference times xi, three cycles later; PERTURB adds the half."""
        half = MASTER_BITS // 2
        m.submodules.high = high = Multiplier(a=signed(half), b=signed(_XI_BITS))
        m.submodules.low = low = Multiplier(a=signed(half + 1), b=signed(_XI_BITS))
        amount = Mux(self.accumulate, self.difference, self.fields.amplitude)[:MASTER_BITS]
        m.d.comb += [high.a.eq(amount[half:]), low.a.eq(amount[:half])]
        m.d.comb += [part.b.eq(xi) for part in (high, low)]
        # The half takes bits that the high product leaves free.
        rounding = Signal(half)
        m.d.comb += rounding.eq(Mux(self.accumulate, 0, 1 << (MASTER_BITS - self.config.width - 1)))
        product = Signal(signed(MASTER_BITS + _XI_BITS), reset_less=True)
        m.d.sync += product.eq(Cat(rounding, high.product).as_signed() + low.product)
        return product

    def _compute(self, m: Module, source: Value, signs: Value, product: Value) -> None:
        """Adds each row's addend to its master or gradient; rounds, clips and writes weights."""
        config, wide = self.config, self._wide
        discarded = MASTER_BITS - config.width
        # All addends but products, the rounding half included, are made once for the whole tensor.
        plus, minus = (Signal(signed(_NARROW_BITS), name=name, reset_less=True) for name in ("plus", "minus"))
        half = Signal(range(1 << discarded))
        amount = Signal(signed(MASTER_BITS))
        m.d.comb += [
            half.eq(Mux(self.accumulate, 0, 1 << (discarded - 1))),
            amount.eq(Mux(self.accumulate, self.difference, self.fields.amplitude)),
        ]
        m.d.sync += [plus.eq(half), minus.eq(half)]
        with m.If(self._is(Distribution.RADEMACHER)):
            m.d.sync += [plus.eq(half + amount), minus.eq(half - amount)]
        with m.If(self._is(Distribution.COORDINATE)):
            m.d.sync += plus.eq(half + amount)

        # The item travels along with its part's data.
        stages = [Signal(self._item, name=f"stage{i}") for i in range(MEMORY_LATENCY + 3)]
        read = data.View(self._item, source)
        for stage in stages:
            m.d.sync += stage.eq(source)
            source = stage.as_value()
        chosen, summed, saturated = stages[-3:]

        sums = Signal(data.ArrayLayout(signed(GRADIENT_BITS), self._rows), reset_less=True)
        clipped = Signal(self._rows)
        reach = MASTER_BITS + _XI_BITS if config.wide_probes else _NARROW_BITS
        for row in range(self._rows):
            accumulator = slice(row * GRADIENT_BITS, (row + 1) * GRADIENT_BITS)
            old = Signal(signed(GRADIENT_BITS), name=f"old{row}", reset_less=True)
            addend = Signal(signed(reach), name=f"addend{row}", reset_less=True)
            m.d.sync += [
                old.eq(self.master.data.word_select(row, MASTER_BITS).as_signed()),
                addend.eq(Mux(signs[row], plus, minus)),
            ]
            with m.If(self.accumulate):
                m.d.sync += old.eq(self.gradient.data[accumulator])
            if config.wide_probes:
                with m.If(wide):
                    m.d.sync += addend.eq(product)
            with m.If(~wide | (chosen.row == row)):
                m.d.sync += sums[row].eq(old + addend)

            rounded = sums[row][discarded:reach]
            sign, high = rounded[-1], rounded[config.width - 1 : -1]
            weight = Signal(config.width, name=f"weight{row}", reset_less=True)
            m.d.comb += self.weight_write.data.word_select(row, config.width).eq(weight)
            m.d.comb += clipped[row].eq(Mux(sign, ~high.all(), high.any()))
            limit = Cat((~sign).replicate(config.width - 1), sign)
            m.d.sync += weight.eq(Mux(clipped[row], limit, rounded[: config.width]))
            m.d.comb += self.gradient_write.data[accumulator].eq(sums[row])

        # ACCUMULATE ends a stage earlier: nothing of it may reach into the next instruction.
        with m.If(self.accumulate):
            m.d.sync += [saturated.whole.eq(0), saturated.last.eq(0)]
        m.d.comb += [
            self.master.addr.eq(read.addr),
            self.gradient.addr.eq(read.addr),
            self.gradient_write.enable.eq(summed.whole & self.accumulate),
            self.gradient_write.addr.eq(summed.addr),
            self.weight_write.enable.eq(saturated.whole << saturated.addr[: self._part_bits]),
            self.weight_write.addr.eq(saturated.addr >> self._part_bits),
            self.done.eq((summed.last & self.accumulate) | saturated.last),
        ]
        with m.If(summed.whole & ~self.accumulate):
            m.d.sync += self.saturations.eq(sum(clipped))
        with m.Else():
            m.d.sync += self.saturations.eq(0)


def _uniform(byte: Value) -> Value:
    """Returns ``2u - 255`` of eight bits u, as a signed number: twice ``u - 128``, and one."""
    return Cat(Const(1, 1), byte[:-1], ~byte[-1]).as_signed()


def _gaussian(bits: Value) -> Value:
    """Returns the number of ones among sixteen bits, minus 8, as a signed number."""
    return sum(bits[i] for i in range(len(bits))) - len(bits) // 2
