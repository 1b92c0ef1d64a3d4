"""The unit of CONTRACT and CORRELATE: R rows times L lanes of multiplications in every cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import GRADIENT_BITS, Activation, Operand
from dither.arch.timing import BROADCAST_LATENCY, MEMORY_LATENCY, MULTIPLIER_LATENCY, OPERAND_LATENCY

from ..base.interfaces import ReadPort, WritePort, instruction_layout
from ..base.pipeline import delay_line, tree_sum
from ..tables.interpolator import TablePort
from .correlate import Correlator
from .drain import Drain
from .lane import LaneGroup, Mode
from .loops import Indices, LoopNest

__all__ = ["ContractUnit"]

assert BROADCAST_LATENCY == 2, "one register for all lanes, one for each group"


class ContractUnit(wiring.Component):
    """Executes CONTRACT and CORRELATE of :mod:`dither.arch.isa`, on all R rows and L lanes at once.

    Throughput: R x L multiply-accumulates in every cycle of a term; in the drain, one row of L
    outputs a cycle, with a table one every ``lanes_per_table`` cycles. The drain of one tile
    overlaps the next. Cycles: :func:`dither.arch.timing.execution_cycles`, exactly.

    The path of a term: address of the weight word; address of the activation word; weights, in one
    register for all lanes, then in one for each interpolator group, together with the activation
    word; both in registers of each lane; products; sums. The cycles of all that are a table of
    docs/timing.md, made from :mod:`dither.arch.timing`. The sums of a complete tile are copied a
    cycle after the last; its rows go through the requantisers, if need be through the groups'
    interpolators, and to the memory.

    With a lane-wise operand, the operand's address goes to the activation memory instead of the
    weight memory, one cycle before the input's, and the multipliers keep the word that comes.
    CORRELATE fills them with left words in the same way; its products go to
    :class:`~dither_hw.contract.correlate.Correlator` by trees of adders. Without
    ``local_learning``, the unit has neither.

    Resources on ECP5, with inferred multipliers and tables: 2x4, two tables for every two lanes,
    3.2 k LUT4, 3.6 k flip-flops, 550 carry cells, 10 multipliers, 4 block RAMs, 130 MHz in nextpnr
    (speed grade 6, unit alone); 4x32 23.8 k LUT4, 33.8 k flip-flops (9.2 k of them would fit into
    the multipliers), 6.2 k carry cells, 136 multipliers, 16 block RAMs; the same without
    ``local_learning`` 20.3 k LUT4, 25.1 k flip-flops, 3.7 k carry cells.

    Attributes
    ----------
    reset : In(1)
        Makes the unit forget what is under way. Only loops, terms and drain are reset; what is in
        the lanes leaves them by itself and is not written.
    start : In(1)
        A pulse in the instruction's first cycle. ``fields`` must be steady from the cycle before
        on, ``index`` from this one on, until ``done``.
    fields : In(instruction_layout("CONTRACT"))
        The instruction; that of a CORRELATE, which is shorter, stands in the lowest bits.
    index : In(Indices)
        Values of the instruction's index registers.
    done : Out(1)
        A pulse in the instruction's last cycle: everything is written and counted.
    weight, activation : Out(ReadPort)
        Read ports of the memories of weights (words of R numbers) and activations (words of L
        numbers). Numbers have W bits; number 0 is in the lowest.
    result : Out(WritePort)
        Write port of the activation memory.
    gradient, gradient_write : Out(ReadPort), Out(WritePort)
        Ports of the gradient memory, whose words are R accumulators of 48 bits. Only with
        ``local_learning``.
    table : In(TablePort)
        Writes entries of the activation tables, address ``table * 2**table_bits + index``; not
        while an instruction that uses them runs. Only with ``activation_tables``.
    row_steps : Out(4)
        Number of rows that count in one cycle's term; bias terms do not.
    saturations : Out
        Number of outputs clipped in one cycle, by requantisers and interpolators.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        L, R, W = config.lanes, config.rows, config.width
        self.groups = L // config.lanes_per_table
        ports = {
            "reset": In(1),
            "start": In(1),
            "fields": In(instruction_layout("CONTRACT")),
            "index": In(Indices),
            "done": Out(1),
            "weight": Out(ReadPort(R * W)),
            "activation": Out(ReadPort(L * W)),
            "result": Out(WritePort(L * W)),
            "row_steps": Out(4),
            "saturations": Out(range(L + self.groups + 1)),
        }
        if config.activation_tables:
            ports["table"] = In(TablePort(value_width=W, slope_width=W))
        if config.local_learning:
            ports["gradient"] = Out(ReadPort(R * GRADIENT_BITS))
            ports["gradient_write"] = Out(WritePort(R * GRADIENT_BITS))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, fields = self.config, self.fields
        W = config.width
        nest, drain = LoopNest(config), Drain(config)
        m.submodules.nest, m.submodules.drain = (ResetInserter(self.reset)(part) for part in (nest, drain))
        # From the weight address to the register for all lanes, and on to the products.
        terms = delay_line(m, nest.term, MEMORY_LATENCY + 1 + OPERAND_LATENCY + MULTIPLIER_LATENCY, "term")
        with m.If(self.reset):
            m.d.sync += [term.eq(0) for term in terms[1:]]
        fetched, broadcast = terms[MEMORY_LATENCY], terms[MEMORY_LATENCY + 1]
        m.d.comb += [
            nest.start.eq(self.start),
            nest.fields.eq(fields),
            nest.index.eq(self.index),
            self.weight.addr.eq(nest.weight_addr),
            self.row_steps.eq(nest.row_steps),
            drain.start.eq(self.start),
            drain.fields.eq(fields),
            drain.index.eq(self.index[2]),
            drain.term.eq(terms[-1]),
            self.result.enable.eq(drain.enable),
            self.result.addr.eq(drain.addr),
        ]

        weights = [Signal(signed(W), name=f"weight{r}", reset_less=True) for r in range(config.rows)]
        m.d.sync += [weights[r].eq(self.weight.data[r * W : (r + 1) * W]) for r in range(config.rows)]
        if config.activation_tables:
            # A register in front of all groups: the loading unit is far away from most of them.
            sources = self.table.addr, self.table.value, self.table.slope
            load = [Signal.like(source, reset_less=True) for source in sources]
            load_enable = Signal()
            m.d.sync += load_enable.eq(self.table.enable)
            with m.If(self.table.enable):
                m.d.sync += [register.eq(source) for register, source in zip(load, sources, strict=True)]

        activation_addr: Value = nest.activation_addr
        done: Value = drain.done
        lanewise = Signal()
        if config.local_learning:
            correlator = Correlator(config)
            m.submodules.correlator = ResetInserter(self.reset)(correlator)
            kind = Signal(Operand)
            m.d.sync += lanewise.eq(fields.operand != Operand.WEIGHT)
            m.d.comb += [
                correlator.start.eq(self.start),
                correlator.fields.eq(fields),
                correlator.index.eq(self.index),
                correlator.pace.eq(nest.pace),
                kind.eq(Mux(fetched.bias, Operand.LANE, fields.operand)),
            ]
            wiring.connect(m, correlator.gradient, wiring.flipped(self.gradient))
            wiring.connect(m, correlator.gradient_write, wiring.flipped(self.gradient_write))
            with m.If(correlator.take.any()):
                m.d.comb += kind.eq(Mux(correlator.live, Operand.LANE, Operand.WEIGHT))
            done |= correlator.done
            own_word = terms[0].valid & lanewise
            activation_addr = Mux(own_word, nest.weight_addr, Mux(correlator.read, correlator.addr, activation_addr))
        m.d.sync += self.activation.addr.eq(activation_addr)
        m.d.comb += self.done.eq(done)

        mode = Signal(Mode)
        m.d.sync += [
            mode.shift.eq(fields.shift),
            mode.relu.eq(fields.activation == Activation.RELU),
            mode.use_table.eq(fields.activation == Activation.TABLE),
            mode.table.eq(fields.table),
        ]
        results, clips = [], []
        for g in range(self.groups):
            m.submodules[f"group{g}"] = group = LaneGroup(config)
            m.d.comb += [
                *(port.eq(weight) for port, weight in zip(group.weight, weights, strict=True)),
                group.valid.eq(broadcast.valid),
                group.first.eq(broadcast.first),
                group.last.eq(broadcast.last),
                group.drain.eq(drain.order),
                group.mode.eq(mode),
            ]
            if config.local_learning:
                m.d.comb += [
                    group.take.eq(correlator.take | (fetched.valid & lanewise)),
                    group.kind.eq(kind),
                    group.keep.eq(broadcast.valid & lanewise),
                    group.correlate.eq(correlator.term),
                    *(correlator.sums[g][r].eq(port) for r, port in enumerate(group.sums)),
                ]
            for i, port in enumerate(group.x):
                lane = g * group.lanes + i
                m.d.comb += port.eq(self.activation.data[lane * W : (lane + 1) * W])
            if config.activation_tables:
                entry = group.load.addr, group.load.value, group.load.slope
                m.d.comb += group.load.enable.eq(load_enable)
                m.d.comb += [port.eq(register) for port, register in zip(entry, load, strict=True)]
            results += list(group.result)
            clips.append(group.clips)
        m.d.comb += self.result.data.eq(Cat(*results))
        m.d.sync += self.saturations.eq(tree_sum(clips))
        return m
