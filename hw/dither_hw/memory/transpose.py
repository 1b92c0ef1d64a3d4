"""The unit of TRANSPOSE: it writes the transpose of a matrix of weights to the weight memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.timing import MEMORY_LATENCY

from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout
from ..base.pipeline import delay_line

__all__ = ["TransposeUnit"]


class TransposeUnit(wiring.Component):
    """Exchanges rows and columns of a weight matrix, block by block, through a square of registers.

    A block has R inputs by R outputs. Its R words enter the square by rows, and R words leave it by
    columns. While one block leaves, the next one enters the places that become free, by columns,
    and leaves by rows. So every second block moves the other way, and a word is read and a word
    written in every cycle. Inputs beyond K are taken as zero; outputs beyond M are read but not
    written. That is all that sizes cost that are no multiples of R.

    Cycles: :func:`dither.arch.timing.execution_cycles`; R for each block, and the time that the
    last block needs to leave. Result words are written in the order of their addresses, each of
    them once.

    Resources (ECP5, R = 4, W = 18): about 530 LUT4, 60 carry cells, 400 flip-flops; R times R
    registers of W bits with a multiplexer each, and counters.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    fields : In
        The instruction in TRANSPOSE's layout, stable from ``start`` to ``done``.
    weight : Out
        Read port of the weight memory, R times W bits.
    result : Out
        Write port of the weight memory, R times W bits.

    :param config: gives R and W.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        word = config.rows * config.width
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "fields": In(instruction_layout("TRANSPOSE")),
                "weight": Out(ReadPort(word)),
                "result": Out(WritePort(word)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = self.config.rows
        layout = data.StructLayout({"live": 1, "across": 1, "emit": 1, "final": 1})
        step = Signal(layout)
        self._traverse(m, step)
        # A word arrives in stage MEMORY_LATENCY; the word that leaves in its turn is written when R
        # more have arrived.
        stages = delay_line(m, step, MEMORY_LATENCY + rows, "stage")
        arrived, leaving = stages[MEMORY_LATENCY], stages[-1]
        self._exchange(m, arrived.live, arrived.across)

        target = Signal(ADDRESS_BITS)
        with m.If(self.start):
            m.d.sync += target.eq(self.fields.target)
        with m.Elif(leaving.emit):
            m.d.sync += target.eq(target + 1)
        m.d.comb += [
            self.result.enable.eq(leaving.emit),
            self.result.addr.eq(target),
            self.done.eq(leaving.final),
        ]
        return m

    def _traverse(self, m: Module, step: data.View) -> None:
        """Reads all blocks, those of the same inputs one after the other, and drives ``step``.

        ``live``: the word that is read belongs to an input that exists. ``across``: its block
        enters by columns. ``emit``: the word that leaves the block in its turn belongs to an output
        that exists. ``final``: it is the last word of all.
        """
        rows, fields = self.config.rows, self.fields
        reading = Signal()
        row = Signal(range(max(rows, 2)))
        across = Signal()
        address, line, column = (Signal(ADDRESS_BITS, name=name) for name in ("address", "line", "column"))
        next_line, next_column = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        inputs_left, outputs_left = Signal(16), Signal(16)
        ends_block, last_tile, last_block, emits = (
            Signal(name=name) for name in ("ends_block", "last_tile", "last_block", "emits")
        )
        m.d.comb += [
            ends_block.eq(row == rows - 1),
            last_tile.eq(outputs_left <= rows),
            last_block.eq(last_tile & (inputs_left <= rows)),
            next_line.eq(line + fields.inner),
            next_column.eq(column + rows),
            self.weight.addr.eq(address),
            step.live.eq(row < inputs_left),
            step.across.eq(across),
            emits.eq(reading & (row < outputs_left)),
            step.emit.eq(emits),
            step.final.eq(reading & last_block & (row + 1 == outputs_left)),
        ]
        with m.If(self.start):
            m.d.sync += [
                reading.eq(1),
                row.eq(0),
                address.eq(fields.base),
                line.eq(fields.base),
                column.eq(fields.base),
                inputs_left.eq(fields.inner),
                outputs_left.eq(fields.columns),
            ]
        with m.Elif(reading):
            m.d.sync += [row.eq(row + 1), address.eq(address + 1)]
            with m.If(ends_block):
                m.d.sync += [reading.eq(~last_block), row.eq(0), across.eq(~across)]
                with m.If(last_tile):
                    m.d.sync += [
                        address.eq(next_column),
                        line.eq(next_column),
                        column.eq(next_column),
                        inputs_left.eq(inputs_left - rows),
                        outputs_left.eq(fields.columns),
                    ]
                with m.Else():
                    m.d.sync += [address.eq(next_line), line.eq(next_line), outputs_left.eq(outputs_left - rows)]

    def _exchange(self, m: Module, live: Value, across: Value) -> None:
        """Makes the square of registers, which takes a word and gives one in every cycle.

        It takes the word at its last row or, with ``across``, at its last column, and gives the one
        at the first.
        """
        rows, width = self.config.rows, self.config.width
        square = [[Signal(width, name=f"cell{i}_{j}", reset_less=True) for j in range(rows)] for i in range(rows)]
        word = [Signal(width, name=f"word{i}") for i in range(rows)]
        for i in range(rows):
            m.d.comb += word[i].eq(Mux(live, self.weight.data.word_select(i, width), 0))
            for j in range(rows):
                below = square[i + 1][j] if i + 1 < rows else word[j]
                beside = square[i][j + 1] if j + 1 < rows else word[i]
                m.d.sync += square[i][j].eq(Mux(across, beside, below))
        first_column = Cat(line[0] for line in square)
        m.d.comb += self.result.data.eq(Mux(across, first_column, Cat(square[0])))
