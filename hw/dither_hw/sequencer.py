"""The sequencer: fetches instructions, reads their operands, runs loops and calls, starts units."""

from __future__ import annotations

from enum import Enum

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.isa import (
    INSTRUCTIONS,
    LOCAL_INSTRUCTIONS,
    OPCODE_BITS,
    REGISTERS,
    STACK_DEPTH,
    WORD_BITS,
    InstructionFormat,
)
from dither.regmap import PHASES

from .interfaces import ADDRESS_BITS, instruction_layout

__all__ = ["INSTRUCTION_WORDS", "OPERANDS", "UNITS", "Sequencer", "Unit"]

INSTRUCTION_WORDS = max(form.words for form in INSTRUCTIONS)
OPERANDS = max(len(form.sources) for form in INSTRUCTIONS)
_OPCODES = {form.name: form.opcode for form in INSTRUCTIONS}


class Unit(Enum):
    """Units that the sequencer starts; the value is the unit's bit in ``Sequencer.unit``."""

    TRANSFER = 0
    CONTRACT = 1
    LOSS = 2
    PARAMETER = 3
    UPDATE = 4
    DITHER = 5
    TRANSPOSE = 6


UNITS: dict[str, Unit] = {
    "PULL": Unit.TRANSFER,
    "EMIT": Unit.TRANSFER,
    "LOAD": Unit.TRANSFER,
    "STORE": Unit.TRANSFER,
    "CONTRACT": Unit.CONTRACT,
    "LOSS": Unit.LOSS,
    "PERTURB": Unit.PARAMETER,
    "ACCUMULATE": Unit.PARAMETER,
    "UPDATE": Unit.UPDATE,
    "CORRELATE": Unit.CONTRACT,
    "DITHER": Unit.DITHER,
    "TRANSPOSE": Unit.TRANSPOSE,
}
"""The unit that executes an instruction; the sequencer executes all others itself."""


