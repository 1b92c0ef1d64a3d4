"""The sequencer fetches what the program has, keeps its stack, and faults when it must."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Mux, Signal, Value, signed

from dither.arch.isa import INSTRUCTIONS, OPCODE_BITS, STACK_DEPTH, WORD_BITS
from dither.arch.timing import BLOCK_RAM_LATENCY, SHORTEST_FETCH
from dither_hw.base.interfaces import instruction_view
from dither_hw.control.sequencer import INSTRUCTION_WORDS, UNITS, Sequencer
from tests.benches.mutation import Change
from tests.cocotb.faults import only

from .harness import Bench, Proof

_CODES = {form.name: form.opcode for form in INSTRUCTIONS}


def _by_opcode(opcode: Value, values: Sequence[tuple[int, int]], otherwise: int) -> Value:
    """Returns a property of the instruction with an opcode."""
    result: Value = Const(otherwise, 8)
    for code, value in values:
        result = Mux(opcode == code, value, result)
    return result


def specify(bench: Bench) -> None:
    """The specification executes each instruction in the cycle in which the component does.

    It has a program counter and a stack of its own.
    """
    m, dut = bench.m, bench.dut
    words = [bench.register(f"word{i}") for i in range(INSTRUCTION_WORDS)]
    opcode = words[0][:OPCODE_BITS]
    fetch, execute, work, idle = (bench.state(name) for name in ("FETCH", "EXECUTE", "WORK", "IDLE"))
    index = bench.register("index")
    length = Signal(8)
    m.d.comb += length.eq(_by_opcode(opcode, [(form.opcode, form.words) for form in INSTRUCTIONS], 1))
    known = Cat(opcode == form.opcode for form in INSTRUCTIONS).any()

    # The program: where the current instruction begins, and one of its words, whichever, as the
    # memory gave it.
    pc = Signal(16)
    number = bench.constant(5, "number")
    bench.assume(number < INSTRUCTION_WORDS)
    told = Signal(WORD_BITS)
    asked = bench.past(dut.program_addr, BLOCK_RAM_LATENCY, name="asked")
    with m.If(fetch & (index == number + BLOCK_RAM_LATENCY)):
        m.d.sync += told.eq(dut.program_data)
        bench.check(asked == (pc + number)[:16], "words come from where the instruction stands")
    mine = Signal(WORD_BITS)
    m.d.comb += mine.eq(Array(words)[number])
    bench.check(~(execute & (number < length)) | (mine == told), "an instruction has the words of the program")

    # The stack.
    addresses, remaining, loops = (
        [Signal(bits, name=f"{name}{i}") for i in range(STACK_DEPTH)]
        for name, bits in (("address", 16), ("remaining", 32), ("loop", 1))
    )
    level = Signal(range(STACK_DEPTH + 1))
    top = Signal(4)
    m.d.comb += top.eq(level - 1)
    busy, fault, doomed = Signal(), Signal(), Signal()
    count = Signal(signed(36))
    operand = bench.register("operand0").as_signed()
    m.d.comb += count.eq(operand + instruction_view("LOOP", Cat(*words)).count)
    behind = (pc + length)[:16]
    ends = Signal()
    started = Signal()
    m.d.sync += [started.eq(dut.start & ~busy), doomed.eq(0)]

    def push(address: Value, left: Value, loop: int) -> None:
        with m.If(level == STACK_DEPTH):
            m.d.comb += ends.eq(1)
            m.d.sync += fault.eq(1)
        with m.Else():
            m.d.sync += level.eq(level + 1)
            m.d.sync += [Array(addresses)[level[:4]].eq(address), Array(remaining)[level[:4]].eq(left)]
            m.d.sync += Array(loops)[level[:4]].eq(loop)

    def wrong() -> None:
        m.d.comb += ends.eq(1)
        m.d.sync += fault.eq(1)

    with m.If(dut.start & ~busy):
        m.d.sync += [busy.eq(1), fault.eq(0), pc.eq(dut.entry), level.eq(0)]
    with m.If(execute):
        m.d.sync += pc.eq(behind)
        with m.Switch(opcode):
            with m.Case(_CODES["HALT"]):
                m.d.comb += ends.eq(1)
            with m.Case(_CODES["LOOP"]):
                push(behind, count[:32], 1)
                # Whether there is anything to loop over is seen a cycle later.
                m.d.sync += doomed.eq((count < 1) & (level != STACK_DEPTH))
            with m.Case(_CODES["CALL"]):
                push(behind, Const(0, 32), 0)
                m.d.sync += pc.eq(instruction_view("CALL", Cat(*words)).target)
            with m.Case(_CODES["END"]):
                with m.If((level == 0) | ~Array(loops)[top]):
                    wrong()
                with m.Elif(Array(remaining)[top] == 1):
                    m.d.sync += level.eq(level - 1)
                with m.Else():
                    m.d.sync += [pc.eq(Array(addresses)[top]), Array(remaining)[top].eq(Array(remaining)[top] - 1)]
            with m.Case(_CODES["RETURN"]):
                with m.If((level == 0) | Array(loops)[top]):
                    wrong()
                with m.Else():
                    m.d.sync += [level.eq(level - 1), pc.eq(Array(addresses)[top])]
            with m.Default(), m.If(~known):
                wrong()
    with m.If(doomed):
        wrong()
    with m.If(ends):
        m.d.sync += [busy.eq(0), doomed.eq(0)]
    bench.check(dut.busy == busy, "a program runs from its start to its end")
    bench.check(dut.fault == fault, "a fault is shown if there was one")
    bench.check(~(fetch & (index == 0)) | doomed | (dut.program_addr == pc), "the next instruction is the right one")
    bench.check(~busy | ~fault, "no fault is shown while a program runs")
    unit = _by_opcode(
        opcode, [(form.opcode, 1 << UNITS[form.name].value) for form in INSTRUCTIONS if form.name in UNITS], 0
    )
    starts = Signal(8)
    m.d.comb += starts.eq(Mux(execute, unit, 0))
    bench.check(dut.unit_start == bench.past(starts, name="starts"), "units are started for their instructions alone")
    waits = bench.past(work & ~dut.unit_done, name="waits")
    bench.check(~waits | work, "a unit's end is waited for")

    # How the component counts.
    started_too = bench.register("started")
    bench.invariant(started_too == started, "started")
    bench.invariant(~started | idle, "start")
    bench.invariant(~idle | (busy == started), "idle")
    bench.invariant(~started | (bench.register("pc") == pc), "entry")
    its_level, its_pc, following = (bench.register(name) for name in ("level", "pc", "following"))
    arrived = bench.register("arrived")
    bench.invariant(~busy | started | (its_level == level), "level")
    bench.invariant(~started | (level == 0), "empty stack")
    bench.invariant(level <= STACK_DEPTH, "stack")
    short = BLOCK_RAM_LATENCY - 1 + SHORTEST_FETCH
    (due,) = (r for r in bench.registers() if r.name == "$signal" and len(r) == INSTRUCTION_WORDS)
    bench.invariant(
        ~fetch | (due == Mux(index < 2, 0, (Const(1, INSTRUCTION_WORDS) << index) >> 2)[:INSTRUCTION_WORDS]), "due"
    )
    bench.invariant(fetch | (due == 0), "not due")
    last = BLOCK_RAM_LATENCY - 1 + Mux(length < SHORTEST_FETCH, SHORTEST_FETCH, length)
    bench.invariant(arrived >= short, "arrived")
    bench.invariant(~fetch | (index < 4) | (arrived == last), "last word")
    bench.invariant(~fetch | (index <= arrived), "index")
    bench.invariant(~fetch | (index < 4) | (bench.register("length") == length), "length")
    bench.invariant(~fetch | (its_pc == (pc + index)[:16]) | doomed, "pc")
    bench.invariant(~fetch | (index == 0) | (index >= 5) | (following == pc), "this")
    bench.invariant(~fetch | (index < 5) | (following == behind), "next")
    between = bench.state("DECODE", "OPERANDS", "OPERAND")
    bench.invariant(~(between | execute) | (following == behind), "behind")
    bench.invariant(~work | (its_pc == pc), "pc at work")
    bench.invariant(~doomed | (fetch & (index == 0)), "doomed")
    bench.invariant(~(busy & ~started & idle), "busy")
    got = ~fetch | (index > number + BLOCK_RAM_LATENCY)
    bench.invariant(~(fetch | between | execute) | ~got | (number >= length) | (mine == told), "the word")
    bench.invariant(~work | (index == 0), "index at work")
    enable, place, data = (bench.register(f"$signature__{name}") for name in ("en", "addr", "data"))
    for i in range(STACK_DEPTH):
        cell = Mux(enable & (place == i), data, bench.cell("stack", Const(i, 4)))
        want = Cat(addresses[i], remaining[i], loops[i])
        # A call has nothing to count.
        same = (cell[:16] == want[:16]) & (cell[48] == want[48]) & (~want[48] | (cell[16:48] == want[16:48]))
        bench.invariant(~busy | (level <= i) | same, "entries")


PROOFS = (
    Proof(
        "sequencer",
        "Each instruction has the words that stand in the program where it begins; loops, calls, ends and returns go "
        "where the stack says; a program ends at HALT or at a fault, and faults where the instruction set says so; "
        "units are started for their instructions and waited for.",
        f"all {len(INSTRUCTIONS)} instructions, a stack of {STACK_DEPTH}; operands as they were read",
        Sequencer,
        specify,
        faults=(
            Change("a RETURN may end a loop, an END a call", "fails", only("|", lambda old: old.operands[0])),
            Change("no loop is barren", "barren", lambda old, c, m: Const(0)),
        ),
        depth=5,
        fault_depth=24,
        slow=True,
    ),
)
