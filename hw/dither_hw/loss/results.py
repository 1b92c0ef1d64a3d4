"""What becomes of the lanes' losses: rounding, sum, differences, and the writes of results."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import LossKind, LossMode
from dither.arch.timing import LOSS_FINISH_CYCLES

from ..base.interfaces import ADDRESS_BITS, LaneWritePort, instruction_layout
from ..base.pipeline import delay_line
from .entropy import COUNT_BITS, MAX_FRAC, Ending

__all__ = ["LOSS_BITS", "RAW_BITS", "LossResults"]

LOSS_BITS = 24
"""Width in bits of a lane's loss after rounding."""
RAW_BITS = 36 + COUNT_BITS
"""Width in bits of a lane's loss before rounding, when it may be a sum of squares."""


class LossResults(wiring.Component):
    """Rounds and clips the lanes' losses, sums them, and writes differences and derivatives.

    A lane's loss is shifted to ``loss_frac`` fraction bits. Depending on the instruction's mode, it
    is also kept until a later instruction, or its difference from the one kept is written. Results
    come in the order of the lanes: when a lane's last result is written, the next ones go to the
    next lane.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of an instruction.
    fields : In
        The instruction, stable from ``start`` to ``done``.
    raw : In
        A lane's loss, not rounded.
    ending : In(Ending)
        Properties of the lane that ``raw`` belongs to; all zeros in cycles without a loss.
    derivative : In(signed(W + 1))
        A derivative to be clipped and written. This port and the following are there only with
        ``config.local_learning``.
    valid, live, closes : In(1)
        There is a derivative in this cycle; its lane counts; it is the last one of its lane.
    loss : Out(32)
        The sum of the lanes' losses, from ``done`` to the next ``start``.
    saturations : Out
        Number of losses, differences and derivatives that were clipped in one cycle.
    result : Out(LaneWritePort)
        Writes differences and derivatives; zero in all cycles in which nothing is written. Only
        with ``config.local_learning``.

    :param config: gives L and W, and whether there is anything besides the sum.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        ports = {
            "start": In(1),
            "done": Out(1),
            "fields": In(instruction_layout("LOSS")),
            "raw": In(RAW_BITS),
            "ending": In(Ending),
            "loss": Out(32),
            "saturations": Out(2 if config.local_learning else 1),
        }
        if config.local_learning:
            ports |= {
                "derivative": In(signed(config.width + 1)),
                "valid": In(1),
                "live": In(1),
                "closes": In(1),
                "result": Out(LaneWritePort(config.lanes, config.width)),
            }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clip, clipped = Signal(), Signal(LOSS_BITS)
        value, beyond = self._round(m)
        *_, counts, counted = delay_line(m, self.ending.counts, LOSS_FINISH_CYCLES - 1, "counts")
        clips = Signal()
        m.d.comb += clip.eq(beyond | value[-1])
        m.d.sync += [
            clipped.eq(Mux(counts, value[:LOSS_BITS] | clip.replicate(LOSS_BITS), 0)),
            clips.eq(counts & clip),
            self.loss.eq(Mux(self.start, 0, self.loss + clipped)),
        ]
        summed = delay_line(m, self.ending.final, LOSS_FINISH_CYCLES, "ends")[-1]
        if not self.config.local_learning:
            m.d.comb += [self.done.eq(summed), self.saturations.eq(clips)]
            return m

        over = delay_line(m, self.ending.over, LOSS_FINISH_CYCLES - 1, "over")[-1]
        modes = {mode: Signal(name=f"mode_{mode.name.lower()}") for mode in LossMode}
        m.d.comb += [signal.eq(self.fields.mode == mode.value) for mode, signal in modes.items()]
        difference = self._keep(m, over, clipped, modes[LossMode.KEEP])
        differs = modes[LossMode.DIFFER]
        written, result_clips = self._write(
            m,
            number=Mux(differs, difference, self.derivative),
            valid=Mux(differs, over, self.valid),
            live=Mux(differs, counted, self.live),
            closes=differs | self.closes,
        )
        # Derivatives of squared errors are written before the sum is complete, all other results
        # later.
        entropy = self.fields.kind == LossKind.CROSS_ENTROPY.value
        m.d.comb += [
            self.done.eq(Mux(differs | (modes[LossMode.ERROR] & entropy), written, summed)),
            self.saturations.eq(clips + result_clips),
        ]
        return m

    def _round(self, m: Module) -> tuple[Signal, Signal]:
        """Returns the rounded loss, a bit above it included, and whether any higher bits are set.

        Both come four cycles later. The loss, with 16 + 1 zeros below it, is shifted right; the
        lowest bit that is left rounds. Bits that cannot come down any more to the 24 + 1 that are
        kept show an overflow at once.
        """
        fields = self.fields
        squared = fields.kind == LossKind.SQUARED_ERROR.value
        shift = Signal(range(3 * MAX_FRAC + 1))
        m.d.sync += shift.eq(MAX_FRAC - fields.loss_frac + Mux(squared, fields.z_frac << 1, MAX_FRAC))
        value: Value = self.raw << (MAX_FRAC + 1)
        beyond: Value = Const(0)
        for low, high in ((4, 6), (2, 4), (0, 2)):
            kept = Signal(LOSS_BITS + 1 + (1 << low) - 1, name=f"shifted{low}", reset_less=True)
            overflow = Signal(name=f"overflow{low}")
            wide = Signal(len(value), name=f"wide{low}")
            m.d.comb += wide.eq(value >> (shift[low:high] << low))
            m.d.sync += [kept.eq(wide), overflow.eq(beyond | wide[len(kept) :].any())]
            value, beyond = kept, overflow
        rounded = Signal(LOSS_BITS + 1, reset_less=True)
        overflows = Signal()
        m.d.sync += [rounded.eq((value + 1) >> 1), overflows.eq(beyond)]
        return rounded, overflows

    def _keep(self, m: Module, over: Value, clipped: Signal, keeps: Value) -> Signal:
        """Returns the lane's loss minus the one that was kept for the lane.

        A lane takes three cycles at least, so the kept loss of the next lane is read in time.
        """
        place = Signal(range(self.config.lanes))
        m.submodules.kept = kept = Memory(shape=LOSS_BITS, depth=self.config.lanes, init=[])
        write = kept.write_port()
        read = kept.read_port()
        difference = Signal(signed(LOSS_BITS + 1))
        m.d.comb += [
            write.en.eq(over & keeps),
            write.addr.eq(place),
            write.data.eq(clipped),
            read.addr.eq(place),
            difference.eq(clipped - read.data),
        ]
        with m.If(self.start):
            m.d.sync += place.eq(0)
        with m.Elif(over):
            m.d.sync += place.eq(place + 1)
        return difference

    def _write(self, m: Module, *, number: Value, valid: Value, live: Value, closes: Value) -> tuple[Value, Signal]:
        """Clips and writes a number, two cycles later.

        Returns whether it is the last number of the last lane, and whether it was clipped; both
        come with the write.
        """
        width, lanes, fields = self.config.width, self.config.lanes, self.fields
        outcome = Signal(signed(LOSS_BITS + 1), reset_less=True)
        present, counted, closing = Signal(), Signal(), Signal()
        m.d.sync += [outcome.eq(number), present.eq(valid), counted.eq(valid & live), closing.eq(closes)]

        word, sign = Signal(width), outcome[-1]
        clip = Signal(name="result_clip")
        clips, write, closed = Signal(name="result_clips"), Signal(), Signal()
        m.d.comb += clip.eq(counted & (outcome[width - 1 : -1] != sign.replicate(LOSS_BITS - width + 1)))
        limited = Mux(clip, Cat((~sign).replicate(width - 1), sign), outcome[:width])
        m.d.sync += [word.eq(Mux(counted, limited, 0)), clips.eq(clip), write.eq(present), closed.eq(closing)]

        turn = Signal(lanes)
        address = Signal(ADDRESS_BITS)
        m.d.comb += [
            self.result.enable.eq(turn & write.replicate(lanes)),
            self.result.addr.eq(address),
            self.result.data.eq(word),
        ]
        with m.If(self.start):
            m.d.sync += [turn.eq(1), address.eq(fields.d_base)]
        with m.Elif(write):
            m.d.sync += address.eq(Mux(closed, fields.d_base, address + fields.d_step))
            with m.If(closed):
                m.d.sync += turn.eq(turn << 1)
        return write & closed & turn[-1], clips