class Sequencer(wiring.Component):
    """Executes a program, one instruction after the other.

    An instruction of w words with s register operands is fetched in ``dither.timing.fetch_cycles`` (w + 1, and s + 1
    more where s > 0); control instructions then execute in one cycle, units take as long as they do.

    Resources: the instruction register (one flip-flop a bit of the longest instruction), two small memories
    (registers, stack), two 32-bit adders.

    Attributes
    ----------
    start, entry : In
        A pulse on ``start`` begins at word ``entry``; heeded only while not busy.
    busy, fault : Out
        A program runs; the last one ended by an unknown opcode, a loop of no iterations, a stack overflow, an
        underflow, or an END or RETURN without its LOOP or CALL.
    program_addr, program_data : Out, In
        Read port of the program memory, latency 1.
    instruction : Out
        The instruction at work, opcode in the lowest bits; stable from a unit's start to its done.
    operands : Out
        Values of its source registers, in the order of :attr:`dither.isa.InstructionFormat.sources`.
    unit, unit_start, unit_done : Out, Out, In
        A bit for each :class:`Unit`: which is at work, and a pulse that starts it; then a pulse in its last cycle.
    result : In(32)
        The unit's result in its last cycle, for instructions with a target register.
    waiting : In(1)
        The unit can do nothing in this cycle but wait for a stream.
    phase : Out
        What this cycle is charged to while ``busy``, an index of :data:`dither.regmap.PHASES`.

    :param local_learning: whether the engine has what :data:`dither.isa.LOCAL_INSTRUCTIONS` need; without it, their
        opcodes are unknown.
    """

    def __init__(self, *, local_learning: bool = True) -> None:
        self.instructions = [form for form in INSTRUCTIONS if local_learning or form.name not in LOCAL_INSTRUCTIONS]
        super().__init__(
            {
                "start": In(1),
                "entry": In(ADDRESS_BITS),
                "busy": Out(1),
                "fault": Out(1),
                "program_addr": Out(ADDRESS_BITS),
                "program_data": In(WORD_BITS),
                "instruction": Out(INSTRUCTION_WORDS * WORD_BITS),
                "operands": Out(data.ArrayLayout(32, OPERANDS)),
                "unit": Out(len(Unit)),
                "unit_start": Out(len(Unit)),
                "unit_done": In(1),
                "result": In(32),
                "waiting": In(1),
                "phase": Out(range(len(PHASES))),
            }
        )

    def _fields(self, form: InstructionFormat) -> data.View:
        return data.View(instruction_layout(form.name), self.instruction[: form.bits])

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = Array(Signal(WORD_BITS, name=f"word{i}") for i in range(INSTRUCTION_WORDS))
        m.d.comb += self.instruction.eq(Cat(*words))
        opcode = words[0][:OPCODE_BITS]

        m.submodules.registers = registers = Memory(shape=32, depth=REGISTERS, init=[])
        operand = registers.read_port()
        result = registers.write_port()

        # Properties of the instruction. The first word has only just arrived when the length is needed, so its
        # opcode is looked up on the way in.
        index = Signal(range(INSTRUCTION_WORDS + 1))
        length = Signal.like(index)
        sources = Signal(range(OPERANDS + 1))
        fetching = Signal()
        arriving = Signal(OPCODE_BITS)
        m.d.comb += [length.eq(1), arriving.eq(Mux(fetching & (index == 1), self.program_data[:OPCODE_BITS], opcode))]
        with m.Switch(arriving):
            for form in self.instructions:
                with m.Case(form.opcode):
                    m.d.comb += [length.eq(form.words), sources.eq(len(form.sources))]
        unit = Signal(len(Unit))
        known = Signal()
        writes = Signal()
        phase = Signal(range(len(PHASES)), init=PHASES.index("control"))
        with m.Switch(opcode):
            for form in self.instructions:
                with m.Case(form.opcode):
                    m.d.comb += [known.eq(1), phase.eq(PHASES.index(form.phase))]
                    fields = self._fields(form)
                    with m.Switch(index):
                        for i, source in enumerate(form.sources):
                            with m.Case(i):
                                m.d.comb += operand.addr.eq(fields[source])
                    if form.name in UNITS:
                        m.d.comb += unit.eq(1 << UNITS[form.name].value)
                    if form.writes_register:
                        m.d.comb += [writes.eq(1), result.addr.eq(fields.target)]

        pc = Signal(ADDRESS_BITS)
        executing = Signal()
        working = Signal()
        halting = Signal()
        failing = Signal()
        m.d.comb += self.program_addr.eq(pc)
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [pc.eq(self.entry), index.eq(0), self.fault.eq(0)]
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += fetching.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(index != 0):
                    m.d.sync += words[index - 1].eq(self.program_data)
                with m.If((index != 0) & (index == length)):
                    m.d.sync += index.eq(0)
                    with m.If(sources == 0):
                        m.next = "EXECUTE"
                    with m.Else():
                        m.next = "OPERANDS"
                with m.Else():
                    m.d.sync += pc.eq(pc + 1)
            with m.State("OPERANDS"):
                m.d.sync += index.eq(index + 1)
                for i in range(OPERANDS):
                    with m.If(index == i + 1):
                        m.d.sync += self.operands[i].eq(operand.data)
                with m.If(index == sources):
                    m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += executing.eq(1)
                m.d.sync += index.eq(0)
                with m.If(~known | halting | failing):
                    m.d.sync += self.fault.eq(~halting)
                    m.next = "IDLE"
                with m.Elif(unit != 0):
                    m.next = "WORK"
                with m.Else():
                    m.next = "FETCH"
            with m.State("WORK"):
                m.d.comb += working.eq(1)
                with m.If(self.unit_done):
                    m.next = "FETCH"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))

        m.d.comb += [
            self.unit.eq(Mux(executing | working, unit, 0)),
            self.unit_start.eq(Mux(executing, unit, 0)),
            self.phase.eq(PHASES.index("fetch")),
        ]
        with m.If(self.waiting):
            m.d.comb += self.phase.eq(PHASES.index("wait"))
        with m.Elif(executing | working):
            m.d.comb += self.phase.eq(phase)

        value = self._control(m, opcode, executing, pc, halting, failing)
        finishing = Mux(unit == 0, executing, working & self.unit_done)
        m.d.comb += [
            result.data.eq(Mux(unit == 0, value, self.result)),
            result.en.eq(finishing & writes & (result.addr != 0)),  # register 0 reads zero
        ]
        return m

    def _control(
        self, m: Module, opcode: Signal, executing: Signal, pc: Signal, halting: Signal, failing: Signal
    ) -> Signal:
        """Control instructions: sets ``pc``, ``halting`` and ``failing``; returns what they write to a register."""
        frame = data.StructLayout({"address": ADDRESS_BITS, "remaining": 32, "loop": 1})
        m.submodules.stack = stack = Memory(shape=frame, depth=STACK_DEPTH, init=[])
        top, push = stack.read_port(), stack.write_port()
        level = Signal(range(STACK_DEPTH + 1))
        empty, full = level == 0, level == STACK_DEPTH
        left, right = self.operands[0], self.operands[1]
        count = Signal(signed(34))
        m.d.comb += [top.addr.eq(level - 1), push.addr.eq(level), push.data.address.eq(pc)]
        with m.If(~self.busy):
            m.d.sync += level.eq(0)

        value = Signal(32)
        fields = {form.name: self._fields(form) for form in INSTRUCTIONS}
        m.d.comb += count.eq(left.as_signed() + fields["LOOP"].count)
        with m.Switch(opcode):
            with m.Case(_OPCODES["HALT"]):
                m.d.comb += halting.eq(1)
            with m.Case(_OPCODES["LOOP"]):
                m.d.comb += [failing.eq(full | (count <= 0)), push.data.loop.eq(1), push.data.remaining.eq(count)]
                with m.If(executing & ~failing):
                    m.d.comb += push.en.eq(1)
                    m.d.sync += level.eq(level + 1)
            with m.Case(_OPCODES["CALL"]):
                m.d.comb += failing.eq(full)
                with m.If(executing & ~failing):
                    m.d.comb += push.en.eq(1)
                    m.d.sync += [level.eq(level + 1), pc.eq(fields["CALL"].target)]
            with m.Case(_OPCODES["END"]):
                m.d.comb += [
                    failing.eq(empty | ~top.data.loop),
                    push.addr.eq(level - 1),
                    push.data.address.eq(top.data.address),
                    push.data.loop.eq(1),
                    push.data.remaining.eq(top.data.remaining - 1),
                ]
                with m.If(executing & ~failing):
                    with m.If(top.data.remaining == 1):
                        m.d.sync += level.eq(level - 1)
                    with m.Else():
                        m.d.comb += push.en.eq(1)
                        m.d.sync += pc.eq(top.data.address)
            with m.Case(_OPCODES["RETURN"]):
                m.d.comb += failing.eq(empty | top.data.loop)
                with m.If(executing & ~failing):
                    m.d.sync += [level.eq(level - 1), pc.eq(top.data.address)]
            with m.Case(_OPCODES["SET"]):
                m.d.comb += value.eq(left + fields["SET"].value)
            with m.Case(_OPCODES["ADD"]):
                m.d.comb += value.eq(left + right)
            with m.Case(_OPCODES["SUBTRACT"]):
                m.d.comb += value.eq(left - right)
        return value
