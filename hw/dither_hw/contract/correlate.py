"""The control of CORRELATE: addresses, the sum over interpolator groups, the gradient memory."""

from __future__ import annotations

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.config import EngineConfig
from dither.arch.isa import GRADIENT_BITS, LOOPS, OUTER_LOOPS
from dither.arch.timing import (
    CORRELATE_DISTANCE,
    MEMORY_LATENCY,
    MULTIPLIER_LATENCY,
    OPERAND_LATENCY,
    WRITE_LATENCY,
    lane_sum_cycles,
)

from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout, instruction_view
from ..base.pipeline import delay_line, registered_sum
from .loops import Indices, pace_layout, pointer

__all__ = ["Correlator"]

assert CORRELATE_DISTANCE == MEMORY_LATENCY + 1 + WRITE_LATENCY, "address, word, sum, write"


class Correlator(wiring.Component):
    """Executes CORRELATE around the lanes: makes their addresses and adds their sums to gradients.

    Throughput: a left word or a right word every cycle. A right word's address is on ``addr`` 2
    cycles after the word's :attr:`pace`, and at the activation memory one cycle later. From there
    the word itself takes :data:`~dither.arch.timing.MEMORY_LATENCY` cycles, its products
    :data:`~dither.arch.timing.OPERAND_LATENCY` + :data:`~dither.arch.timing.MULTIPLIER_LATENCY`,
    their sum over the lanes :func:`~dither.arch.timing.lane_sum_cycles`, the addition to the
    gradient one and the write one. The gradient's address is given
    :data:`~dither.arch.timing.MEMORY_LATENCY` cycles before the sum is there, so that the same
    gradient word can be visited again :data:`~dither.arch.timing.CORRELATE_DISTANCE` cycles later.

    Resources on ECP5, for 4x32 with groups of 4: 450 LUT4, 1.5 k flip-flops, 690 carry cells.

    Attributes
    ----------
    start, fields, index : In
        The same as in :class:`~dither_hw.contract.contract.ContractUnit`.
    pace : In(pace_layout(R))
        What the loop nest wants done.
    read, addr : Out
        The activation word at ``addr`` is to be read in the next cycle.
    take, live : Out(R), Out(1)
        The word that arrives in the next cycle is a left word: ``take`` has a bit for the row whose
        multipliers are to keep it, ``live`` says whether that row counts.
    term : Out(1)
        The word that arrives in the next cycle is a right word and is to be multiplied.
    sums : In
        Sums of products, by group and row: 1 + :data:`~dither.arch.timing.OPERAND_LATENCY` +
        :data:`~dither.arch.timing.MULTIPLIER_LATENCY` + ceil(log2(lanes_per_table)) cycles after
        ``term``.
    gradient, gradient_write : Out
        Ports of the gradient memory, whose words are R accumulators.
    done : Out(1)
        The last gradient word is written in this cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.groups = config.lanes // config.lanes_per_table
        levels = ceil_log2(config.lanes_per_table)
        sums = data.ArrayLayout(signed(2 * config.width + levels), config.rows)
        super().__init__(
            {
                "start": In(1),
                "fields": In(instruction_layout("CONTRACT")),
                "index": In(Indices),
                "pace": In(pace_layout(config.rows)),
                "read": Out(1),
                "addr": Out(ADDRESS_BITS),
                "take": Out(config.rows),
                "live": Out(1),
                "term": Out(1),
                "sums": In(data.ArrayLayout(sums, self.groups)),
                "gradient": Out(ReadPort(config.rows * GRADIENT_BITS)),
                "gradient_write": Out(WritePort(config.rows * GRADIENT_BITS)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, pace = self.config, self.pace
        fields = instruction_view("CORRELATE", self.fields)
        to_addr, port, copy = 2, 1, 1
        to_lanes = to_addr + port + MEMORY_LATENCY - copy  # words and controls meet in the groups
        to_products = to_lanes + copy + OPERAND_LATENCY + MULTIPLIER_LATENCY
        to_sums = to_products + lane_sum_cycles(config)

        common = {"fields": fields, "start": self.start}
        left = pointer(m, "d", index=self.index[0], loops=OUTER_LOOPS, advance=pace.advance, **common)
        right = pointer(m, "x", index=self.index[1], loops=LOOPS, advance=pace.advance, **common)
        # A left word that a reset overtakes does no harm: rows take others before they multiply.
        lefts = delay_line(m, pace.left, to_lanes, "left", reset_less=True)
        lives = delay_line(m, pace.live, to_lanes, "live", reset_less=True)
        terms = delay_line(m, pace.term, to_sums + 1, "term")
        finals = delay_line(m, pace.final, to_sums + 1, "final")
        first, more = lefts[1][0], lefts[1][1:].any()
        with m.If(first):
            m.d.sync += self.addr.eq(left)
        with m.Elif(more):
            m.d.sync += self.addr.eq(self.addr + fields.d_row)
        with m.Elif(terms[1]):
            m.d.sync += self.addr.eq(right)
        m.d.sync += self.read.eq(first | more | terms[1])
        m.d.comb += [
            self.take.eq(lefts[to_lanes]),
            self.live.eq(lives[to_lanes]),
            self.term.eq(terms[to_lanes]),
            self.done.eq(finals[-1]),
        ]

        # From here on: what becomes of the lanes' sums.
        ahead = to_sums - MEMORY_LATENCY
        advances = delay_line(m, pace.advance, ahead - 1, "advance")
        gradient = pointer(m, "g", index=self.index[2], loops=LOOPS, advance=advances[-1], **common)
        m.d.comb += [
            self.gradient.addr.eq(gradient),
            self.gradient_write.enable.eq(terms[-1]),
            self.gradient_write.addr.eq(delay_line(m, gradient, MEMORY_LATENCY + 1, "gradient_addr")[-1]),
        ]
        levels = ceil_log2(self.groups)
        enables = terms[to_sums - levels : to_sums]
        for r in range(config.rows):
            total = registered_sum(m, [self.sums[g][r] for g in range(self.groups)], enables, f"sum{r}")
            old = self.gradient.data.word_select(r, GRADIENT_BITS)
            with m.If(terms[to_sums]):
                m.d.sync += self.gradient_write.data.word_select(r, GRADIENT_BITS).eq(old.as_signed() + total)
        return m
