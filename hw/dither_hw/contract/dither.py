"""The unit of DITHER: it adds random signs, times a factor for each lane, to activations."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.generator import BLOCK_BITS
from dither.arch.timing import MEMORY_LATENCY, dither_start

from ..base.generator import Generator
from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout
from ..base.pipeline import delay_line, tree_sum

__all__ = ["DitherUnit"]

_OFFSET_BITS = 16
_BLOCK_NUMBER_BITS = 21  # 20 of the field; what offset and count add is below 2**11
_STRIDE_BITS = 3
_STRIDE = 1 << _STRIDE_BITS  # signs that alignment skips at once


class DitherUnit(wiring.Component):
    """Computes ``y[i][l] = sat_W(x[i][l] + xi * scale[l])`` for one word of L activations a cycle.

    ``xi`` is +1 or -1, from bit ``i + offset + l`` of the generator. The signs of a word are L
    neighbouring bits, and those of the next word lie one bit further on. So a shift register of L
    bits holds a word's signs, and the 64 bits behind it are the generator's next block. A block
    lasts for 64 words, longer than the next one takes, so words never wait once the first word's
    signs are in place. That takes :func:`dither.arch.timing.dither_start` cycles for every offset:
    two blocks one after the other, then a shift by up to 63 bits, first eight at a time. The
    factors are read meanwhile.

    Cycles: :func:`dither.arch.timing.execution_cycles`. From a word's address to its write:
    :data:`~dither.arch.timing.MEMORY_LATENCY` + 3 cycles. No word is visited twice, so the result
    may be written in place of the input.

    Resources (ECP5, L = 32, W = 18, the generator included): about 2350 LUT4, 460 carry cells, 2230
    flip-flops; for each lane, three registers of W bits, one of W+1 and an adder.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    fields : In
        The instruction, in DITHER's layout. Like all operands it is stable from ``start`` to
        ``done``.
    seed, step, probe : In(32)
        Values of the registers that the fields of these names choose.
    offset : In(16)
        Value of the register that the field of this name chooses: the number of the first lane's
        sample.
    activation : Out
        Read port of the activation memory, L times W bits.
    result : Out
        Write port of the activation memory, L times W bits.
    saturations : Out
        Number of activations that were clipped in the word that is written in this cycle.

    :param config: gives L, W and the generator's rounds per cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "fields": In(instruction_layout("DITHER")),
                "seed": In(32),
                "step": In(32),
                "probe": In(32),
                "offset": In(_OFFSET_BITS),
                "activation": Out(ReadPort(config.lanes * config.width)),
                "result": Out(WritePort(config.lanes * config.width)),
                "saturations": Out(range(config.lanes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        issue, last, preparing = self._sequence(m)
        # What travels along with a word: whether there is one, and whether it is the last of all.
        layout = data.StructLayout({"valid": 1, "last": 1})
        source = Signal(layout)
        m.d.comb += [source.valid.eq(issue), source.last.eq(issue & last)]
        stages = delay_line(m, source, MEMORY_LATENCY + 3, "stage")
        arrived, _, summed, saturated = stages[MEMORY_LATENCY:]
        signs = self._signs(m, arrived.valid)
        self._compute(m, signs, preparing, summed.valid)

        target = Signal(ADDRESS_BITS)
        with m.If(self.start):
            m.d.sync += target.eq(self.fields.y_base)
        with m.Elif(saturated.valid):
            m.d.sync += target.eq(target + self.fields.y_step)
        m.d.comb += [
            self.result.enable.eq(saturated.valid),
            self.result.addr.eq(target),
            self.done.eq(saturated.last),
        ]
        return m

    def _sequence(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Makes the read addresses: the factors' while signs are prepared, then the words'.

        Returns whether a word's address is out, whether it is the last one, and whether signs are
        being prepared.
        """
        fields = self.fields
        preparation = dither_start(self.config) - 1
        wait = Signal(range(preparation + 1))
        preparing, prepared = Signal(), Signal()  # prepared: in the last of these cycles
        issue, last = Signal(), Signal()
        left = Signal(16)
        address = Signal(ADDRESS_BITS)
        m.d.comb += [last.eq(left == 1), self.activation.addr.eq(address)]
        m.d.sync += prepared.eq(wait == 2)
        with m.If(self.start):
            m.d.sync += [preparing.eq(1), wait.eq(preparation), left.eq(fields.count), address.eq(fields.scale)]
        with m.Elif(preparing):
            m.d.sync += wait.eq(wait - 1)
            with m.If(prepared):
                m.d.sync += [preparing.eq(0), issue.eq(1), address.eq(fields.x_base)]
        with m.Elif(issue):
            m.d.sync += [issue.eq(~last), left.eq(left - 1), address.eq(address + fields.x_step)]
        return issue, last, preparing

    def _signs(self, m: Module, using: Value) -> Value:
        """Returns an arrived word's signs; the next word's follow a cycle of ``using``.

        Whatever decides about moving the signs comes from registers, because many registers move.
        """
        lanes = self.config.lanes
        m.submodules.generator = generator = Generator(self.config.rounds_per_cycle)
        number = Signal(_BLOCK_NUMBER_BITS, reset_less=True)
        began = delay_line(m, self.start, 2, "began")[-1]
        # The current block stands behind the window of signs in use and moves into it; the
        # generator holds the next block.
        bits = Signal(lanes + BLOCK_BITS, reset_less=True)
        used = Signal(range(BLOCK_BITS))  # of the block at hand; before a stride, a multiple of strides
        filled = Signal()
        held = Signal()  # the generator holds a block that was not taken yet
        skip = Signal(range(BLOCK_BITS + lanes))
        skipped = Signal.like(skip)
        skips = Signal()  # there is something to skip
        stride = Signal()  # there is enough of it
        shift, empties, take, took = (Signal(name=name) for name in ("shift", "empties", "take", "took"))
        m.d.comb += [
            skipped.eq(Mux(stride, skip - _STRIDE, skip - 1)),
            shift.eq(filled & (skips | using)),
            empties.eq(shift & used[_STRIDE_BITS:].all() & (stride | used[:_STRIDE_BITS].all())),
            take.eq(held & (~filled | empties)),
            generator.load_key.eq(self.start),
            generator.seed.eq(self.seed),
            generator.step.eq(self.step),
            generator.block.eq(number),
            generator.probe.eq(self.probe),
            generator.start.eq(began | took),
        ]
        m.d.sync += [took.eq(take), held.eq(generator.ends | (held & ~take))]
        with m.If(shift):
            m.d.sync += [
                bits.eq(Mux(stride, bits[_STRIDE:], bits[1:])),
                used.eq(used + Mux(stride, _STRIDE, 1)),
            ]
        with m.If(shift & skips):
            m.d.sync += [skip.eq(skipped), skips.eq(skipped.any()), stride.eq(skipped[_STRIDE_BITS:].any())]
        with m.If(empties):
            m.d.sync += filled.eq(0)
        with m.If(take):
            m.d.sync += [bits[lanes:].eq(generator.bits), filled.eq(1)]
        with m.If(generator.start):
            m.d.sync += number.eq(number + 1)
        with m.If(self.start):
            m.d.sync += [
                number.eq(self.fields.block + (self.offset >> 6)),
                skip.eq(lanes + self.offset[:6]),
                skips.eq(1),
                stride.eq(lanes + self.offset[:6] >= _STRIDE),
                used.eq(0),
                filled.eq(0),
                held.eq(0),
            ]
        return bits[:lanes]

    def _compute(self, m: Module, signs: Value, preparing: Value, summed: Value) -> None:
        """Adds signed factors to the arrived word, clips the sums and counts the clips.

        Each lane registers its number and its sign first, near its memory.
        """
        lanes, width = self.config.lanes, self.config.width
        word, factors = (Signal(lanes * width, name=name, reset_less=True) for name in ("word", "factors"))
        m.d.sync += word.eq(self.activation.data)
        near = [Signal(name=f"sign{lane}_copy", reset_less=True) for lane in range(lanes)]
        m.d.sync += Cat(*near).eq(signs)
        with m.If(preparing):  # the last one is the factors' word
            m.d.sync += factors.eq(word)
        sums = Signal(data.ArrayLayout(signed(width + 1), lanes), reset_less=True)
        clipped = Signal(lanes)
        for lane in range(lanes):
            part = slice(lane * width, (lane + 1) * width)
            x, factor = word[part], factors[part]
            still, minus = Signal(name=f"still{lane}"), Signal(name=f"minus{lane}")
            m.d.comb += [
                still.eq(self.fields.gate & (x[-1] | ~x.any())),
                minus.eq(~(near[lane] | still)),
            ]
            # One adder does both signs: a carry into its lowest place turns the complement of a
            # factor into its negative.
            addend = Mux(still, 0, factor ^ minus.replicate(width))
            total = Cat(minus, x).as_signed() + Cat(minus, addend).as_signed()
            m.d.sync += sums[lane].eq(total[1:])

            sign = sums[lane][-1]
            limit = Cat((~sign).replicate(width - 1), sign)
            m.d.comb += clipped[lane].eq(sign ^ sums[lane][-2])
            m.d.sync += self.result.data[part].eq(Mux(clipped[lane], limit, sums[lane][:width]))
        m.d.sync += self.saturations.eq(Mux(summed, tree_sum(list(clipped)), 0))
