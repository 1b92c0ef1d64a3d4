"""LossUnit with scalar tables against its golden twin: both losses at random, masked lanes and extremes among them.

After every instruction: the sum, cycles, saturations.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from dither.golden.loss import loss
from dither.isa import Instruction, LossKind
from dither.tables import scalar_tables
from dither.timing import execution_cycles

from ..cocotb_runner import bench_config, bench_parameters
from .memories import UnitMachine
from .scalars import load_scalar_tables
from .words import pack

DEPTH = 256
LABEL = 200
_LONG = (300, 1100, 4200)
"""Outputs of the longest sums of exponentials, up to 2**29."""
_LONG_CYCLES = 20_000


def _instruction(random: Random) -> Instruction:
    """Outputs and targets may stand in any order, with steps of either sign, but not on the labels."""
    count = random.choice((1, 2, 3, 7, 8, 9, 10, random.randint(1, 40)))
    z_step, t_step = (random.choice((-2, -1, 1, 2)) for _ in range(2))
    return Instruction.make(
        "LOSS",
        kind=random.choice(tuple(LossKind)),
        z_base=DEPTH * random.randrange(100) + random.randrange(80, 100),
        z_step=z_step,
        count=count,
        label=LABEL + DEPTH * random.randrange(100),
        t_base=DEPTH * random.randrange(100) + random.randrange(80, 100),
        t_step=t_step,
        z_frac=random.choice((0, 12, 16, random.randint(0, 16), random.randint(9, 14))),
        loss_frac=random.choice((0, 16, random.randint(0, 16), random.randint(9, 14))),
        target=1,
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


async def _begin(dut: Any) -> UnitMachine:
    machine = UnitMachine(dut, reads={"activation": "activation"})
    await machine.begin(fields=0, load__enable=0)
    await load_scalar_tables(machine, *scalar_tables(bench_config().table_bits))
    return machine


async def _execute(machine: UnitMachine, instruction: Instruction, activation: NDArray[np.int64]) -> tuple[int, int]:
    """Run and compare; the sum and the saturations."""
    config = bench_config()
    z, t = (
        (instruction[f"{operand}_base"] + instruction[f"{operand}_step"] * np.arange(instruction["count"])) % DEPTH
        for operand in "zt"
    )
    machine.memories = {"activation": [pack(word, config.width) for word in activation]}
    values, slopes = scalar_tables(config.table_bits)
    each, saturations = loss(
        LossKind(instruction["kind"]), activation[z], activation[LABEL], activation[t], z_frac=instruction["z_frac"],
        loss_frac=instruction["loss_frac"], values=values, slopes=slopes,
    )  # fmt: skip
    predicted = execution_cycles(config, instruction)
    await machine.execute(instruction, predicted + 100)
    got, expected = int(machine.dut.loss.value), int(each.sum()) & 0xFFFFFFFF
    assert got == expected, f"loss {got}, not {expected}: {instruction}"
    assert (machine.cycles, machine.saturations) == (predicted, saturations), f"{instruction}"
    return expected, saturations


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, instructions = bench_config(), bench_parameters()["count"]
    L, W = config.lanes, config.width
    limit = 1 << (W - 1)
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = await _begin(dut)
    clips = masked = 0
    for _ in range(instructions):
        instruction = _instruction(random)
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
        activation[LABEL] = np.where(numbers.random(L) < 0.2, odd, labels)
        expected, saturations = await _execute(machine, instruction, activation)
        clips, masked = clips + saturations, masked + int((activation[LABEL] < 0).sum())
        await machine.rest(random.choice((0, 0, 1, 7, 80)), random)
        assert int(dut.loss.value) == expected, "the sum did not stay"
    assert clips, "the stimuli never saturated"
    assert masked, "the stimuli never masked a lane"
    dut._log.info("%d instructions, %d clips, %d lanes masked", instructions, clips, masked)


@cocotb.test()
async def long_sums(dut: Any) -> None:
    """Many outputs, all near the maximum: the logarithm's highest exponents. Steps of 2 go round without the labels."""
    config, numbers = bench_config(), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = await _begin(dut)
    for count in (count for count in _LONG if 2 * count * config.lanes < _LONG_CYCLES):
        activation = numbers.integers(-9, 10, (DEPTH, config.lanes))
        activation[LABEL] = numbers.integers(0, count, config.lanes)
        instruction = Instruction.make(
            "LOSS", kind=LossKind.CROSS_ENTROPY, z_base=1, z_step=2, count=count, label=LABEL, t_base=0, t_step=0,
            z_frac=12, loss_frac=16, target=1,
        )  # fmt: skip
        await _execute(machine, instruction, activation)
