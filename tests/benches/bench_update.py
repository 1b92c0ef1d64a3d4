"""UpdateUnit with scalar tables against its golden twin: all rules, shifts and decays.

They are random, with corner values among them. After every instruction the bench compares all
memories, which words were written, cycles and saturations.

Parameters: ``config``, and ``count`` of instructions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from dither.arch.isa import GRADIENT_BITS, MASTER_BITS, REGISTERS, Instruction, Rule
from dither.arch.tables import scalar_tables
from dither.arch.timing import execution_cycles
from dither.golden.update import update

from .memories import UnitMachine
from .runner import bench_config, bench_parameters
from .scalars import load_scalar_tables
from .words import pack_parts

DEPTH = 64
NAMES = ("gradient", "master", "moment1", "moment2")
WRITTEN = {
    Rule.SGD: ("gradient", "master"),
    Rule.SIGN: ("gradient", "master"),
    Rule.MOMENTUM: ("gradient", "master", "moment1"),
    Rule.ADAM: NAMES,
    Rule.SIGN_MOMENTUM: ("gradient", "master", "moment1"),
}
WIDTHS = dict.fromkeys(NAMES, MASTER_BITS) | {"gradient": GRADIENT_BITS}


def _instruction(random: Random, rows: int) -> Instruction:
    longest = max(1, min(DEPTH, 64 // rows))
    return Instruction.make(
        "UPDATE",
        base=random.choice((0, random.randrange(1 << 16))),
        count=random.choice((1, random.randint(1, longest))),
        # ADAM has the most stages.
        rule=random.choice((*Rule, Rule.ADAM)),
        gradient_shift=random.choice((0, 47, random.randint(0, 47), random.randint(8, 34))),
        decay1=random.choice((0, 15, random.randint(0, 15))),
        decay2=random.choice((0, 15, random.randint(0, 15))),
        rate=random.randrange(REGISTERS),
        rate_shift=random.choice((0, 31, random.randint(0, 31), random.randint(5, 20))),
    )


def _contents(numbers: np.random.Generator, rows: int, gradient_shift: int) -> dict[str, NDArray[np.int64]]:
    """Memories with numbers of all magnitudes, zeros and extremes.

    Gradients mostly have all magnitudes behind their shift.
    """
    shape, contents = (DEPTH, rows), {}
    for name in NAMES:
        limit = 1 << (WIDTHS[name] - 1)
        most = min(WIDTHS[name], gradient_shift + 18) if name == "gradient" and numbers.random() < 0.8 else WIDTHS[name]
        least = min(most, gradient_shift) if most < WIDTHS[name] else 0
        bits = numbers.integers(least, most, shape)
        values = numbers.integers(-limit, limit, shape) >> (WIDTHS[name] - 1 - bits)
        corners = numbers.choice([-limit, 1 - limit, limit - 1, -1, 0, 0, 1], shape)
        values = np.where(numbers.random(shape) < 0.25, corners, values)
        contents[name] = values & 0xFFFFFFFF if name == "moment2" else values
    return contents


@cocotb.test()
async def random_instructions(dut: Any) -> None:
    config, count = bench_config(), bench_parameters()["count"]
    R, parts = config.rows, config.word_parts
    random, numbers = Random(cocotb.RANDOM_SEED), np.random.default_rng(cocotb.RANDOM_SEED)
    machine = UnitMachine(dut, reads={name: name for name in NAMES}, writes={f"{name}_write": name for name in NAMES})
    await machine.begin(fields=0, rate=0, load__enable=0)
    values, slopes = scalar_tables(config.table_bits)
    # Other contents than the real ones too: whatever is in the tables, both must agree.
    slopes = slopes + numbers.integers(-3, 4, len(slopes))
    await load_scalar_tables(machine, values, slopes)
    clips = dict.fromkeys(Rule, 0)
    for _ in range(count):
        instruction, rate = _instruction(random, R), random.choice((0, 0xFFFFFFFF, random.getrandbits(32)))
        rule = Rule(instruction["rule"])
        contents = _contents(numbers, R, instruction["gradient_shift"])
        machine.memories = {name: pack_parts(words, parts, WIDTHS[name]) for name, words in contents.items()}

        addresses = instruction["base"] + np.arange(instruction["count"])
        for name in NAMES:
            machine.expect_reads(name, [int(place) * parts + i for place in addresses for i in range(parts)])
        places = addresses % DEPTH
        settings = {name: instruction[name] for name in ("gradient_shift", "decay1", "decay2", "rate_shift")}
        expected = update(
            rule,
            *(contents[name][places] for name in ("master", "gradient", "moment1", "moment2")),
            rate=rate,
            values=values,
            slopes=slopes,
            **settings,
        )
        contents["gradient"][places] = 0
        for name in ("master", "moment1", "moment2"):
            contents[name][places] = getattr(expected, name)

        predicted = execution_cycles(config, instruction)
        await machine.execute(instruction, predicted + 100, rate=rate)
        for name, words in contents.items():
            packed = pack_parts(words, parts, WIDTHS[name])
            wrong = [i for i, part in enumerate(packed) if machine.memories[name][i] != part]
            assert not wrong, f"{name}: {len(wrong)} words differ, first at {wrong[0]}: {instruction}"
        written = [(int(place) * parts + i) % (1 << 16) for place in addresses for i in range(parts)]
        writes = {(name, place): 1 for name in WRITTEN[rule] for place in written}
        assert machine.writes == writes, f"writes: {instruction}"
        assert (machine.cycles, machine.saturations) == (predicted, expected.clips), f"{instruction}"
        clips[rule] += expected.clips
        await machine.rest(random.choice((0, 0, 1, 7, 80)), random)
    assert all(clips.values()), f"the stimuli never saturated under some rule: {clips}"
    dut._log.info("%d instructions, clips %s", count, clips)
