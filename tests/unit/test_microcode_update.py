"""UPDATE in microcode, executed word by word, against the golden twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.compact.scalar.interpreter import Interpreter
from dither.arch.compact.scalar.layout import layout
from dither.arch.compact.scalar.operands import REGISTER_HIGH, REGISTER_LOW, instruction_slots
from dither.arch.compact.scalar.program import program
from dither.arch.config import preset
from dither.arch.isa import Instruction, Memory, Rule
from dither.arch.tables import Table, scalar_tables
from dither.golden.update import update

CONFIG = preset("1x8-compact")
TABLES = scalar_tables(CONFIG.table_bits)
RULES = st.sampled_from(Rule)


def numbers(bits: int, signed: bool = True) -> st.SearchStrategy[int]:
    """Any, those of every size alike, and the ends."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    sizes = st.integers(1, bits - 1).flatmap(lambda n: st.integers(max(low, -(1 << n)), min(high, 1 << n)))
    return st.one_of(sizes, st.integers(low, high), st.sampled_from([low, low + 1, max(low, -1), 0, 1, high - 1, high]))


PARAMETERS = st.lists(
    st.tuples(
        numbers(32), numbers(48), st.one_of(numbers(32), st.sampled_from([-(1 << 26), 1 << 26])), numbers(32, False)
    ),
    min_size=1,
    max_size=3,
)
INSTRUCTIONS = st.fixed_dictionaries(
    {
        "base": st.integers(0, CONFIG.parameter_depth - 3),
        "rule": RULES,
        "gradient_shift": st.integers(0, 47),
        "decay1": st.integers(0, 15),
        "decay2": st.integers(0, 15),
        "rate": st.integers(0, 15),
        "rate_shift": st.integers(0, 31),
    }
)


def leave_traces(unit: Interpreter) -> None:
    """As if other instructions had been executed: registers that are no constants hold
    something.
    """
    for number, value in enumerate(unit.registers):
        unit.registers[number] = value or 0xA5C3 ^ number << 4


def check(
    fields: dict[str, int],
    parameters: list[tuple[int, int, int, int]],
    rate: int,
    tables: Table = TABLES,
    table_bits: int = CONFIG.table_bits,
) -> int:
    """Executes an instruction and compares all that it leaves; the number of microinstructions."""
    config = replace(CONFIG, table_bits=table_bits)
    areas = layout(config)
    unit = Interpreter(program(config), config.lanes, config.activation_depth, config.parameter_depth)
    leave_traces(unit)
    master, gradient, moment1, moment2 = zip(*parameters, strict=True)
    count, base = len(parameters), fields["base"]
    areas.write(unit.state, Memory.SCALAR_TABLE, 0, np.stack(tables, axis=1))
    memories = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)
    for memory, values in zip(memories, (master, gradient, moment1, moment2), strict=True):
        areas.write(unit.state, memory, base, values)
    before = list(unit.state)
    instruction = Instruction("UPDATE", {**fields, "count": count})
    slots = instruction_slots(instruction)
    unit.control[: len(slots)] = slots
    unit.control[REGISTER_LOW + fields["rate"]] = rate & 0xFFFF
    unit.control[REGISTER_HIGH + fields["rate"]] = rate >> 16
    executed = unit.run(instruction.format.opcode)

    names = ("gradient_shift", "decay1", "decay2", "rate_shift")
    expected = update(
        Rule(fields["rule"]),
        master,
        gradient,
        moment1,
        moment2,
        rate=rate,
        values=tables[0],
        slopes=tables[1],
        **{name: fields[name] for name in names},
    )
    results = (expected.master, np.zeros(count, np.int64), expected.moment1, expected.moment2)
    for memory, result in zip(memories, results, strict=True):
        assert areas.read(unit.state, memory, base, count).tolist() == result.tolist(), memory
        areas.write(before, memory, base, result)
    assert unit.state == before
    assert unit.clips == expected.clips
    return executed


@settings(max_examples=200, deadline=None)
@given(INSTRUCTIONS, PARAMETERS, numbers(32, False))
def test_like_golden(fields: dict[str, int], parameters: list[tuple[int, int, int, int]], rate: int) -> None:
    check(fields, parameters, rate)


@pytest.mark.parametrize("rule", Rule)
def test_extremes(rule: Rule) -> None:
    ends = [
        (p, g, m, v)
        for p in (-(1 << 31), (1 << 31) - 1)
        for g in (-(1 << 47), 0, (1 << 47) - 1)
        for m in (-(1 << 31), (1 << 31) - 1)
        for v in (0, (1 << 32) - 1)
    ]
    for shift, decay in ((0, 0), (31, 15), (47, 1), (30, 8)):
        fields = {
            "base": 5,
            "rule": rule,
            "gradient_shift": shift,
            "decay1": decay,
            "decay2": decay,
            "rate": 15,
            "rate_shift": shift % 32,
        }
        check(fields, ends, 0xFFFFFFFF)


@pytest.mark.parametrize("rule", Rule)
def test_gradients_about_the_clip(rule: Rule) -> None:
    """17 bits after rounding, and a square of 33."""
    values = [sign * ((1 << 16) + offset) for sign in (-1, 1) for offset in (-2, -1, 0, 1)]
    for shift in (0, 1, 16, 30):
        gradients = [
            (value << shift) + extra for value in values for extra in (0, -1, 1 << shift >> 1, -1 << shift >> 1)
        ]
        fields = {
            "base": 0,
            "rule": rule,
            "gradient_shift": shift,
            "decay1": 3,
            "decay2": 0,
            "rate": 1,
            "rate_shift": 9,
        }
        check(fields, [(1000, gradient, -77777, 1 << 31) for gradient in gradients], 54321)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, (1 << 32) - 1), st.integers(6, 10), PARAMETERS)
def test_any_table(seed: int, table_bits: int, parameters: list[tuple[int, int, int, int]]) -> None:
    """Lookups clip what leaves 18 bits, either way."""
    rng = np.random.default_rng(seed)
    length = 3 << table_bits
    depth = CONFIG.parameter_depth
    assert depth * 9 + 3 * length <= 1 << 14
    tables = rng.integers(0, 1 << 18, length), rng.integers(-(1 << 17), 1 << 17, length)
    fields = {"base": 0, "rule": Rule.ADAM, "gradient_shift": 20, "decay1": 1, "decay2": 15, "rate": 2, "rate_shift": 7}
    check(fields, parameters, 99999, tables, table_bits)


def test_cycles_depend_on_rule_and_count_alone() -> None:
    rng = np.random.default_rng(1)
    for rule in Rule:
        executed = set()
        for _ in range(20):
            fields = {
                "base": 3,
                "rule": rule,
                "gradient_shift": int(rng.integers(48)),
                "decay1": int(rng.integers(16)),
                "decay2": int(rng.integers(16)),
                "rate": 4,
                "rate_shift": int(rng.integers(32)),
            }
            parameter = (
                int(rng.integers(-(1 << 31), 1 << 31)),
                int(rng.integers(-(1 << 47), 1 << 47)),
                int(rng.integers(-(1 << 31), 1 << 31)),
                int(rng.integers(1 << 32)),
            )
            executed.add(check(fields, [parameter], int(rng.integers(1 << 32))))
        assert len(executed) == 1
