"""ScalarUnit with its own microprogram against the golden twins: random instructions, back to back.

After every instruction the bench compares all memories, scalar registers, beats, cycles and
saturations.

Parameters: ``config``, ``names`` of instructions, ``count`` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from dither.arch.compact.scalar.cycles import cycles
from dither.arch.compact.scalar.layout import STATE_WORDS, layout
from dither.arch.compact.scalar.operands import REGISTER_HIGH, REGISTER_LOW, instruction_slots
from dither.arch.isa import Distribution, Instruction, LossKind, LossMode, Memory, Rule
from dither.arch.streams import Segment
from dither.arch.streams import pack as pack_stream
from dither.arch.tables import scalar_tables
from dither.golden.loss import LossPlan
from dither.golden.probes import accumulate, perturb, row_pitch, tensor_probes
from dither.golden.update import update

from .cycles import begin, next_cycle, settled
from .runner import bench_config, bench_parameters

BITS = {Memory.MASTER: 32, Memory.GRADIENT: 48, Memory.MOMENT1: 32, Memory.MOMENT2: 32}
AREAS = tuple(BITS)
TARGET = 5
"""Number of the register that LOSS writes."""
LOWEST, HIGHEST = -(1 << 31), (1 << 31) - 1
LABEL = 0


class Bench:
    """The unit and what it works on, numbers in lists as they stand in the memories; what ought to
    be there is computed from numbers of their own."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.config = dut, bench_config()
        self.random, self.numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
        config, self.layout = self.config, layout(self.config)
        self.state, self.control = [0] * STATE_WORDS, [0] * 256
        self.weight = [0] * config.parameter_depth
        self.activation = [[0] * config.lanes for _ in range(config.activation_depth)]
        values, slopes = scalar_tables(config.table_bits)
        # Other contents than the real ones too: whatever is in the tables, both must agree.
        self.tables = values, slopes + self.numbers.integers(-3, 4, len(slopes))
        self.layout.write(self.state, Memory.SCALAR_TABLE, 0, np.stack(self.tables, axis=1))
        self.clips: dict[str, int] = {}

    async def begin(self) -> None:
        await begin(
            self.dut,
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

    async def execute(
        self,
        instruction: Instruction,
        *,
        clips: int = 0,
        beats: Sequence[int] = (),
        registers: dict[int, int] | None = None,
    ) -> list[int]:
        """Runs and counts. Returns the beats that were sent."""
        dut, random = self.dut, self.random
        slots = instruction_slots(instruction)
        self.control[: len(slots)] = slots
        for number, value in (registers or {}).items():
            self.control[REGISTER_LOW + number] = value & 0xFFFF
            self.control[REGISTER_HIGH + number] = value >> 16 & 0xFFFF
        dut.opcode.value = instruction.format.opcode
        dut.memory.value = instruction["memory"] if instruction.name in ("LOAD", "STORE") else random.randrange(8)
        dut.start.value = 1
        predicted = cycles(self.config, instruction)
        rest, sent = list(reversed(beats)), list[int]()
        passed = waited = clipped = 0
        offered, done = False, False
        while not done:
            offered = bool(rest) and (offered or random.random() < 0.5)
            ready = random.random() < 0.5
            dut.input_valid.value, dut.output_ready.value = offered, ready
            dut.input_payload.value = rest[-1] if offered else random.getrandbits(16)
            await settled(dut)
            passed += 1
            done = bool(dut.done.value)
            waited += bool(dut.waiting.value)
            clipped += bool(dut.saturations.value)
            data = int(dut.data.value)
            if offered and dut.input_ready.value:
                rest.pop()
                offered = False
            if dut.output_valid.value and ready:
                sent.append(data)
            addr, slot = int(dut.state_addr.value), int(dut.control_addr.value)
            if dut.state_write.value:
                self.state[addr] = data
            if dut.weight_write.value:
                self.weight[int(dut.weight_addr.value)] = data
            state, control = self.state[addr], self.control[slot]
            if dut.control_write.value:
                self.control[slot] = data
            activation = self.activation[int(dut.activation_addr.value)][int(dut.activation_lane.value)]
            await next_cycle(dut)
            dut.start.value = 0
            dut.state_data.value, dut.control_data.value, dut.activation_data.value = state, control, activation
            assert passed < predicted + waited + 100, f"it does not end: {instruction}"
        assert (passed - waited, clipped) == (predicted, clips), f"cycles, saturations: {instruction}"
        assert not rest, f"{len(rest)} beats are left: {instruction}"
        self.clips[instruction.name] = self.clips.get(instruction.name, 0) + clips
        return sent

    def fill(self, memory: Memory, base: int, count: int) -> NDArray[np.int64]:
        """Puts numbers of all magnitudes and extremes into an area, for parameters that an
        instruction treats.
        """
        numbers, limit = self.numbers, 1 << (BITS[memory] - 1)
        values: NDArray[np.int64] = numbers.integers(-limit, limit, count) >> numbers.integers(0, BITS[memory], count)
        corners = numbers.choice([-limit, 1 - limit, limit - 1, -1, 0, 0, 1], count)
        values = np.where(numbers.random(count) < 0.25, corners, values)
        if memory is Memory.MOMENT2:
            values &= 0xFFFFFFFF
        self.layout.write(self.state, memory, base, values)
        return values

    def same(self, before: list[int], instruction: Instruction) -> None:
        """The state memory is as it is to be, but for what microprograms use as they like."""
        end = self.layout.scratch
        wrong = [i for i in range(end) if self.state[i] != before[i]]
        assert not wrong, f"{len(wrong)} words of state differ, first at {wrong[0]}: {instruction}"

    def place(self, most: int) -> tuple[int, int]:
        """Base and number of some parameters."""
        count = self.random.choice((1, 2, self.random.randint(1, most)))
        return self.random.randint(0, self.config.parameter_depth - count), count

    async def parameters(self, name: str) -> None:
        """PERTURB or ACCUMULATE."""
        random, config = self.random, self.config
        tiles = random.choice((1, 2, 3, random.randint(1, 24)))
        inner = random.choice((1, 2, random.randint(1, max(1, 48 // tiles))))
        count = inner * tiles
        base = random.randint(0, config.parameter_depth - count)
        distribution = random.choice([each for each in Distribution if each.bits <= 1])
        shape = {"block": random.randrange(1 << 20), "inner": inner, "tiles": tiles}
        seed, step, probe = (random.choice((0, 0xFFFFFFFF, random.getrandbits(32))) for _ in range(3))
        if distribution == Distribution.COORDINATE:
            probe = 64 * shape["block"] + random.randrange(-1, inner * row_pitch(tiles, 1) + 1) & 0xFFFFFFFF
        difference = random.choice((LOWEST, HIGHEST, -1, random.randint(LOWEST, HIGHEST)))
        amplitude = random.choice((LOWEST, HIGHEST, 0, random.randint(LOWEST, HIGHEST) >> random.randrange(32)))
        xi = tensor_probes(distribution, seed, step, probe, rows=1, **shape)[:, 0]
        own = {"amplitude": amplitude} if name == "PERTURB" else {"difference": 4}
        instruction = Instruction.make(
            name, base=base, seed=1, step=2, probe=3, distribution=distribution, **shape, **own
        )
        masters, gradients = (self.fill(memory, base, count) for memory in (Memory.MASTER, Memory.GRADIENT))
        state, weight, clips = list(self.state), list(self.weight), 0
        if name == "PERTURB":
            weights, clips = perturb(masters, xi, amplitude, config.width)
            weight[base : base + count] = (weights & 0xFFFF).tolist()
        else:
            self.layout.write(state, Memory.GRADIENT, base, accumulate(gradients, xi, difference))
        await self.execute(instruction, clips=clips, registers={1: seed, 2: step, 3: probe, 4: difference})
        self.same(state, instruction)
        assert self.weight == weight, f"weights differ: {instruction}"

    async def update(self) -> None:
        """UPDATE."""
        random, (base, count) = self.random, self.place(5)
        settings = {
            "gradient_shift": random.choice((0, 47, random.randint(0, 47), random.randint(8, 34))),
            "decay1": random.choice((0, 15, random.randint(0, 15))),
            "decay2": random.choice((0, 15, random.randint(0, 15))),
            "rate_shift": random.choice((0, 31, random.randint(0, 31), random.randint(5, 20))),
        }
        rule, rate = random.choice(tuple(Rule)), random.choice((0, 0xFFFFFFFF, random.getrandbits(32)))
        instruction = Instruction.make("UPDATE", base=base, count=count, rule=rule, rate=1, **settings)
        contents = {memory: self.fill(memory, base, count) for memory in AREAS}
        values, slopes = self.tables
        expected = update(
            rule,
            *(contents[memory] for memory in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)),
            rate=rate,
            values=values,
            slopes=slopes,
            **settings,
        )
        state = list(self.state)
        self.layout.write(state, Memory.GRADIENT, base, np.zeros(count, np.int64))
        for memory in (Memory.MASTER, Memory.MOMENT1, Memory.MOMENT2):
            self.layout.write(state, memory, base, getattr(expected, memory.name.lower()))
        await self.execute(instruction, clips=expected.clips, registers={1: rate})
        self.same(state, instruction)

    async def loss(self) -> None:
        """LOSS: outputs and targets in any order, with steps of either sign."""
        random, numbers, config = self.random, self.numbers, self.config
        limit, lanes = 1 << (config.width - 1), config.lanes
        count = random.choice((1, 2, 3, random.randint(1, 10)))
        instruction = Instruction.make(
            "LOSS",
            kind=random.choice(tuple(LossKind)),
            z_base=random.randrange(21, 40),
            z_step=random.choice((-2, -1, 1, 2)),
            count=count,
            label=LABEL,
            t_base=random.randrange(21, 40),
            t_step=random.choice((-2, -1, 1, 2)),
            z_frac=random.choice((0, 12, 16, random.randint(0, 16), random.randint(9, 14))),
            loss_frac=random.choice((0, 16, random.randint(0, 16), random.randint(9, 14))),
            mode=LossMode.SUM,
            d_base=0,
            d_step=1,
            target=TARGET,
        )
        spread = 1 << int(numbers.integers(1, config.width))
        activation = numbers.integers(-spread, spread, (config.activation_depth, lanes))
        activation += numbers.integers(-limit, limit, (1, lanes)) // 2
        if random.random() < 0.3:
            activation = numbers.choice([-limit, limit - 1], activation.shape)
        np.clip(activation, -limit, limit - 1, out=activation)
        odd = numbers.choice([-limit, -1, count, limit - 1], lanes)
        activation[LABEL] = np.where(numbers.random(lanes) < 0.2, odd, numbers.integers(0, count, lanes))
        self.activation = (activation & 0xFFFF).tolist()
        total, clips = LossPlan(config, instruction).run(
            activation.astype(np.float64), np.zeros(lanes, np.int64), *self.tables
        )
        state = list(self.state)
        await self.execute(instruction, clips=clips)
        self.same(state, instruction)
        got = self.control[REGISTER_LOW + TARGET] | self.control[REGISTER_HIGH + TARGET] << 16
        assert got == total & 0xFFFFFFFF, f"loss {got:#x}, not {total & 0xFFFFFFFF:#x}: {instruction}"

    async def transfer(self, name: str) -> None:
        """LOAD over something else, or STORE of what is there."""
        random = self.random
        memory = random.choice((*AREAS, Memory.SCALAR_TABLE))
        base, count = self.place(6)
        values: NDArray[np.int64]
        if memory is Memory.SCALAR_TABLE:
            values = np.stack(self.tables, axis=1)[base : base + count]
            count = len(values)
        else:
            values = self.fill(memory, base, count)[:, None]
        instruction = Instruction.make(name, memory=memory, base=base, count=count)
        state = list(self.state)
        beats = pack_stream(self.config, [Segment(memory, values)])[:, 0].tolist()
        if name == "LOAD":
            words = self.layout.areas[memory].words
            begin = self.layout.base(memory) + words * base
            self.state[begin : begin + words * count] = [random.getrandbits(16) for _ in range(words * count)]
            await self.execute(instruction, beats=beats)
        else:
            assert await self.execute(instruction) == beats, f"{instruction}"
        self.same(state, instruction)


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    parameters = bench_parameters()
    bench = Bench(dut)
    await bench.begin()
    names = parameters["names"]
    for number in range(parameters["count"]):
        name = names[number % len(names)]
        if name in ("PERTURB", "ACCUMULATE"):
            await bench.parameters(name)
        elif name in ("LOAD", "STORE"):
            await bench.transfer(name)
        else:
            await {"UPDATE": bench.update, "LOSS": bench.loss}[name]()
    clipping = {"PERTURB", "UPDATE", "LOSS"}.intersection(names)
    assert all(bench.clips[name] for name in clipping), f"the stimuli never saturated: {bench.clips}"
