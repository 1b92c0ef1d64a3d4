"""The loop nest of CONTRACT and CORRELATE, which makes the addresses of one term in each cycle."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Operand
from dither.arch.timing import ISSUE_LATENCY

from ..base.interfaces import ADDRESS_BITS, instruction_layout, instruction_view
from ..base.pipeline import delay_line

__all__ = ["Indices", "LoopNest", "Term", "TileMove", "pace_layout", "pointer"]

Indices = data.ArrayLayout(
    ADDRESS_BITS, max(len(f.sources) for f in INSTRUCTIONS if f.phase in ("contract", "correlate"))
)
"""Holds the values of an instruction's index registers, in the order of its sources."""

_CORRELATE = next(form.opcode for form in INSTRUCTIONS if form.name == "CORRELATE")

assert ISSUE_LATENCY == 4, "loop counters, chosen loop, chosen steps, address"


class TileMove(enum.Enum):
    """How a row's output address is reached from the address of the row before it.

    An outer loop's move has the loop's place in :data:`dither.arch.isa.LOOPS`, plus one, as its
    value.
    """

    NONE = 0
    """There is no row in this cycle."""
    ROW = 1
    """The row is the next one of its tile."""
    FIRST = 2
    """The row is the first one of the first tile."""
    O0 = 4
    """The row is the first of a tile that began when loop o0 advanced; likewise the following."""
    O1 = 5
    O2 = 6
    O3 = 7


Term = data.StructLayout({"valid": 1, "bias": 1, "first": 1, "last": 1, "partial": 1, "final": 1, "move": TileMove})
"""Describes one multiply-accumulate (a term) to the pipeline behind the loop nest.

``valid``: there is a term in this cycle. ``bias``: the term is the tile's bias. ``first``: the term
is the first of its tile, so the accumulators begin with it instead of adding it. ``last``: the term
is the last of its tile. ``partial``: loop o0 is in its last iteration, so only ``last_rows`` rows
of the tile count. ``final``: the term ends the instruction. ``move``: how the tile's output address
follows from that of the tile before. In a cycle without a term, ``valid``, ``first`` and ``last``
are zero.
"""


def pace_layout(rows: int) -> data.StructLayout:
    """Returns the layout of what CORRELATE does in one cycle.

    In a cycle in which it does nothing, all members but ``live`` are zero. ``left``: a bit for each
    row, set for the row whose left word is to be read. ``live``: that row counts. ``term``: a right
    word is to be read. ``final``: that word is the instruction's last. ``advance``: a bit for each
    loop of :data:`dither.arch.isa.LOOPS`, set for the one that advances after this term.

    :param rows: R, the engine's rows.
    """
    return data.StructLayout({"left": rows, "live": 1, "term": 1, "final": 1, "advance": len(LOOPS)})


class _State(enum.Enum):
    WAIT = 0
    BIAS = 1
    TERM = 2
    GAP = 3
    LEFT = 4


def pointer(
    m: Module, kind: str, *, fields: data.View, start: Value, index: Value, loops: tuple[str, ...], advance: Value
) -> Signal:
    """Makes the address register of one operand, which moves by the step of the loop that advances.

    The address moves two cycles after ``advance``. ``index`` is added as if it were a step, in the
    second cycle after ``start``.

    :param m: module that gets the registers.
    :param kind: first letter of the operand's fields, such as ``w`` in ``w_base`` and ``w_k0``.
    :param fields: the instruction.
    :param start: high for one cycle; the address is ``KIND_base`` in the next.
    :param index: value of the operand's index register.
    :param loops: the loops that have an address step for this operand.
    :param advance: a bit for each of :data:`dither.arch.isa.LOOPS`, of which at most one is set.
    """
    address, step = (Signal(ADDRESS_BITS, name=f"{kind}_{name}", reset_less=True) for name in ("pointer", "step"))
    with m.If(start):
        m.d.sync += step.eq(index)
    with m.Else():
        steps = [fields[f"{kind}_{loop}"] & advance[LOOPS.index(loop)].replicate(ADDRESS_BITS) for loop in loops]
        m.d.sync += step.eq(reduce(or_, steps))
    with m.If(start):
        m.d.sync += address.eq(fields[f"{kind}_base"])
    with m.Else():
        m.d.sync += address.eq(address + step)
    return address


