"""ParameterUnit against its golden twins: PERTURB and ACCUMULATE at random, all distributions.

They come back to back. After every instruction the bench compares all memories, checks that each
word is written once, and compares cycles and saturations.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np

from dither.arch.config import EngineConfig
from dither.arch.isa import GRADIENT_BITS, MASTER_BITS, REGISTERS, Distribution, Instruction
from dither.arch.timing import execution_cycles
from dither.golden.probes import accumulate, coordinate_place, perturb, row_pitch, tensor_probes

from .memories import UnitMachine
from .runner import bench_config, bench_parameters
from .words import pack_parts

DEPTH = 256
LOWEST, HIGHEST = -(1 << (MASTER_BITS - 1)), (1 << (MASTER_BITS - 1)) - 1


def _instruction(random: Random, config: EngineConfig) -> tuple[Instruction, dict[str, int]]:
    """A random instruction and its operands; all shapes from one word to all of the memory."""
    tiles = random.choice((1, 1, 2, 3, random.randint(1, 24)))
    inner = random.choice((1, 2, random.randint(1, DEPTH // tiles)))
    fields = {
        "base": random.choice((0, random.randrange(1 << 16))),
        "inner": inner,
        "tiles": tiles,
        "block": random.choice((0, random.randrange(1 << 20))),
        **{name: random.randrange(REGISTERS) for name in ("seed", "step", "probe")},
        "distribution": random.choice([each for each in Distribution if each.bits <= 1 or config.wide_probes]),
    }
    operands = {name: random.choice((0, 0xFFFFFFFF, random.getrandbits(32))) for name in ("seed", "step", "probe")}
    operands["difference"] = random.choice((LOWEST, HIGHEST, -1, random.randint(LOWEST, HIGHEST))) & 0xFFFFFFFF
    if fields["distribution"] == Distribution.COORDINATE:
        index = random.randrange(-1, inner * row_pitch(tiles, config.rows) + 1)
        operands["probe"] = (64 * fields["block"] + index) & 0xFFFFFFFF
    if random.random() < 0.4:
        return Instruction.make("ACCUMULATE", **fields, difference=random.randrange(REGISTERS)), operands | {
            "accumulate": 1
        }
    amplitude = random.choice((LOWEST, HIGHEST, 0, random.randint(LOWEST, HIGHEST) >> random.randrange(32)))
    return Instruction.make("PERTURB", **fields, amplitude=amplitude), operands | {"accumulate": 0}


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    R, W = config.rows, config.width
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = UnitMachine(
        dut,
        reads={"master": "master", "gradient": "gradient"},
        writes={"gradient_write": "gradient", "weight_write": "weight"},
        parts={"weight_write": config.part_rows * W},
    )
    await machine.begin(accumulate=0, fields=0, seed=0, step=0, probe=0, difference=0)
    widths = {"master": MASTER_BITS, "gradient": GRADIENT_BITS, "weight": W}
    parts = {"master": config.word_parts, "gradient": config.word_parts, "weight": 1}
    clips, hits = dict.fromkeys(Distribution, 0), 0
    for _ in range(count):
        instruction, operands = _instruction(random, config)
        contents = {}
        for name in ("master", "gradient"):
            limit = 1 << (widths[name] - 1)
            values = numbers.integers(-limit, limit, (DEPTH, R)) >> numbers.integers(0, widths[name], (DEPTH, R))
            extremes = numbers.choice([-limit, limit - 1], (DEPTH, R))
            contents[name] = np.where(numbers.random((DEPTH, R)) < 0.1, extremes, values)
        contents["weight"] = numbers.integers(-(1 << (W - 1)), 1 << (W - 1), (DEPTH, R))
        machine.memories = {name: pack_parts(words, parts[name], widths[name]) for name, words in contents.items()}

        words = instruction["inner"] * instruction["tiles"]
        addresses = instruction["base"] + np.arange(words)
        for name in ("master", "gradient"):
            machine.expect_reads(
                name, [int(place) * parts[name] + i for place in addresses for i in range(parts[name])]
            )
        places = addresses % DEPTH
        shape = {name: instruction[name] for name in ("block", "inner", "tiles")}
        distribution = Distribution(instruction["distribution"])
        xi = tensor_probes(distribution, operands["seed"], operands["step"], operands["probe"], rows=R, **shape)
        if instruction.name == "PERTURB":
            target, amplitude = "weight", instruction["amplitude"]
            contents[target][places], saturations = perturb(contents["master"][places], xi, amplitude, W)
        else:
            target, saturations = "gradient", 0
            difference = operands["difference"] - (operands["difference"] >> 31 << 32)
            contents[target][places] = accumulate(contents[target][places], xi, difference)

        predicted = execution_cycles(config, instruction)
        await machine.execute(instruction, predicted + 100, lead=1, **operands)
        for name, expected in contents.items():
            packed = pack_parts(expected, parts[name], widths[name])
            wrong = [i for i, word in enumerate(packed) if machine.memories[name][i] != word]
            assert not wrong, f"{name}: {len(wrong)} words differ, first at {wrong[0]}: {instruction}"
        times = config.word_parts // parts[target]  # parts of a word that pass the port one after the other
        last = (1 << 16) // times
        written = ((int(place) * parts[target] + i) % last for place in addresses for i in range(parts[target]))
        assert machine.writes == dict.fromkeys(((target, place) for place in written), times), f"writes: {instruction}"
        assert (machine.cycles, machine.saturations) == (predicted, saturations), f"{instruction}"
        clips[distribution] += saturations
        if distribution is Distribution.COORDINATE:
            hits += coordinate_place(operands["probe"], rows=R, **shape) is not None
        await machine.rest(random.choice((0, 0, 1, 7, 40)), random)
    assert sum(clips.values()), "the stimuli never saturated"
    assert hits, "no coordinate was ever there"
    dut._log.info("%d instructions, clips %s", count, clips)
