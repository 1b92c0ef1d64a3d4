"""Sequencer against its twin in software, with pretended units and a program memory.

The bench compares starts of units with their instructions and operands, cycles by what they are
charged to, registers (which every program sends at its end), and faults.

Parameters: ``count`` of random programs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from typing import Any

import cocotb

from dither.arch.isa import INSTRUCTIONS, OPCODE_BITS, REGISTERS, STACK_DEPTH, WORD_BITS, Instruction
from dither.arch.regmap import PHASES
from dither.arch.timing import BLOCK_RAM_LATENCY
from dither_hw.control.sequencer import UNITS

from . import coverage
from .control_programs import Job, Outcome, Twin, layout, random_program
from .cycles import begin, next_cycle, settled
from .runner import bench_parameters
from .words import pack_fields

I = Instruction.make  # noqa: E741


class _Units:
    """All units in one: answers as the jobs say, and checks what it is started with."""

    def __init__(self, dut: Any, jobs: Sequence[Job], random: Random) -> None:
        self.dut = dut
        self.jobs = list(jobs)
        self._random = random
        self._job: Job | None = None
        self._cycle = 0

    def drive(self) -> None:
        dut, job = self.dut, self._job
        last = job is not None and self._cycle == len(job.waits) - 1
        dut.unit_done.value = last
        dut.waiting.value = job is not None and job.waits[self._cycle]
        dut.result.value = job.result if job is not None and last else self._random.getrandbits(32)

    def settle(self) -> None:
        dut = self.dut
        unit, start = int(dut.unit.value), int(dut.unit_start.value)
        if self._job is None:
            if start:
                assert unit == start, "a unit is started that does not own the memories"
                assert self.jobs, "a unit is started after the end of the program"
                self._job, self._cycle = self.jobs.pop(0), 0
                self._check(start)
        else:
            assert start == 0, "a unit is started while another works"
            self._check(unit)
            self._cycle += 1
            if self._cycle == len(self._job.waits):
                self._job = None

    def _check(self, unit: int) -> None:
        assert self._job is not None
        instruction = self._job.instruction
        assert unit == 1 << UNITS[instruction.name].value, f"units {unit:#b} work on {instruction}"
        bits = int(self.dut.instruction.value) & ((1 << instruction.format.bits) - 1)
        expected = pack_fields(instruction.encode())
        assert bits == expected, f"instruction {bits:#x}, not {expected:#x}: {instruction}"
        values = int(self.dut.operands.value)
        operands = [values >> (32 * i) & 0xFFFFFFFF for i in range(len(self._job.operands))]
        assert operands == self._job.operands, f"operands {operands}, not {self._job.operands}: {instruction}"


async def _execute(dut: Any, words: Sequence[int], entry: int, outcome: Outcome, random: Random) -> None:
    """Run one program and compare; starts while it runs are noise that must not matter."""
    # A start is a cycle on its way.
    units, cycles = _Units(dut, outcome.jobs, random), Counter[str](fetch=-1)
    limit = outcome.cycles.total() + 20
    addresses, busy = deque([0] * BLOCK_RAM_LATENCY, maxlen=BLOCK_RAM_LATENCY), True
    dut.start.value, dut.entry.value = 1, entry
    await settled(dut)
    assert (int(dut.busy.value), int(dut.unit_start.value)) == (0, 0), "busy before the start"
    await next_cycle(dut)
    while busy:
        assert cycles.total() < limit, f"not done after {limit} cycles"
        address = addresses[0]
        dut.program_data.value = words[address] if address < len(words) else random.getrandbits(WORD_BITS)
        # None in the cycle in which it becomes idle: that would be a start.
        dut.start.value = random.random() < 0.3 and cycles.total() + 1 < outcome.cycles.total()
        dut.entry.value = random.getrandbits(16)
        units.drive()
        await settled(dut)
        busy = bool(int(dut.busy.value))
        if cycles.total() + 1 < outcome.cycles.total():
            assert not int(dut.fault.value), "a fault before the end"
        units.settle()
        cycles[PHASES[int(dut.phase.value)]] += busy
        addresses.append(int(dut.program_addr.value))
        await next_cycle(dut)
    assert not units.jobs, f"ended with {len(units.jobs)} instructions to go"
    assert cycles == outcome.cycles, f"cycles {cycles}, not {outcome.cycles}"
    assert int(dut.fault.value) == outcome.fault, f"fault is not {outcome.fault}"
    for instruction in outcome.control:
        coverage.meet(coverage.UNITS, instruction)


async def _begin(dut: Any, random: Random) -> Twin:
    await begin(dut, start=0, unit_done=0, waiting=0, result=0, entry=0, program_data=0)
    twin = Twin(random)
    # Registers outlive a reset.
    instructions = [
        I("SET", target=r, source=0, value=random.randint(-(1 << 31), (1 << 31) - 1)) for r in range(REGISTERS)
    ]
    await _check(dut, twin, [[*instructions, I("HALT")]], random)
    return twin


async def _check(dut: Any, twin: Twin, blocks: Sequence[Sequence[Instruction]], random: Random) -> Outcome:
    """Run blocks (the first is the main program, see :func:`layout`) against the twin."""
    words, _ = layout(blocks)
    outcome = twin.run(words, 0)
    await _execute(dut, words, 0, outcome, random)
    return outcome


@cocotb.test()
async def random_programs(dut: Any) -> None:
    random = Random(cocotb.RANDOM_SEED)
    twin, count = await _begin(dut, random), bench_parameters()["count"]
    while count:
        words, entry = random_program(random)
        registers = list(twin.registers)
        try:
            outcome = twin.run(words, entry)
        except OverflowError:
            twin.registers = registers
            continue
        assert not outcome.fault
        await _execute(dut, words, entry, outcome, random)
        count -= 1


@cocotb.test()
async def full_stack(dut: Any) -> None:
    """As many loops, calls, or both, as the stack holds."""
    random = Random(cocotb.RANDOM_SEED)
    twin = await _begin(dut, random)
    count = I("SET", target=1, source=1, value=1)
    emit = [I("EMIT", source=1), I("HALT")]
    # A few of them twice: all would take too long.
    loops = [I("LOOP", register=0, count=2 if i % 4 == 3 else 1) for i in range(STACK_DEPTH)]
    assert not (await _check(dut, twin, [[*loops, count, *[I("END")] * STACK_DEPTH, *emit]], random)).fault
    calls = [[count, I("CALL", target=i + 1), count, I("RETURN")] for i in range(1, STACK_DEPTH)]
    blocks = [[I("CALL", target=1), *emit], *calls, [count, I("RETURN")]]
    assert not (await _check(dut, twin, blocks, random)).fault
    both = [
        [I("LOOP", register=0, count=1 + i % 2), count, I("CALL", target=i + 1), I("END"), I("RETURN")]
        for i in range(1, STACK_DEPTH // 2)
    ]
    blocks = [[I("LOOP", register=0, count=1), I("CALL", target=1), I("END"), *emit], *both, [count, I("RETURN")]]
    assert not (await _check(dut, twin, blocks, random)).fault


@cocotb.test()
async def faults(dut: Any) -> None:
    """Every fault ends the program in its cycle, a loop of no iterations in the next; and the next
    program runs as if nothing had been."""
    random = Random(cocotb.RANDOM_SEED)
    twin = await _begin(dut, random)
    loop, call = I("LOOP", register=0, count=1), I("CALL", target=1)
    faulty: dict[str, list[list[Instruction]]] = {
        "END without LOOP": [[I("END")]],
        "RETURN without CALL": [[I("RETURN")]],
        "END within a subroutine": [[loop, call, I("HALT")], [I("END")]],
        "RETURN within a loop": [[call, I("HALT")], [loop, I("RETURN")]],
        "END behind the last": [[loop, I("END"), I("END")]],
        "RETURN behind the last": [[call, I("RETURN")], [I("RETURN")]],
        "no iterations": [[I("LOOP", register=0, count=0)]],
        "less than none": [[I("SET", target=3, source=0, value=-3), I("LOOP", register=3, count=2)]],
        "register and count cancel": [[I("SET", target=3, source=0, value=-7), I("LOOP", register=3, count=7)]],
        "one loop too many": [[loop] * (STACK_DEPTH + 1)],
        "one call too many": [[I("CALL", target=0)]],
        "a call on a full stack": [[*[loop] * STACK_DEPTH, I("CALL", target=0)]],
        "a loop on a full stack": [[*[loop] * (STACK_DEPTH - 1), call], [loop]],
    }
    good = [[loop, I("EMIT", source=3), I("END"), call, I("HALT")], [I("RETURN")]]
    for name, blocks in faulty.items():
        dut._log.info(name)
        halted = [[*block, I("HALT")] for block in blocks]
        assert (await _check(dut, twin, halted, random)).fault, name
        assert not (await _check(dut, twin, good, random)).fault
    known = {form.opcode for form in INSTRUCTIONS}
    for opcode in sorted(set(range(1 << OPCODE_BITS)) - known):
        words = [*I("EMIT", source=0).encode(), opcode | random.getrandbits(24) << 8]
        outcome = twin.run(words, 0)
        assert outcome.fault
        await _execute(dut, words, 0, outcome, random)
