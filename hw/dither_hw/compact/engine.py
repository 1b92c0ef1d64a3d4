"""The compact engine: sequencer, data path, scalar unit and memories, between two streams of 16
bits and a host port."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.utils import ceil_log2

from dither.arch.compact.scalar.layout import SCRATCH_WORDS, layout
from dither.arch.compact.sequencer.words import Job
from dither.arch.config import EngineConfig

from .. import vendor
from ..base.interfaces import EnginePorts
from ..vendor import ice40_memory
from .contract import ContractDatapath
from .host import CompactHost
from .memories import BlockMemory, WideMemory
from .scalar import ScalarUnit
from .sequencer import CompactSequencer

__all__ = ["CompactEngine"]


class CompactEngine(wiring.Component):
    """Executes programs of :mod:`dither.arch.isa` as the golden machine does, in the cycles that
    :mod:`dither.arch.timing` says, on a fifth of the logic of the smallest
    :class:`dither_hw.engine.Engine`.

    What runs in every cycle of a training step, CONTRACT's multiplications, is parallel here too;
    everything else is done by two small sequential machines. Master parameters, gradients, moments
    and scalar tables share one single-port memory.

    Resources of 1x8 on iCE40UP5K, 256 activation words and 768 parameters: 1,885 logic cells, 8
    SB_MAC16, 27 block RAMs, 3 single-port RAMs; 26 MHz in nextpnr, limited by the scalar unit.

    Ports: :class:`~dither_hw.base.interfaces.EnginePorts`. The registers are
    :class:`~dither_hw.compact.host.CompactHost`'s; words of all memories are successive beats of 16
    bits.

    :param config: with ``compact``.
    """

    def __init__(self, config: EngineConfig) -> None:
        if not config.compact:
            raise ValueError("this configuration is not a compact one")
        self.config = config
        super().__init__(EnginePorts(config))

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        config = self.config
        host, sequencer = CompactHost(config), CompactSequencer(config)
        path, scalar = ContractDatapath(config), ScalarUnit(config)
        # A reset doesn't reach what a block RAM has read, so the sequencer would execute one more
        # word: a second cycle of reset, in which it reads the first one of its program.
        fresh = Signal(init=1)
        m.d.sync += fresh.eq(0)
        for name, part in {"host": host, "sequencer": sequencer, "path": path, "scalar": scalar}.items():
            m.submodules[name] = ResetInserter(fresh)(part)
        m.d.comb += sequencer.fresh.eq(fresh)
        # Where memories come in small blocks, as many as are needed.
        gowin = vendor.family(platform) == vendor.GOWIN
        depth = layout(config).scratch + SCRATCH_WORDS if gowin else ice40_memory.SPRAM_DEPTH
        m.submodules.state = state = WideMemory(depth=depth, bits=ice40_memory.WORD_BITS)
        scalar_works = Signal()
        m.d.comb += [
            scalar_works.eq(sequencer.job == Job.SCALAR_WORK),
            host.addr.eq(self.host_addr),
            host.write.eq(self.host_write),
            host.wdata.eq(self.host_wdata),
            self.host_rdata.eq(host.rdata),
            self.busy.eq(host.occupied),
            self.fault.eq(sequencer.fault),
            host.busy.eq(sequencer.busy),
            host.fault.eq(sequencer.fault),
            host.program_addr.eq(sequencer.program_addr),
            host.opcode.eq(sequencer.opcode),
            host.fetching.eq(sequencer.fetching),
            host.working.eq(sequencer.working),
            host.waiting.eq(sequencer.waiting),
            host.row.eq(path.row),
            host.clipped.eq(path.clipped | scalar.saturations),
            sequencer.start.eq(host.start),
            sequencer.entry.eq(host.entry),
            sequencer.cleared.eq(host.cleared),
            sequencer.program_data.eq(host.program_data),
            sequencer.path_idle.eq(path.idle),
            path.steps.eq(sequencer.steps),
            path.word.eq(sequencer.word),
            sequencer.scalar_done.eq(scalar.done),
            sequencer.scalar_waiting.eq(scalar.waiting),
            sequencer.scalar_addr.eq(scalar.control_addr),
            sequencer.scalar_write.eq(scalar.control_write),
            sequencer.scalar_data.eq(scalar.data),
            scalar.start.eq(sequencer.scalar_start),
            scalar.opcode.eq(sequencer.opcode),
            scalar.memory.eq(sequencer.memory),
            scalar.control_data.eq(sequencer.word),
            state.addr.eq(scalar.state_addr),
            state.write.eq(scalar.state_write),
            state.data.eq(scalar.data),
            scalar.state_data.eq(state.word),
        ]
        number = self._activations(m, sequencer, path, scalar, scalar_works)
        weight = self._weights(m, sequencer, path, scalar)

        m.d.comb += [
            sequencer.input_valid.eq(self.input.valid),
            sequencer.input_payload.eq(self.input.payload),
            scalar.input_valid.eq(self.input.valid),
            scalar.input_payload.eq(self.input.payload),
            self.input.ready.eq(sequencer.input_ready | scalar.input_ready),
            sequencer.output_ready.eq(self.output.ready),
            scalar.output_ready.eq(self.output.ready),
            self.output.valid.eq(sequencer.output_valid | scalar.output_valid),
        ]
        with m.Switch(sequencer.job):
            with m.Case(Job.SEND_LANES):
                m.d.comb += self.output.payload.eq(number)
            with m.Case(Job.SEND_WEIGHT):
                m.d.comb += self.output.payload.eq(weight)
            with m.Case(Job.SEND_SIGN):
                m.d.comb += self.output.payload.eq(weight[-1].replicate(16))
            with m.Case(Job.SCALAR_WORK):
                m.d.comb += self.output.payload.eq(scalar.data)
            with m.Default():
                m.d.comb += self.output.payload.eq(sequencer.accumulator)
        return ResetInserter(self.reset)(m)

    def _activations(
        self, m: Module, sequencer: CompactSequencer, path: ContractDatapath, scalar: ScalarUnit, scalar_works: Signal
    ) -> Signal:
        """The activation memory, in a bank for each lane; the number of the lane that is to be sent
        or that the scalar unit asked for a cycle ago."""
        config, width = self.config, self.config.width
        taking = Signal()
        chosen, write_lane = Signal(config.lanes), Signal(range(config.lanes))
        addr, write_addr = Signal(ceil_log2(config.activation_depth)), Signal(ceil_log2(config.activation_depth))
        written, enable, number = Signal(width), Signal(), Signal(width)
        # The lane is chosen a cycle ahead, by a bit for each: the number has a long way to go
        # through the scalar unit.
        next_lane = Mux(scalar_works, scalar.activation_lane, sequencer.next_lane)
        m.d.sync += chosen.eq(Cat(next_lane == i for i in range(config.lanes)))
        m.d.comb += [
            taking.eq(sequencer.job == Job.TAKE_LANES),
            addr.eq(Mux(scalar_works, scalar.activation_addr, path.activation_addr)),
            write_lane.eq(Mux(taking, sequencer.lane, path.result_lane)),
            write_addr.eq(Mux(taking, path.output_addr, path.result_addr)),
            written.eq(Mux(taking, self.input.payload, path.result)),
            enable.eq((taking & sequencer.moved) | path.result_enable),
        ]
        words = []
        for i in range(config.lanes):
            m.submodules[f"activation{i}"] = bank = BlockMemory(depth=config.activation_depth, bits=width)
            m.d.comb += [
                bank.addr.eq(addr),
                bank.write.eq(enable & (write_lane == i)),
                bank.write_addr.eq(write_addr),
                bank.write_data.eq(written),
                path.activation[i * width : (i + 1) * width].eq(bank.word),
            ]
            words.append(bank.word & chosen[i].replicate(width))
        m.d.comb += [number.eq(reduce(or_, words)), scalar.activation_data.eq(number)]
        return number

    def _weights(self, m: Module, sequencer: CompactSequencer, path: ContractDatapath, scalar: ScalarUnit) -> Signal:
        """The weight memory, written a cycle late; the word read."""
        taking = Signal()
        m.submodules.weight = memory = BlockMemory(depth=self.config.parameter_depth, bits=self.config.width)
        enable, addr, written = Signal(), Signal.like(memory.write_addr), Signal.like(memory.write_data)
        m.d.comb += [
            taking.eq(sequencer.job == Job.TAKE_WEIGHT),
            memory.addr.eq(path.weight_addr),
            memory.write.eq(enable),
            memory.write_addr.eq(addr),
            memory.write_data.eq(written),
            path.weight.eq(memory.word),
        ]
        m.d.sync += [
            enable.eq((taking & sequencer.moved) | scalar.weight_write),
            addr.eq(Mux(taking, path.weight_addr, scalar.weight_addr)),
            written.eq(Mux(taking, self.input.payload, scalar.data)),
        ]
        return memory.word
