"""The sequencer: it fetches instructions, reads operands, runs loops and calls, starts units."""

from __future__ import annotations

from enum import Enum

from amaranth.hdl import Array, Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.arch.isa import (
    INSTRUCTIONS,
    LOCAL_INSTRUCTIONS,
    OPCODE_BITS,
    REGISTERS,
    STACK_DEPTH,
    WORD_BITS,
    InstructionFormat,
)
from dither.arch.regmap import PHASES
from dither.arch.timing import BLOCK_RAM_LATENCY, SHORTEST_FETCH

from ..base.interfaces import ADDRESS_BITS, instruction_layout

__all__ = ["INSTRUCTION_WORDS", "OPERANDS", "UNITS", "Sequencer", "Unit"]

INSTRUCTION_WORDS = max(form.words for form in INSTRUCTIONS)
"""Number of program words of the longest instruction."""
OPERANDS = max(len(form.sources) for form in INSTRUCTIONS)
"""Most registers that one instruction reads."""
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
"""Maps an instruction's name to the unit that executes it.

Instructions that are not here are executed by the sequencer itself.
"""


class Sequencer(wiring.Component):
    """Executes a program, one instruction after the other, and starts units for what it cannot do.

    Fetching an instruction takes :func:`dither.arch.timing.fetch_cycles`. A control instruction
    then executes in one cycle; a unit takes as long as it does. What is known of an opcode, the
    operands' addresses and results pass registers of their own, so that no path leads from one
    memory to another. Units see copies of instruction, operands and start, so that the long way to
    them is no part of the sequencer's own paths.

    Resources: the instruction register (one flip-flop for each bit of the longest instruction), two
    small memories (registers, stack), two 32-bit adders.

    Attributes
    ----------
    start, entry : In
        A pulse on ``start`` begins the program at word ``entry`` a cycle later; it is ignored while
        the sequencer is busy.
    busy, fault : Out(1)
        ``busy``: a program runs. ``fault``: the last program was ended by an unknown opcode, a loop
        of no iterations, a stack overflow or underflow, or an END or RETURN without its LOOP or
        CALL.
    program_addr, program_data : Out, In
        Read port of the program memory, latency :data:`dither.arch.timing.BLOCK_RAM_LATENCY`.
    instruction : Out
        The current instruction, opcode in the lowest bits; stable from a unit's start to its done.
    operands : Out
        Values of the instruction's source registers, in the order of
        :attr:`dither.arch.isa.InstructionFormat.sources`.
    unit, unit_start, unit_done : Out, Out, In
        ``unit`` has a bit for each :class:`Unit` and says which one the instruction is for, from
        two cycles before the start until the next instruction comes. ``unit_start`` is a pulse,
        with the same bits, that starts it. ``unit_done`` is a pulse in the unit's last cycle.
    result : In(32)
        The unit's result in its last cycle, for instructions with a target register.
    waiting : In(1)
        The unit can do nothing in this cycle but wait for a stream.
    phase : Out
        What this cycle is charged to while ``busy``, an index of :data:`dither.arch.regmap.PHASES`.

    :param local_learning: whether the engine has what :data:`dither.arch.isa.LOCAL_INSTRUCTIONS`
        need; without it, their opcodes are unknown.
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
        """Returns the instruction register, read as an instruction of this format."""
        return data.View(instruction_layout(form.name), self._word[: form.bits])

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = Array(Signal(WORD_BITS, name=f"word{i}", reset_less=True) for i in range(INSTRUCTION_WORDS))
        self._word = Cat(*words)
        self._operand = [Signal(32, name=f"operand{i}", reset_less=True) for i in range(OPERANDS)]
        instruction, operands = (
            Signal(Shape.cast(port.shape()).width, name=name, reset_less=True)
            for port, name in ((self.instruction, "shown"), (self.operands, "values"))
        )
        m.d.sync += [instruction.eq(self._word), operands.eq(Cat(*self._operand))]
        m.d.comb += [self.instruction.eq(instruction), self.operands.eq(operands)]
        opcode = words[0][:OPCODE_BITS]

        m.submodules.registers = registers = Memory(shape=32, depth=REGISTERS, init=[])
        operand = registers.read_port(domain="comb")
        result = registers.write_port()

        # Properties of the instruction, in registers. A one in a shift register says into which
        # word, or which operand, goes what the program memory or the registers give.
        index = Signal(range(INSTRUCTION_WORDS + BLOCK_RAM_LATENCY + 1))
        word_due, operand_due = Signal(INSTRUCTION_WORDS), Signal(OPERANDS + 2)
        length = Signal(range(INSTRUCTION_WORDS + 1))
        # The cycle in which the instruction's last word is there. It is known in time for the
        # shortest instructions; until then it is still that of the instruction before.
        arrived = Signal.like(index, init=_last_word(1))
        sources = Signal(range(OPERANDS + 1))
        unit = Signal(len(Unit))
        own = Signal()  # no unit's
        known = Signal()
        writes = Signal()
        phase = Signal(range(len(PHASES)))
        numbers = Signal(data.ArrayLayout(len(operand.addr), OPERANDS))
        m.d.sync += [
            length.eq(1),
            arrived.eq(_last_word(1)),
            sources.eq(0),
            unit.eq(0),
            own.eq(1),
            known.eq(0),
            writes.eq(0),
            phase.eq(PHASES.index("control")),
        ]
        with m.Switch(opcode):
            for form in self.instructions:
                with m.Case(form.opcode):
                    m.d.sync += [
                        length.eq(form.words),
                        arrived.eq(_last_word(form.words)),
                        sources.eq(len(form.sources)),
                        known.eq(1),
                        phase.eq(PHASES.index(form.phase)),
                    ]
                    fields = self._fields(form)
                    m.d.sync += [numbers[i].eq(fields[source]) for i, source in enumerate(form.sources)]
                    if form.name in UNITS:
                        m.d.sync += [unit.eq(1 << UNITS[form.name].value), own.eq(0)]
                    if form.writes_register:
                        m.d.sync += [writes.eq(1), result.addr.eq(fields.target)]
        with m.If(operand_due[1:].any()):
            m.d.sync += numbers.eq(numbers.as_value() >> len(operand.addr))
        address = Signal.like(operand.addr)
        m.d.sync += address.eq(numbers[0])
        m.d.comb += operand.addr.eq(address)

        control = self._decode(m, opcode)
        pc = Signal(ADDRESS_BITS)
        following = Signal(ADDRESS_BITS)
        executing = Signal()
        working = Signal()
        m.d.comb += self.program_addr.eq(pc)
        # Whether a loop has no iterations is known a cycle after it has begun, when nothing of its
        # body is there yet.
        barren = Signal()
        m.d.sync += barren.eq(executing & control.loops & (control.remaining <= 0))
        m.d.sync += [word_due.eq(0), operand_due.eq(0)]
        for i in range(INSTRUCTION_WORDS):
            with m.If(word_due[i]):
                m.d.sync += words[i].eq(self.program_data)
        for i in range(OPERANDS):
            with m.If(operand_due[i + 2]):
                m.d.sync += self._operand[i].eq(operand.data)
        # A start is registered for a cycle, because it comes out of a comparison of addresses.
        started = Signal()
        m.d.sync += started.eq(0)
        with m.If(self.start & ~self.busy):
            m.d.sync += [started.eq(1), self.fault.eq(0)]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(~started):
                    m.d.sync += pc.eq(self.entry)
                with m.Else():
                    m.d.sync += index.eq(0)
                    m.next = "FETCH"
            with m.State("FETCH"):
                with m.If(barren):
                    m.d.sync += self.fault.eq(1)
                    m.next = "IDLE"
                m.d.sync += [index.eq(index + 1), pc.eq(pc + 1)]
                m.d.sync += word_due.eq(Mux(index == BLOCK_RAM_LATENCY - 1, 1, word_due << 1))
                with m.If(index == 0):
                    m.d.sync += following.eq(pc)
                with m.If(word_due[2]):
                    m.d.sync += following.eq(following + length)
                with m.If(index == arrived):
                    m.d.sync += [index.eq(0), word_due.eq(0)]
                    with m.If(sources == 0):
                        m.next = "DECODE"
                    with m.Else():
                        m.d.sync += operand_due.eq(1)
                        m.next = "OPERANDS"
            with m.State("OPERANDS"):
                m.d.sync += [index.eq(index + 1), operand_due.eq(operand_due << 1)]
                with m.If(index == sources):
                    # The last operand is taken in the next cycle.
                    m.next = "OPERAND"
            with m.State("OPERAND"):
                m.next = "DECODE"
            with m.State("DECODE"):
                # In this cycle, registers take what EXECUTE acts upon.
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += executing.eq(1)
                m.d.sync += [index.eq(0), pc.eq(following)]
                with m.If(~known | control.halts | control.fails):
                    m.d.sync += self.fault.eq(~control.halts)
                    m.next = "IDLE"
                with m.Elif(own):
                    m.next = "FETCH"
                with m.Else():
                    m.next = "WORK"
            with m.State("WORK"):
                m.d.comb += working.eq(1)
                with m.If(self.unit_done):
                    m.next = "FETCH"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE") | started)

        m.d.comb += [
            self.unit.eq(unit),
            self.phase.eq(PHASES.index("fetch")),
        ]
        with m.If(self.waiting):
            m.d.comb += self.phase.eq(PHASES.index("wait"))
        with m.Elif((executing & own) | working):
            m.d.comb += self.phase.eq(phase)
        m.d.sync += self.unit_start.eq(Mux(executing, unit, 0))

        self._execute(m, control, executing, pc, following)
        # A unit's result takes a cycle more on its way, and comes before the next instruction all
        # the same. So does that of SET, ADD and SUBTRACT.
        unit_finished, executed, finished = Signal(), Signal(), Signal()
        unit_result = Signal(32, reset_less=True)
        m.d.sync += [
            unit_finished.eq(working & self.unit_done & writes),
            unit_result.eq(self.result),
            executed.eq(executing & own & writes),
            finished.eq(unit_finished | executed),
            result.data.eq(Mux(unit_finished, unit_result, control.value)),
        ]
        m.d.comb += result.en.eq(finished & (result.addr != 0))  # register 0 reads zero
        return m

    def _decode(self, m: Module, opcode: Value) -> _Control:
        """Makes registers that say what a control instruction does, a cycle after its operands."""
        frame = data.StructLayout({"address": ADDRESS_BITS, "remaining": 32, "loop": 1})
        m.submodules.stack = stack = Memory(shape=frame, depth=STACK_DEPTH, init=[])
        control = _Control(stack)
        top, level = control.top, control.level
        empty, full = level == 0, level == STACK_DEPTH
        left, right = self._operand[:2]
        m.d.comb += top.addr.eq(level - 1)
        fields = {form.name: self._fields(form) for form in INSTRUCTIONS}
        # One adder each for a loop's count and for SET, ADD and SUBTRACT.
        sets, subtracts = Signal(), Signal()
        counted, step = Mux(control.ends, top.data.remaining, left.as_signed()), Signal(signed(17))
        first, second, carry = Signal(32), Signal(32), Signal()
        m.d.comb += step.eq(Mux(control.ends, -1, fields["LOOP"].count))
        m.d.sync += [
            control.halts.eq(opcode == _OPCODES["HALT"]),
            control.fails.eq(0),
            control.loops.eq(opcode == _OPCODES["LOOP"]),
            control.calls.eq(opcode == _OPCODES["CALL"]),
            control.ends.eq(opcode == _OPCODES["END"]),
            control.returns.eq(opcode == _OPCODES["RETURN"]),
            control.last.eq(top.data.remaining == 1),
            control.target.eq(Mux(control.calls, fields["CALL"].target, top.data.address)),
            control.jumps.eq((opcode == _OPCODES["CALL"]) | (opcode == _OPCODES["RETURN"])),
            control.remaining.eq(counted + step),
            sets.eq(opcode == _OPCODES["SET"]),
            subtracts.eq(opcode == _OPCODES["SUBTRACT"]),
            first.eq(left),
            second.eq(Mux(sets, fields["SET"].value.as_unsigned(), right ^ subtracts.replicate(32))),
            carry.eq(subtracts),
            control.value.eq(first + second + carry),
        ]
        with m.Switch(opcode):
            with m.Case(_OPCODES["LOOP"], _OPCODES["CALL"]):
                m.d.sync += control.fails.eq(full)
            with m.Case(_OPCODES["END"]):
                m.d.sync += control.fails.eq(empty | ~top.data.loop)
            with m.Case(_OPCODES["RETURN"]):
                m.d.sync += control.fails.eq(empty | top.data.loop)
        return control

    def _execute(self, m: Module, control: _Control, executing: Value, pc: Signal, following: Value) -> None:
        """Opens and closes loops and calls, and sets ``pc`` where the program jumps."""
        top, push, level = control.top, control.push, control.level
        again = control.ends & ~control.last
        acting = Signal()
        m.d.comb += acting.eq(executing & ~control.fails)
        # The stack is written a cycle later: nobody reads the entry before the next instruction.
        m.d.sync += [
            push.en.eq(acting & (control.loops | control.calls | again)),
            push.addr.eq(Mux(control.ends, level - 1, level)),
            push.data.address.eq(Mux(control.ends, top.data.address, following)),
            push.data.loop.eq(~control.calls),
            push.data.remaining.eq(control.remaining),
        ]
        with m.If(~self.busy):
            m.d.sync += level.eq(0)
        with m.Elif(acting):
            with m.If(control.loops | control.calls):
                m.d.sync += level.eq(level + 1)
            with m.If(control.returns | (control.ends & control.last)):
                m.d.sync += level.eq(level - 1)
            with m.If(control.jumps | again):
                m.d.sync += pc.eq(control.target)


def _last_word(words: int) -> int:
    """Returns the cycle of a fetch in which the last of so many words is there."""
    return BLOCK_RAM_LATENCY - 1 + max(words, SHORTEST_FETCH)


class _Control:
    """The stack of open loops and calls, and what the current instruction does to it."""

    def __init__(self, stack: Memory) -> None:
        self.top, self.push = stack.read_port(), stack.write_port()
        self.level = Signal(range(STACK_DEPTH + 1))
        self.halts, self.fails = Signal(name="halts"), Signal(name="fails")
        self.loops, self.calls = Signal(name="loops"), Signal(name="calls")
        self.ends, self.returns = Signal(name="ends"), Signal(name="returns")
        self.jumps, self.last = Signal(name="jumps"), Signal(name="last")
        self.target = Signal(ADDRESS_BITS)
        self.remaining = Signal(signed(34))
        self.value = Signal(32)
