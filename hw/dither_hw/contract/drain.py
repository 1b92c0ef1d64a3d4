"""The drain of CONTRACT: which row leaves the lanes when, and where it is written."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import LOOPS, OUTER_LOOPS, Activation
from dither.arch.timing import INTERPOLATOR_LATENCY, REQUANTISER_LATENCY

from ..base.interfaces import ADDRESS_BITS, instruction_layout
from ..base.pipeline import delay_line
from .loops import Term, TileMove

__all__ = ["Drain"]

_TO_RESULT = 1 + REQUANTISER_LATENCY + 1
"""Cycles from the order of a row to its result: copy of the order, requantiser, result register."""


_Row = data.StructLayout({"move": TileMove, "final": 1})
"""One row on its way to the memory; all zeros in a cycle without a row."""


class Drain(wiring.Component):
    """Orders the rows of a complete tile out of the lanes and makes the addresses that they go to.

    Rows beyond ``last_rows`` of a partial tile are not ordered. What travels along with a row is
    not its address but how the address moves (:class:`~dither_hw.contract.loops.TileMove`), which
    takes three bits of delay line a cycle instead of sixteen; the address is made where it is used.

    Throughput: a row every cycle, with a table every ``lanes_per_table`` cycles
    (:func:`~dither.arch.timing.drain_cycles_per_row`). Resources on ECP5: 210 LUT4, 120 flip-flops.

    Attributes
    ----------
    start, fields : In
        The same as in :class:`~dither_hw.contract.contract.ContractUnit`.
    index : In(16)
        Value of the register that the field ``y_index`` names; as steady as ``fields``.
    term : In(Term)
        The term whose products enter the accumulators in the next cycle.
    order : Out(1)
        A register: the lanes are to requantise their next row.
    enable, addr : Out
        Registers: the lanes' results in this cycle are a row, to be written to ``addr``.
    done : Out(1)
        The instruction's last row was written in the cycle before.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "fields": In(instruction_layout("CONTRACT")),
                "index": In(ADDRESS_BITS),
                "term": In(Term),
                "order": Out(1),
                "enable": Out(1),
                "addr": Out(ADDRESS_BITS),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, fields, term = self.config, self.fields, self.term
        shared = config.lanes_per_table if config.activation_tables else 1
        use_table = Signal()
        m.d.sync += use_table.eq(fields.activation == Activation.TABLE)

        # How many rows of the current tile are still to be ordered, and cycles until the next
        # order.
        left, wait = Signal(range(config.rows + 1)), Signal(range(shared))
        row, final = Signal(_Row), Signal()
        ordering = Signal()
        m.d.comb += ordering.eq(left.any() & (wait == 0))
        m.d.sync += self.order.eq(ordering)
        with m.If(term.last):
            m.d.sync += [
                left.eq(Mux(term.partial, fields.last_rows, config.rows)),
                wait.eq(0),
                row.move.eq(term.move),
                final.eq(term.final),
            ]
        with m.Elif(ordering):
            m.d.sync += [left.eq(left - 1), wait.eq(Mux(use_table, shared - 1, 0)), row.move.eq(TileMove.ROW)]
        with m.Elif(left.any()):
            m.d.sync += wait.eq(wait - 1)

        ordered = Signal(_Row)
        with m.If(ordering):
            m.d.comb += [ordered.move.eq(row.move), ordered.final.eq(final & (left == 1))]
        taps = delay_line(m, ordered, _TO_RESULT - 2, "row")
        arriving = taps[-1]
        if config.activation_tables:
            # A row that does not go through a table must not enter the longer delay: it could come
            # out of it in the next instruction.
            longer = Mux(use_table, arriving, 0)
            late = delay_line(m, longer, INTERPOLATOR_LATENCY + config.lanes_per_table, "late_row")[-1]
            arriving = Mux(use_table, late, arriving)
        arrived = Signal(_Row)
        m.d.sync += arrived.eq(arriving)
        self._address(m, arrived)
        return m

    def _address(self, m: Module, arriving: data.View) -> None:
        """Makes the write port's address, two cycles after a row arrives: step first, then sum."""
        fields = self.fields
        step, tile = Signal(ADDRESS_BITS, name="step"), Signal(ADDRESS_BITS, name="tile")
        row = Signal(_Row)
        m.d.sync += row.eq(arriving)
        with m.Switch(arriving.move):
            with m.Case(TileMove.ROW):
                m.d.sync += step.eq(fields.y_row)
            for loop in OUTER_LOOPS:
                with m.Case(1 + LOOPS.index(loop)):
                    m.d.sync += step.eq(fields[f"y_{loop}"])
            with m.Default():
                m.d.sync += step.eq(0)

        moved = Signal(ADDRESS_BITS)
        m.d.comb += moved.eq(Mux(row.move == TileMove.ROW, self.addr, tile) + step)
        present = row.move != TileMove.NONE
        with m.If(present):
            m.d.sync += self.addr.eq(moved)
        # Long before the first row, the same adder moves the first address by the index.
        started = Signal()
        m.d.sync += started.eq(self.start)
        with m.If(self.start):
            m.d.sync += [tile.eq(fields.y_base), step.eq(self.index)]
        with m.Elif(started | (present & (row.move != TileMove.ROW))):
            m.d.sync += tile.eq(moved)
        last_written = Signal()
        m.d.sync += [self.enable.eq(present), last_written.eq(row.final), self.done.eq(last_written)]
