"""LossUnit with scalar tables against its golden twin: both losses, all modes, at random.

Masked lanes and extremes are among them. After every instruction the bench compares the sum, the
activation memory, the number of writes, cycles and saturations.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from dither.arch.isa import REGISTERS, Instruction, LossKind, LossMode
from dither.arch.tables import scalar_tables
from dither.arch.timing import execution_cycles
from dither.golden.loss import LossPlan

from .memories import UnitMachine
from .runner import bench_config, bench_parameters
from .scalars import load_scalar_tables
from .words import pack

DEPTH = 256
LABEL = 240
_LONG = (40, 80, 160, 300, 600, 1100, 2200, 4200)
"""Outputs of long sums of exponentials, up to 2**29: one for each exponent that random instructions
do not reach.
"""
_LONG_CYCLES = 20_000


def _instruction(random: Random, local: bool) -> Instruction:
    """Outputs and targets may stand in any order, with steps of either sign, but not on the labels;
    results above. At most one of them begins at word 0.
    """
    count = random.choice((1, 2, 3, 7, 8, 9, 10, random.randint(1, 20)))
    z_step, t_step, d_step = (random.choice((-2, -1, 0, 1, 2)) for _ in range(3))
    bases = {
        "z_base": random.randrange(40, 60),
        "t_base": random.randrange(40, 60),
        "d_base": random.randrange(150, 180),
        "label": LABEL,
    }
    if random.random() < 0.3:
        bases[first := random.choice(tuple(bases))] = 0
        z_step = abs(z_step) if first == "z_base" else z_step
        t_step = abs(t_step) if first == "t_base" else t_step
        d_step = 0 if first == "d_base" else d_step
    return Instruction.make(
        "LOSS",
        kind=random.choice(tuple(LossKind)),
        **bases,
        z_step=z_step,
        count=count,
        t_step=t_step,
        z_frac=random.choice((0, 12, 16, random.randint(0, 16), random.randint(9, 14))),
        loss_frac=random.choice((0, 16, random.randint(0, 16), random.randint(9, 14))),
        mode=random.choice(tuple(LossMode)) if local else LossMode.SUM,
        d_step=d_step,
        target=random.randrange(REGISTERS),
    )


def _outputs(numbers: np.random.Generator, count: int, lanes: int, width: int) -> NDArray[np.int64]:
    """Outputs of one magnitude around a common offset, so that exponentials differ; or extremes."""
    limit = 1 << (width - 1)
    if numbers.random() < 0.1:
        return numbers.choice([-limit, limit - 1], (count, lanes))
    spread = 1 << int(numbers.integers(1, width))
    values: NDArray[np.int64] = numbers.integers(-spread, spread, (count, lanes))
    values += numbers.integers(-limit, limit, (1, lanes)) // 2
    np.clip(values, -limit, limit - 1, out=values)
    return values


class _Bench:
    """The unit and its twin, with the losses that either keeps."""

    def __init__(self, dut: Any) -> None:
        self.config = bench_config()
        writes = {"result": "activation"} if self.config.local_learning else {}
        self.machine = UnitMachine(
            dut, reads={"activation": "activation"}, writes=writes, parts={"result": self.config.width}
        )
        self.tables = scalar_tables(self.config.table_bits)
        self.kept = np.zeros(self.config.lanes, np.int64)

    async def begin(self) -> None:
        await self.machine.begin(fields=0, load__enable=0)
        await load_scalar_tables(self.machine, *self.tables)

    async def bend(self, numbers: np.random.Generator) -> None:
        """Takes other contents than the real ones: whatever is in the tables, both must agree.

        The real exponential is zero for large arguments, and so does not tell them apart.
        """
        values, slopes = self.tables
        self.tables = values, slopes + numbers.integers(-300, 301, len(slopes))
        await load_scalar_tables(self.machine, *self.tables)

    async def execute(self, instruction: Instruction, activation: NDArray[np.int64]) -> tuple[int, int]:
        """Run and compare; the sum and the saturations."""
        machine, config = self.machine, self.config
        machine.memories = {"activation": [pack(word, config.width) for word in activation]}
        machine.expect_reads("activation", [0])
        expected = activation.astype(np.float64)
        total, saturations = LossPlan(config, instruction).run(expected, self.kept, *self.tables)
        total &= 0xFFFFFFFF
        predicted = execution_cycles(config, instruction)
        await machine.execute(instruction, predicted + 100)
        got = int(machine.dut.loss.value)
        assert got == total, f"loss {got}, not {total}: {instruction}"
        words = [pack(word, config.width) for word in expected.astype(np.int64)]
        wrong = [i for i, word in enumerate(machine.memories["activation"]) if word != words[i]]
        assert not wrong, f"words {wrong} differ: {instruction}"
        writes = {LossMode.DIFFER: 1, LossMode.ERROR: instruction["count"]}.get(LossMode(instruction["mode"]), 0)
        assert sum(machine.writes.values()) == writes * config.lanes, f"{machine.writes}: {instruction}"
        assert (machine.cycles, machine.saturations) == (predicted, saturations), f"{instruction}"
        return total, saturations


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, instructions = bench_config(), bench_parameters()["count"]
    L, W = config.lanes, config.width
    limit = 1 << (W - 1)
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    bench = _Bench(dut)
    await bench.begin()
    machine = bench.machine
    clips = masked = 0
    for number in range(instructions):
        if number == instructions // 2:
            await bench.bend(numbers)
        instruction = _instruction(random, bool(config.local_learning))
        count = instruction["count"]
        activation = numbers.integers(-limit, limit, (DEPTH, L))
        z = (instruction["z_base"] + instruction["z_step"] * np.arange(count)) % DEPTH
        t = (instruction["t_base"] + instruction["t_step"] * np.arange(count)) % DEPTH
        activation[z] = _outputs(numbers, count, L, W)
        if numbers.random() < 0.7:
            spread = 1 << int(numbers.integers(1, W))
            near = activation[z] + numbers.integers(-spread, spread, (count, L))
            activation[t] = np.clip(near, -limit, limit - 1)
        labels = numbers.integers(0, count, L)
        odd = numbers.choice([-limit, -1, count, limit - 1], L)
        activation[instruction["label"]] = np.where(numbers.random(L) < 0.2, odd, labels)
        expected, saturations = await bench.execute(instruction, activation)
        clips, masked = clips + saturations, masked + int((activation[instruction["label"]] < 0).sum())
        await machine.rest(random.choice((0, 0, 1, 7, 80)), random)
        assert int(dut.loss.value) == expected, "the sum did not stay"
    assert clips, "the stimuli never saturated"
    assert masked, "the stimuli never masked a lane"
    dut._log.info("%d instructions, %d clips, %d lanes masked", instructions, clips, masked)


@cocotb.test()
async def long_sums(dut: Any) -> None:
    """Many outputs, all near the maximum: the logarithm's highest exponents."""
    config, numbers = bench_config(), np.random.default_rng(cocotb.RANDOM_SEED)
    bench = _Bench(dut)
    await bench.begin()
    for count in _LONG:
        if 2 * count * config.lanes >= _LONG_CYCLES or count + 2 > config.activation_depth:
            continue
        # What the unit keeps has outlived the reset before this test.
        for mode in (LossMode.KEEP, LossMode.DIFFER) if config.local_learning else (LossMode.SUM,):
            activation = numbers.integers(-9, 10, (count + 2, config.lanes))
            activation[count] = numbers.integers(0, count, config.lanes)
            instruction = Instruction.make(
                "LOSS",
                kind=LossKind.CROSS_ENTROPY,
                z_base=0,
                z_step=1,
                count=count,
                label=count,
                t_base=0,
                t_step=0,
                z_frac=12,
                loss_frac=16,
                mode=mode,
                d_base=count + 1,
                d_step=0,
                target=1,
            )
            await bench.execute(instruction, activation)