class LoopNest(wiring.Component):
    """Walks through the seven loops of CONTRACT or CORRELATE and gives one term in each cycle.

    A tile's bias term comes before its other terms. Latency:
    :data:`~dither.arch.timing.ISSUE_LATENCY` cycles from ``start`` to the first weight address.
    Throughput: one term a cycle; only the instruction's ``idle`` cycles between two tiles are
    empty. A term with a lane-wise operand takes two cycles
    (:func:`~dither.arch.timing.cycles_per_term`); latencies refer to the second of them. For
    CORRELATE, a tile begins with R cycles for its left words; its terms appear on :attr:`pace`, and
    :attr:`term` shows none. Resources on ECP5: 620 LUT4, 330 flip-flops, 84 carry cells (seven
    counters, three address registers, and a choice of one of eight steps in front of each).

    From counters to addresses, no cycle holds more than one adder. Registered flags say of every
    loop whether all loops inside it are in their last iterations, which decides which loop
    advances; a cycle later, that loop chooses the address steps; in the next cycle, these move the
    addresses.

    Attributes
    ----------
    start, fields, index : In
        The same as in :class:`~dither_hw.contract.contract.ContractUnit`.
    weight_addr, activation_addr : Out(16)
        Registers with the addresses of the term's weight word and activation word. The activation
        address comes one cycle after the weight address. It must be at the activation memory
        :data:`~dither.arch.timing.BROADCAST_LATENCY` cycles after the weight address is at the
        weight memory, because weights have that much further to go.
    term : Out(Term)
        Describes the term whose weight address is on ``weight_addr`` in this cycle.
    pace : Out(pace_layout(R))
        Says what CORRELATE does, two cycles earlier than ``term`` would. Only with
        ``local_learning``.
    row_steps : Out(4)
        Number of rows that count in a term, for the counter of the same name; 0 for bias terms and
        in empty cycles. It is not aligned with ``term``.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        ports = {
            "start": In(1),
            "fields": In(instruction_layout("CONTRACT")),
            "index": In(Indices),
            "weight_addr": Out(ADDRESS_BITS),
            "activation_addr": Out(ADDRESS_BITS),
            "term": Out(Term),
            "row_steps": Out(4),
        }
        if config.local_learning:
            ports["pace"] = Out(pace_layout(config.rows))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields, rows = self.fields, self.config.rows
        state = Signal(_State)
        correlate: Value = Const(0, 1)
        ready: Value = Const(1, 1)
        idle, last_rows = fields.idle, fields.last_rows
        if self.config.local_learning:
            # ``second`` is a term's second cycle. The operand's word is addressed in the same cycle
            # as the term itself, one cycle before the input's.
            lanewise = Signal()
            second = Signal()
            correlate, ready = Signal(name="correlate"), ~lanewise | second
            other = instruction_view("CORRELATE", fields)
            m.d.comb += [
                correlate.eq(fields.opcode == _CORRELATE),
                lanewise.eq(~correlate & (fields.operand != Operand.WEIGHT)),
            ]
            m.d.sync += second.eq(lanewise & ~second & ((state == _State.BIAS) | (state == _State.TERM)))
            idle, last_rows = Mux(correlate, other.idle, idle), Mux(correlate, other.last_rows, last_rows)
        bias_now = (state == _State.BIAS) & ready
        term_now = (state == _State.TERM) & ready

        # The loops. Registers say of every loop whether it is in its last iteration or the one
        # before, and whether all loops inside it are in their last iterations, so that it advances
        # with this term.
        ends, ends_next = Signal(len(LOOPS)), Signal(len(LOOPS))
        within = Signal(len(LOOPS) + 1, init=1)
        ones = Signal(len(LOOPS))  # loops of one iteration
        advancing = Signal(len(LOOPS))  # after this term
        for i, loop in enumerate(LOOPS):
            limit, count = fields[f"n_{loop}"], Signal(16, name=f"count_{loop}", reset_less=True)
            two, nearly = (Signal(name=f"{name}_{loop}", reset_less=True) for name in ("two", "nearly"))
            m.d.sync += [ones[i].eq(limit == 1), two.eq(limit == 2)]
            again = self.start | ends[i]
            with m.If(self.start | (term_now & within[i])):
                m.d.sync += [count.eq(Mux(again, limit, count - 1)), nearly.eq(Mux(again, two, count == 3))]
            m.d.comb += [
                ends_next[i].eq(Mux(within[i], Mux(ends[i], ones[i], nearly), ends[i])),
                advancing[i].eq(within[i] & ~ends[i]),
            ]
        for now, following in ((self.start, ones), (term_now, ends_next)):
            with m.If(now):
                m.d.sync += ends.eq(following)
                m.d.sync += [within[i + 1].eq(following[: i + 1].all()) for i in range(len(LOOPS))]
        inner = len(REDUCTION_LOOPS)
        tile_ends = within[inner]
        nest_ends = within[-1]

        # The state machine of a tile: left words or bias, terms, idle cycles.
        fresh = Signal()
        move = Signal(TileMove)
        gap = Signal.like(fields.idle)
        row = Signal(rows, init=1)
        next_tile = Mux(correlate, _State.LEFT, Mux(fields.bias, _State.BIAS, _State.TERM))
        with m.Switch(state):
            with m.Case(_State.WAIT), m.If(self.start):
                m.d.sync += [state.eq(next_tile), fresh.eq(1), move.eq(TileMove.FIRST)]
            with m.Case(_State.BIAS), m.If(ready):
                m.d.sync += [state.eq(_State.TERM), fresh.eq(0)]
            with m.Case(_State.LEFT):
                m.d.sync += row.eq(row.rotate_left(1))
                with m.If(row[-1]):
                    m.d.sync += state.eq(_State.TERM)
            with m.Case(_State.TERM), m.If(ready):
                m.d.sync += [fresh.eq(tile_ends), gap.eq(idle)]
                with m.If(tile_ends):
                    for i, loop in enumerate(LOOPS):
                        if loop in OUTER_LOOPS:
                            with m.If(advancing[i]):
                                m.d.sync += move.eq(1 + i)
                    with m.If(nest_ends):
                        m.d.sync += state.eq(_State.WAIT)
                    with m.Elif(idle.any()):
                        m.d.sync += state.eq(_State.GAP)
                    with m.Else():
                        m.d.sync += state.eq(next_tile)
            with m.Case(_State.GAP):
                m.d.sync += gap.eq(gap - 1)
                with m.If(gap == 1):
                    m.d.sync += state.eq(next_tile)
        m.d.sync += self.row_steps.eq(Mux(term_now, Mux(ends[inner], last_rows, rows), 0))

        # One cycle later: the term, and the loop that advances after it.
        term = Signal(Term)
        chosen = {kind: Signal.like(advancing, name=f"chosen_{kind}_copy") for kind in "wxb"}
        contract_term = term_now & ~correlate
        m.d.sync += [
            term.bias.eq(bias_now),
            term.valid.eq(contract_term | bias_now),
            term.first.eq((contract_term | bias_now) & fresh),
            term.last.eq(contract_term & tile_ends),
            term.partial.eq(ends[inner]),
            term.final.eq(contract_term & nest_ends),
            term.move.eq(move),
            *(copy.eq(advancing & contract_term.replicate(len(LOOPS))) for copy in chosen.values()),
        ]
        if self.config.local_learning:
            counts = Cat(other.last_rows > r for r in range(rows)) | ~ends[inner].replicate(rows)
            pace_term = term_now & correlate
            pace = self.pace
            m.d.sync += [
                pace.left.eq(Mux(state == _State.LEFT, row, 0)),
                pace.live.eq((row & counts).any()),
                pace.term.eq(pace_term),
                pace.final.eq(pace_term & nest_ends),
                pace.advance.eq(advancing & pace_term.replicate(len(LOOPS))),
            ]

        # Two cycles later, the loop's address steps; three cycles later, the addresses.
        terms = delay_line(m, term, 2, "term")
        m.d.comb += self.term.eq(terms[-1])
        common = {"fields": fields, "start": self.start}
        weight = pointer(m, "w", index=self.index[0], loops=LOOPS, advance=chosen["w"], **common)
        x = pointer(m, "x", index=self.index[1], loops=LOOPS, advance=chosen["x"], **common)
        bias = pointer(m, "b", index=self.index[3], loops=OUTER_LOOPS, advance=chosen["b"], **common)
        weight_addr, activation_addr = (
            Signal(ADDRESS_BITS, name=f"{name}_addr", reset_less=True) for name in ("weight", "activation")
        )
        with m.If(terms[1].valid):
            m.d.sync += [
                weight_addr.eq(Mux(terms[1].bias, bias, weight)),
                activation_addr.eq(Mux(terms[1].bias, fields.one, x)),
            ]
        later = Signal(ADDRESS_BITS, name="activation_addr_1", reset_less=True)
        m.d.sync += later.eq(activation_addr)
        m.d.comb += [self.weight_addr.eq(weight_addr), self.activation_addr.eq(later)]
        return m
