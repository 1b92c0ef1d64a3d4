"""The host's registers: identity, start and status, counters, and the program memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import WORD_BITS
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PHASES, PROGRAM_WINDOW, REGISTERS, SATURATIONS

from ..base.interfaces import ADDRESS_BITS
from ..memory.memories import BankedMemory

__all__ = ["HostRegisters"]

_NEIGHBOURS = 2
"""Number of low address bits by which neighbouring registers differ."""
_ADDRESS = {register.name: register.address for register in REGISTERS}


class HostRegisters(wiring.Component):
    """Gives the host its registers, counters and the program memory behind one 32-bit port.

    The registers' addresses are those of :mod:`dither.arch.regmap`. ``rdata`` belongs to the
    address of two cycles before (the family's ``host_read_cycles``). A start clears the counters;
    the cycle after it, in which the start is on its way to the sequencer, is not counted. Counters
    count two cycles late, so they are final three cycles after ``busy`` falls, sooner than any host
    can ask.

    Resources: the program memory, one 32-bit counter for each entry of the table of counters, and
    its share of a read multiplexer.

    Attributes
    ----------
    addr, write, wdata, rdata : In, In, In, Out
        The host's port: address, whether to write, the value to write, and the value read.
    start, entry : Out
        A pulse that starts a program, and the address of its first word.
    busy, fault : In(1)
        What the register ``status`` shows.
    program_addr, program_data : In, Out
        Read port of the program memory, for the sequencer; latency
        :data:`~dither.arch.timing.BLOCK_RAM_LATENCY`.
    phase : In
        What this cycle is charged to, an index of :data:`dither.arch.regmap.PHASES`.
    row_steps, saturations_PLACE : In
        What is to be added to the counters of these names.

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
                "busy": In(1),
                "fault": In(1),
                "program_addr": In(ADDRESS_BITS),
                "program_data": Out(WORD_BITS),
                "phase": In(range(len(PHASES))),
                "row_steps": In(4),
                **{f"saturations_{place}": In(8) for place in SATURATIONS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.program = program = BankedMemory(
            depth=self.config.program_depth, banks=1, bits=WORD_BITS, near=True
        )
        m.d.comb += [
            program.read.addr.eq(self.program_addr),
            self.program_data.eq(program.read.data),
            program.write.addr.eq(self.addr),
            program.write.data.eq(self.wdata),
            program.write.enable.eq(self.write & (self.addr >= PROGRAM_WINDOW)),
            self.start.eq(self.write & ~self.busy & (self.addr == _ADDRESS["start"])),
            self.entry.eq(self.wdata),
        ]

        started = Signal()
        working, now = Signal(), Signal.like(self.phase)
        m.d.sync += [started.eq(self.start), working.eq(self.busy & ~started), now.eq(self.phase)]
        increments: dict[str, Value] = {f"cycles_{phase}": working & (now == i) for i, phase in enumerate(PHASES)}
        increments["row_steps"] = self.row_steps
        increments |= {f"saturations_{place}": getattr(self, f"saturations_{place}") for place in SATURATIONS}
        registers: dict[int, Value] = {
            _ADDRESS["magic"]: Const(MAGIC, 32),
            _ADDRESS["configuration"]: Const(int(self.config.digest(), 16), 32),
            _ADDRESS["status"]: Cat(self.busy, self.fault),
        }
        for i, counter in enumerate(COUNTERS):
            step = increments[counter.name]
            late = Signal(len(step), name=f"{counter.name}_step")
            total = registers[COUNTER_BASE + i] = Signal(32, name=counter.name)
            m.d.sync += [late.eq(step), total.eq(Mux(started, 0, total + late))]
        m.d.sync += self.rdata.eq(self._selected(m, registers))
        return m

    def _selected(self, m: Module, registers: dict[int, Value]) -> Value:
        """Returns the register that the address of the cycle before names.

        Registers with neighbouring addresses share a first choice.
        """
        value: Value = Const(0, 32)
        for number in sorted({address >> _NEIGHBOURS for address in registers}):
            hit, chosen = Signal(name=f"hit{number}"), Signal(32, name=f"block{number}", reset_less=True)
            m.d.sync += hit.eq(self.addr >> _NEIGHBOURS == number)
            with m.Switch(self.addr[:_NEIGHBOURS]):
                for address, register in registers.items():
                    if address >> _NEIGHBOURS == number:
                        with m.Case(address & ((1 << _NEIGHBOURS) - 1)):
                            m.d.sync += chosen.eq(register)
            value = value | (chosen & hit.replicate(32))
        return value
