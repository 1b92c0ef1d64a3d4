"""CONTRACT's loop nest: one term a cycle, with its addresses."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from dither.engine import EngineConfig
from dither.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS
from dither.timing import BROADCAST_LATENCY, ISSUE_LATENCY

from .interfaces import ADDRESS_BITS, instruction_layout
from .pipeline import delay_line

__all__ = ["LoopNest", "Term", "TileMove"]

assert ISSUE_LATENCY == 4, "loop counters, chosen loop, chosen steps, address"


class TileMove(enum.Enum):
    """How the output address gets to a row from the row before it.

    The number of an outer loop's move is one more than the loop's place in :data:`dither.isa.LOOPS`.
    """

    NONE = 0
    """No row."""
    ROW = 1
    """The next row of the tile."""
    FIRST = 2
    """The first row of the first tile."""
    O0 = 4
    """The first row of a tile that began when loop o0 advanced; likewise the following."""
    O1 = 5
    O2 = 6
    O3 = 7


Term = data.StructLayout({"valid": 1, "first": 1, "last": 1, "partial": 1, "final": 1, "move": TileMove})
"""What the pipeline has to know of one multiply-accumulate; ``valid``, ``first``, ``last`` are zero in empty cycles.

``valid``: there is a term. ``first``: it starts a tile, the accumulators start anew. ``last``: it ends a tile.
``partial``: loop o0 is in its last iteration, only ``last_rows`` rows count. ``final``: it ends the instruction.
``move``: how the tile's output address follows from that of the tile before.
"""


class _State(enum.Enum):
    WAIT = 0
    BIAS = 1
    TERM = 2
    GAP = 3


class LoopNest(wiring.Component):
    """Walks through the seven loops and issues a term every cycle, the bias term of every tile first.

    Latency 4 cycles from ``start`` to the first weight address; throughput one term a cycle, without bubbles but
    for the descriptor's ``idle`` cycles between tiles. Resources on ECP5: 620 LUT4, 330 flip-flops, 84 carry cells
    (seven counters, three address registers, and a choice of one of eight steps in front of each).

    From counters to addresses no cycle holds more than one adder: registered flags (a loop is in its last iteration)
    decide which loop advances, that chooses the steps a cycle later, and those move the addresses in the next.

    Attributes
    ----------
    start, fields : In
        As in :class:`~dither_hw.contract.ContractUnit`.
    weight_addr, activation_addr : Out(16)
        Registers. The activation address comes :data:`~dither.timing.BROADCAST_LATENCY` cycles after the weight
        address, because weights have that much further to go.
    term : Out(Term)
        Belongs to the weight address.
    row_steps : Out(4)
        Rows that count in this cycle's term, 0 for bias terms and empty cycles (not aligned with ``term``).
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "fields": In(instruction_layout("CONTRACT")),
                "weight_addr": Out(ADDRESS_BITS),
                "activation_addr": Out(ADDRESS_BITS),
                "term": Out(Term),
                "row_steps": Out(4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = self.fields
        state = Signal(_State)
        term_now = state == _State.TERM

        # The loops. `ends` holds, for every loop, whether it is in its last iteration.
        ends = Signal(len(LOOPS))
        inside = Const(1, 1)
        advancing = Signal(range(len(LOOPS) + 1))
        """1 + number of the loop that advances after this term; 0 at the end of the nest."""
        for i, loop in enumerate(LOOPS):
            limit, count = fields[f"n_{loop}"], Signal(16, name=f"count_{loop}")
            with m.If(self.start | (term_now & inside & ends[i])):
                m.d.sync += [count.eq(limit), ends[i].eq(limit == 1)]
            with m.Elif(term_now & inside):
                m.d.sync += [count.eq(count - 1), ends[i].eq(count == 2)]
            with m.If(inside & ~ends[i]):
                m.d.comb += advancing.eq(i + 1)
            inside = inside & ends[i]
        inner = len(REDUCTION_LOOPS)
        tile_ends = ends[:inner].all()
        nest_ends = ends.all()

        # Tiles.
        fresh = Signal()
        move = Signal(TileMove)
        gap = Signal.like(fields.idle)
        next_tile = Mux(fields.bias, _State.BIAS, _State.TERM)
        with m.Switch(state):
            with m.Case(_State.WAIT), m.If(self.start):
                m.d.sync += [state.eq(next_tile), fresh.eq(1), move.eq(TileMove.FIRST)]
            with m.Case(_State.BIAS):
                m.d.sync += [state.eq(_State.TERM), fresh.eq(0)]
            with m.Case(_State.TERM):
                m.d.sync += [fresh.eq(tile_ends), gap.eq(fields.idle)]
                with m.If(tile_ends):
                    m.d.sync += move.eq(advancing)
                    with m.If(nest_ends):
                        m.d.sync += state.eq(_State.WAIT)
                    with m.Elif(fields.idle.any()):
                        m.d.sync += state.eq(_State.GAP)
                    with m.Else():
                        m.d.sync += state.eq(next_tile)
            with m.Case(_State.GAP):
                m.d.sync += gap.eq(gap - 1)
                with m.If(gap == 1):
                    m.d.sync += state.eq(next_tile)
        m.d.sync += self.row_steps.eq(
            Mux(term_now, Mux(ends[inner], fields.last_rows, self.config.rows), 0),
        )

        # One cycle later: the term, and the loop that advances after it.
        term, bias, chosen = Signal(Term), Signal(), Signal.like(advancing)
        m.d.sync += [
            bias.eq(state == _State.BIAS),
            term.valid.eq(term_now | (state == _State.BIAS)),
            term.first.eq((term_now | (state == _State.BIAS)) & fresh),
            term.last.eq(term_now & tile_ends),
            term.partial.eq(ends[inner]),
            term.final.eq(term_now & nest_ends),
            term.move.eq(move),
            chosen.eq(Mux(term_now, advancing, 0)),
        ]

        # Two cycles later: its steps. Three: the addresses.
        terms = delay_line(m, term, 2, "term")
        biases = delay_line(m, bias, 1, "bias")
        m.d.comb += self.term.eq(terms[-1])
        activation_addr = Signal(ADDRESS_BITS)
        for kind, constant, addr in (("w", None, self.weight_addr), ("x", fields.one, activation_addr)):
            pointer = self._pointer(m, kind, LOOPS, chosen)
            if constant is None:
                constant = self._pointer(m, "b", OUTER_LOOPS, chosen)
            with m.If(terms[1].valid):
                m.d.sync += addr.eq(Mux(biases[1], constant, pointer))
        m.d.comb += self.activation_addr.eq(delay_line(m, activation_addr, BROADCAST_LATENCY, "activation_addr")[-1])
        return m

    def _pointer(self, m: Module, kind: str, loops: tuple[str, ...], chosen: Signal) -> Signal:
        """The address register of one operand, moved by the step of the chosen loop."""
        pointer, step = Signal(ADDRESS_BITS, name=f"{kind}_pointer"), Signal(ADDRESS_BITS, name=f"{kind}_step")
        with m.Switch(chosen):
            for loop in loops:
                with m.Case(1 + LOOPS.index(loop)):
                    m.d.sync += step.eq(self.fields[f"{kind}_{loop}"])
            with m.Default():
                m.d.sync += step.eq(0)
        with m.If(self.start):
            m.d.sync += pointer.eq(self.fields[f"{kind}_base"])
        with m.Else():
            m.d.sync += pointer.eq(pointer + step)
        return pointer
