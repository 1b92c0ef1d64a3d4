"""ScalarUnit under a random microprogram, cycle by cycle against the interpreter.

Every strobe, address and number is compared. Parameters: ``config``, ``seed`` of the microprogram,
``count`` of instructions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import cocotb

from dither.arch.compact.scalar.interpreter import Interpreter
from dither.arch.compact.scalar.machine import START_LOAD, Source, Target
from dither.arch.isa import INSTRUCTIONS

from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters
from .scalar_programs import DUMP, random_program

LOAD, STORE = (form.opcode for form in INSTRUCTIONS if form.name in ("LOAD", "STORE"))
STROBES = {
    Target.STATE: "state_write",
    Target.WEIGHT: "weight_write",
    Target.CONTROL: "control_write",
    Target.CLIP: "saturations",
}
BEATS = 1 << 14
"""More than one instruction takes."""


@dataclass
class Step:
    """What a microinstruction shows."""

    takes: bool = False
    target: Target = Target.NONE
    address: int = 0
    data: int = 0
    reads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Addresses of what it reads."""


class Recorder(Interpreter):
    """An interpreter that remembers every step."""

    steps: list[Step]

    def steps_of(self, opcode: int, memory: int | None) -> list[Step]:
        """An instruction's, the last one DONE."""
        first = self.executed + 1
        self._steps: dict[int, Step] = {}
        count = self.run(opcode, memory)
        return [self._steps.get(number, Step()) for number in range(first, first + count)]

    def _operand(self, source: Source, x: int) -> int:
        step = self._steps.setdefault(self.executed, Step())
        match source:
            case Source.INPUT:
                step.takes = True
            case Source.STATE:
                step.reads["state"] = (self._p,)
            case Source.CONTROL:
                step.reads["control"] = (self._cp,)
            case Source.ACTIVATION:
                step.reads["activation"] = (self._ap % len(self.activation), self._lane % len(self.activation[0]))
        return super()._operand(source, x)

    def _write(self, target: Target, x: int, y: int) -> None:
        step = self._steps.setdefault(self.executed, Step())
        step.target, step.data = target, y
        step.address = {Target.STATE: self._p, Target.WEIGHT: self._wp, Target.CONTROL: self._cp}.get(target, 0)
        super()._write(target, x, y)


class Bench:
    """The unit between memories and streams of its own, and the interpreter beside it."""

    def __init__(self, dut: Any, random: Random) -> None:
        config, self.dut, self.random = bench_config(), dut, random
        program = random_program(bench_parameters()["seed"])
        self.model = Recorder(program, config.lanes, config.activation_depth, config.parameter_depth)
        model = self.model
        for memory in (model.state, model.control, model.weight, *model.activation):
            memory[:] = [number(random) for _ in memory]
        self.state, self.control = list(model.state), list(model.control)
        self.activation, self.weight = [list(word) for word in model.activation], list(model.weight)
        self.cycle = self.stalls = 0
        self.seen: set[Target] = set()

    async def instruction(self, opcode: int) -> None:
        """One from ``start`` to ``done``, with streams that are eager or not."""
        random, dut = self.random, self.dut
        memory = random.randrange(8)
        transfer = opcode in (LOAD, STORE)
        self.model.input.clear()
        beats = [number(random) for _ in range(BEATS)]
        self.model.feed(beats)
        steps = self.model.steps_of(opcode, memory if transfer else None)
        self.beats = iter(beats)
        self.offered: int | None = None
        self.eager = random.choice((0.2, 0.5, 1.0)), random.choice((0.2, 0.5, 1.0))
        dut.start.value, dut.opcode.value, dut.memory.value = 1, opcode, memory
        await self.passes(Step())
        dut.start.value, dut.opcode.value, dut.memory.value = 0, random.randrange(32), random.randrange(8)
        await self.passes(Step())
        for place, step in enumerate(steps):
            last = place == len(steps) - 1
            await self.passes(Step())
            while not await self.passes(step, acts=True, last=last):
                self.stalls += 1

    async def passes(self, step: Step, *, acts: bool = False, last: bool = False) -> bool:
        """One cycle, in which the unit is to do this. Returns whether it did, or waits."""
        dut, random = self.dut, self.random
        if self.offered is None and random.random() < self.eager[0]:
            self.offered = next(self.beats)
        offered = self.offered is not None
        ready = random.random() < self.eager[1]
        dut.input_valid.value = offered
        dut.input_payload.value = number(random) if self.offered is None else self.offered
        dut.output_ready.value = ready
        await settled(dut)
        gives = acts and step.target == Target.OUTPUT
        takes = acts and step.takes
        does = acts and (offered or not takes) and (ready or not gives)
        want = {
            "done": last,
            "waiting": acts and not does,
            "input_ready": takes and (ready or not gives),
            "output_valid": gives and (offered or not takes),
        } | {name: does and step.target == target for target, name in STROBES.items()}
        got = {name: bool(getattr(dut, name).value) for name in want}
        assert got == want, f"cycle {self.cycle}: {got}, not {want} in {step}"
        addresses = {
            name: int(getattr(dut, f"{name}_addr").value) for name in ("state", "control", "weight", "activation")
        }
        lane = int(dut.activation_lane.value)
        if acts:
            for name, address in step.reads.items():
                at = (addresses[name], lane)[: len(address)]
                assert at == address, f"cycle {self.cycle}: {name} is read at {at}, not {address}"
        if does:
            self.writes(step, addresses)
        if takes and does:
            self.offered = None
        state = number(random) if dut.state_write.value else self.state[addresses["state"]]
        control = self.control[addresses["control"]]
        activation = self.activation[addresses["activation"]][lane]
        await next_cycle(dut)
        dut.state_data.value, dut.control_data.value, dut.activation_data.value = state, control, activation
        self.cycle += 1
        return does

    def writes(self, step: Step, addresses: dict[str, int]) -> None:
        """What a step leaves."""
        self.seen.add(step.target)
        memories = {
            Target.STATE: ("state", self.state),
            Target.CONTROL: ("control", self.control),
            Target.WEIGHT: ("weight", self.weight),
        }
        data = int(self.dut.data.value)
        if step.target in memories:
            name, memory = memories[step.target]
            at = addresses[name], data
            assert at == (step.address, step.data), f"cycle {self.cycle}: {at} is written, not {step}"
            memory[step.address] = data
        elif step.target == Target.OUTPUT:
            assert data == step.data, f"cycle {self.cycle}: {data} is sent, not {step}"


def number(random: Random) -> int:
    """16 bits, corners often."""
    return random.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF)) if random.random() < 0.3 else random.getrandbits(16)


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    random = Random(cocotb.RANDOM_SEED)
    bench = Bench(dut, random)
    await begin(
        dut,
        start=0,
        opcode=0,
        memory=0,
        input_valid=0,
        input_payload=0,
        output_ready=0,
        state_data=0,
        control_data=0,
        activation_data=0,
    )
    for _ in range(bench_parameters()["count"]):
        await bench.instruction(random.choice((LOAD, STORE)) if random.random() < 0.3 else random.randrange(32))
    await bench.instruction(DUMP)
    print(f"{bench.cycle} cycles, {bench.stalls} of them waiting")
    assert START_LOAD == 1 << 5, "opcodes and transfers begin apart"
    assert bench.seen == set(Target), f"never a target: {set(Target) - bench.seen}"
    assert bench.stalls > 100, "streams hardly ever made it wait"
    assert (bench.state, bench.control) == (bench.model.state, bench.model.control)
    assert (bench.weight, bench.activation) == (bench.model.weight, bench.model.activation)
