"""A compact engine's host registers: program memory, and counters in a block RAM."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, WORD_BITS
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS, SATURATIONS

from ..base.interfaces import ADDRESS_BITS
from .memories import BlockMemory, WideMemory
from .sequencer import OPCODE_BITS

__all__ = ["CompactHost"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
_PLACES = {"contract": "requantise", "perturb": "weight", "loss": "loss", "update": "update"}
"""Where a phase clips."""
assert set(_PLACES.values()) == set(SATURATIONS)
_INDEX = {counter.name: COUNTER_BASE + i for i, counter in enumerate(COUNTERS)}
_MAP_BITS = (COUNTER_BASE + len(COUNTERS) - 1).bit_length()
_ZERO = _ADDRESS["start"]
"""A word of the memory that is always zero."""

_EVENTS = ("fetching", "working", "waiting", "row", "clipped")
_TURN_BITS = 3
_PENDING_BITS = 4


class CompactHost(wiring.Component):
    """The registers of :mod:`dither.arch.regmap`, as :class:`dither_hw.control.host.HostRegisters`
    has them, with all but ``status`` in one memory of 32-bit words.

    Five kinds of events are counted for up to eight cycles each in four bits; then it is that
    kind's turn, and its number goes to the counter in the memory. Which counter belongs to
    ``working`` and ``clipped`` depends on the instruction, which is remembered from its first
    working cycle until the next one's: fetching lies between them, longer than a round of turns. To
    the host the engine is busy until all counters are final, sixteen cycles longer than it is.

    Resources on iCE40UP: 200 logic cells, 2 block RAMs, and for the program 2 single-port RAMs.

    Attributes
    ----------
    addr, write, wdata, rdata : In, In, In, Out
        The host's port; a read takes one cycle. While busy the program must not be written, and all
        registers but ``status`` read zero.
    start, entry : Out
        As those of the big engine's registers.
    cleared : Out(1)
        All counters are zero: some forty cycles after a start. Nothing may be counted before.
    busy, occupied, fault : In, Out, In
        The sequencer is busy; the engine is, to the host.
    program_addr, program_data : In, Out
        Read port of the program memory, latency 1.
    opcode : In
        Of the instruction at work.
    fetching, working, waiting, row, clipped : In(1)
        What is to be counted.

    :param config: the engine; its digest is the register ``configuration``.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "addr": In(ADDRESS_BITS),
                "write": In(1),
                "wdata": In(32),
                "rdata": Out(32),
                "start": Out(1),
                "entry": Out(ADDRESS_BITS),
                "cleared": Out(1),
                "busy": In(1),
                "occupied": Out(1),
                "fault": In(1),
                "program_addr": In(ceil_log2(config.program_depth)),
                "program_data": Out(WORD_BITS),
                "opcode": In(OPCODE_BITS),
                **{event: In(1) for event in _EVENTS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.program = program = WideMemory(depth=self.config.program_depth, bits=WORD_BITS)
        load, quiet = Signal(name="load"), Signal(name="quiet")
        m.d.comb += [
            load.eq(self.write & (self.addr >= PROGRAM_WINDOW)),
            program.write.eq(load),
            program.addr.eq(Mux(load, self.addr, self.program_addr)),
            program.data.eq(self.wdata),
            self.program_data.eq(program.word),
            self.start.eq(self.write & quiet & (self.addr == _ADDRESS["start"])),
            self.entry.eq(self.wdata),
            self.occupied.eq(~quiet),
        ]
        m.submodules.registers = registers = BlockMemory(
            depth=256,
            bits=32,
            init={_ADDRESS["magic"]: MAGIC, _ADDRESS["configuration"]: int(self.config.digest(), 16)},
        )
        self._count(m, registers, quiet)
        status, readable = Signal(), Signal()
        m.d.sync += [status.eq(self.addr == _ADDRESS["status"]), readable.eq(quiet)]
        shown = Mux(status, Cat(self.occupied, self.fault), 0)
        m.d.comb += self.rdata.eq((registers.word & readable.replicate(32)) | shown)
        return m

    def _count(self, m: Module, registers: BlockMemory, quiet: Signal) -> None:
        working, place = self._targets(m)
        turn = Signal(_TURN_BITS)
        m.d.sync += turn.eq(turn + 1)
        pending = []
        for i, event in enumerate(_EVENTS):
            number, happens = Signal(_PENDING_BITS, name=f"pending_{event}"), getattr(self, event)
            with m.If(turn == i):
                m.d.sync += number.eq(happens)
            with m.Else():
                m.d.sync += number.eq(number + happens)
            pending.append(number)
        targets = [
            Const(_INDEX["cycles_fetch"], _MAP_BITS),
            working,
            Const(_INDEX["cycles_wait"], _MAP_BITS),
            Const(_INDEX["row_steps"], _MAP_BITS),
            place,
        ]
        rest = (1 << _TURN_BITS) - len(_EVENTS)
        target, step = Signal(_MAP_BITS), Signal(_PENDING_BITS)
        m.d.comb += target.eq(Array([*targets, *[Const(_ZERO, _MAP_BITS)] * rest])[turn])

        # A cycle later the sum is written, if there is anything to add: a word that is being
        # cleared may be read just then. Clearing sums zero and nothing.
        clearing = Signal()
        cleared = Signal(_MAP_BITS)
        with m.If(self.start):
            m.d.sync += [clearing.eq(1), cleared.eq(COUNTER_BASE)]
        with m.Elif(clearing):
            m.d.sync += [cleared.eq(cleared + 1), clearing.eq(cleared != _INDEX[COUNTERS[-1].name])]
        late, resetting = Signal(_MAP_BITS), Signal()
        m.d.sync += [
            late.eq(Mux(clearing, cleared, target)),
            step.eq(Mux(clearing, 0, Array([*pending, *[Const(0, _PENDING_BITS)] * rest])[turn])),
            resetting.eq(clearing),
        ]
        m.d.comb += [
            registers.addr.eq(Mux(clearing, _ZERO, target)),
            registers.write.eq(resetting | step.any()),
            registers.write_addr.eq(late),
            registers.write_data.eq(registers.word + step),
            self.cleared.eq(~clearing),
        ]
        # Turns go on while the host reads, but take no words: nothing is pending then.
        still = Signal(4, init=15)
        with m.If(self.busy):
            m.d.sync += still.eq(0)
        with m.Elif(~quiet):
            m.d.sync += still.eq(still + 1)
        m.d.comb += quiet.eq(still.all() & ~self.busy)
        with m.If(quiet):
            m.d.comb += [registers.addr.eq(self.addr), registers.write.eq(0)]

    def _targets(self, m: Module) -> tuple[Signal, Signal]:
        """The counters of an instruction's phase and of its clips."""
        opcode, before = Signal(OPCODE_BITS), Signal()
        m.d.sync += before.eq(self.working)
        with m.If(self.working & ~before):
            m.d.sync += opcode.eq(self.opcode)
        working, place = Signal(_MAP_BITS), Signal(_MAP_BITS)
        with m.Switch(opcode):
            for form in INSTRUCTIONS:
                with m.Case(form.opcode):
                    m.d.comb += working.eq(_INDEX[f"cycles_{form.phase}"])
                    if form.phase in _PLACES:
                        m.d.comb += place.eq(_INDEX[f"saturations_{_PLACES[form.phase]}"])
        return working, place
