"""LOSS in microcode, executed word by word, against the golden twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dither.arch.compact.scalar.interpreter import Interpreter
from dither.arch.compact.scalar.layout import layout
from dither.arch.compact.scalar.loss import LN2 as MICROCODE_LN2
from dither.arch.compact.scalar.operands import REGISTER_HIGH, REGISTER_LOW, instruction_slots
from dither.arch.compact.scalar.program import program
from dither.arch.config import preset
from dither.arch.isa import Instruction, LossKind, LossMode, Memory
from dither.arch.tables import scalar_tables
from dither.golden.loss import LN2, loss

CONFIG = preset("1x8-compact")
DEPTH, LANES = CONFIG.activation_depth, CONFIG.lanes
TABLES = scalar_tables(CONFIG.table_bits)
FIELDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(LossKind),
        "z_frac": st.integers(0, 16),
        "loss_frac": st.integers(0, 16),
        "target": st.integers(0, 15),
        "z_base": st.integers(30, 60),
        "z_step": st.sampled_from([1, 0, -3, 5]),
        "t_base": st.integers(130, 160),
        "t_step": st.sampled_from([1, 0, -2, 4]),
        "label": st.integers(200, DEPTH - 1),
        "d_base": st.integers(0, (1 << 16) - 1),
        "d_step": st.integers(-(1 << 15), (1 << 15) - 1),
    }
)


def machine() -> Interpreter:
    unit = Interpreter(program(CONFIG), LANES, DEPTH, CONFIG.parameter_depth)
    # As if other instructions had been executed: registers that are no constants hold something.
    unit.registers = [value or 0xA5C3 ^ number << 4 for number, value in enumerate(unit.registers)]
    layout(CONFIG).write(unit.state, Memory.SCALAR_TABLE, 0, np.stack(TABLES, axis=1))
    return unit


def check(unit: Interpreter, fields: dict[str, int], activation: NDArray[np.int64]) -> int:
    """Executes an instruction and compares the total and the clips; the number of
    microinstructions.
    """
    instruction = Instruction("LOSS", {"mode": LossMode.SUM, "d_base": 0, "d_step": 0, **fields})
    unit.activation = (activation & 0xFFFF).tolist()
    slots = instruction_slots(instruction)
    unit.control[: len(slots)] = slots
    before, clips = list(unit.control), unit.clips
    executed = unit.run(instruction.format.opcode)
    places = np.arange(fields["count"])
    expected = loss(
        LossKind(fields["kind"]),
        activation[fields["z_base"] + places * fields["z_step"]],
        activation[fields["label"]],
        activation[fields["t_base"] + places * fields["t_step"]],
        z_frac=fields["z_frac"],
        loss_frac=fields["loss_frac"],
        values=TABLES[0],
        slopes=TABLES[1],
    )
    total = int(expected.losses.sum())
    before[REGISTER_LOW + fields["target"]] = total & 0xFFFF
    before[REGISTER_HIGH + fields["target"]] = total >> 16 & 0xFFFF
    assert unit.control == before
    assert unit.clips - clips == expected.clips
    assert unit.activation == (activation & 0xFFFF).tolist()
    return executed


def random_activation(rng: np.random.Generator, count: int, label: int, size: int) -> NDArray[np.int64]:
    """Numbers of a size, some of them at the ends; labels most of which are good."""
    activation = rng.integers(-size, size, (DEPTH, LANES))
    ends = rng.random((DEPTH, LANES)) < 0.05
    activation[ends] = rng.choice([-(1 << 15), (1 << 15) - 1, 0], int(ends.sum()))
    bad = rng.choice([-1, -(1 << 15), count, count + 1, (1 << 15) - 1], LANES)
    activation[label] = np.where(rng.random(LANES) < 0.2, bad, rng.integers(0, count, LANES))
    return activation


@settings(max_examples=120, deadline=None)
@given(FIELDS, st.sampled_from([1, 2, 3, 10]), st.sampled_from([2, 100, 3000, 1 << 15]), st.integers(0, 1 << 32))
def test_like_golden(fields: dict[str, int], count: int, size: int, seed: int) -> None:
    activation = random_activation(np.random.default_rng(seed), count, fields["label"], size)
    check(machine(), {**fields, "count": count}, activation)


@pytest.mark.parametrize("kind", LossKind)
def test_all_fractions(kind: LossKind) -> None:
    """Every shift of distances and losses, with clips and without; half of all pairs."""
    rng, unit = np.random.default_rng(3), machine()
    fields = {"kind": kind, "z_base": 0, "z_step": 1, "t_base": 9, "t_step": 1, "label": 99, "count": 2, "target": 7}
    for z_frac in range(17):
        for loss_frac in range(z_frac % 2, 17, 2):
            activation = random_activation(rng, 2, 99, 1 << int(rng.integers(1, 16)))
            check(unit, {**fields, "z_frac": z_frac, "loss_frac": loss_frac}, activation)


@pytest.mark.parametrize("kind", LossKind)
def test_extremes(kind: LossKind) -> None:
    """All outputs at either end, targets at the other."""
    unit = machine()
    for low in (-(1 << 15), (1 << 15) - 1, 0):
        activation = np.full((DEPTH, LANES), -1 - low)
        activation[:9] = low
        activation[3] = -1 - low
        activation[60] = [0, 3, 8, 9, -1, -(1 << 15), (1 << 15) - 1, 3]
        for z_frac, loss_frac in ((0, 0), (0, 16), (16, 0), (16, 16), (7, 16), (12, 12)):
            fields = {
                "kind": kind,
                "z_base": 0,
                "z_step": 1,
                "t_base": 70,
                "t_step": 1,
                "label": 60,
                "count": 9,
                "target": 1,
                "z_frac": z_frac,
                "loss_frac": loss_frac,
            }
            check(unit, fields, activation)


def test_losses_about_the_clip() -> None:
    """A square of every size, shifted to the left as far as can be, and less."""
    unit = machine()
    for z_frac, loss_frac in ((0, 16), (0, 15), (4, 16), (8, 16), (5, 2)):
        for exponent in range(0, 17, 2):
            activation = np.zeros((DEPTH, LANES), np.int64)
            errors = np.minimum((1 << exponent) + np.arange(-4, 4), (1 << 16) - 1)
            activation[0] = errors // 2
            activation[1] = errors // 2 - errors
            fields = {
                "kind": LossKind.SQUARED_ERROR,
                "z_base": 0,
                "z_step": 0,
                "t_base": 1,
                "t_step": 0,
                "label": 2,
                "count": 1,
                "target": 1,
                "z_frac": z_frac,
                "loss_frac": loss_frac,
            }
            check(unit, fields, activation)


def test_many_outputs() -> None:
    """One word for all of a great number of outputs: sums of more than 40 bits."""
    unit = machine()
    activation = np.full((DEPTH, LANES), (1 << 15) - 1)
    activation[1] = -(1 << 15)
    activation[2] = [0, 1, 999, 1000, -1, 5, 7, 2]
    fields = {
        "kind": LossKind.SQUARED_ERROR,
        "z_base": 0,
        "z_step": 0,
        "t_base": 1,
        "t_step": 0,
        "label": 2,
        "count": 1000,
        "target": 1,
        "loss_frac": 8,
    }
    for z_frac in (16, 3):
        check(unit, {**fields, "z_frac": z_frac}, activation)
    check(unit, {**fields, "z_frac": 12, "kind": LossKind.CROSS_ENTROPY, "count": 100}, activation)


def test_cycles_depend_on_kind_and_count_alone() -> None:
    rng, unit = np.random.default_rng(2), machine()
    for kind in LossKind:
        executed = set()
        for _ in range(8):
            fields = {
                "kind": kind,
                "z_base": 0,
                "z_step": 1,
                "t_base": 20,
                "t_step": 1,
                "label": 50,
                "count": 4,
                "target": 1,
                "z_frac": int(rng.integers(17)),
                "loss_frac": int(rng.integers(17)),
            }
            executed.add(check(unit, fields, random_activation(rng, 4, 50, 1 << 12)))
        assert len(executed) == 1


def test_constant() -> None:
    assert MICROCODE_LN2 == LN2
