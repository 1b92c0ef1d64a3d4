"""The microprogram of compact engines, executed word by word, against the golden twins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dither.arch.compact.scalar.assembler import INPUT, NONE, SH, STATE_NEXT, A, Assembler, P, Q
from dither.arch.compact.scalar.cycles import cycles, microinstructions
from dither.arch.compact.scalar.interpreter import Interpreter
from dither.arch.compact.scalar.layout import layout
from dither.arch.compact.scalar.machine import CYCLES, REGISTER_COUNT, START_CYCLES, Flag, Operation, When, decode
from dither.arch.compact.scalar.operands import REGISTER_HIGH, REGISTER_LOW, instruction_slots
from dither.arch.compact.scalar.program import program
from dither.arch.config import EngineConfig, preset
from dither.arch.isa import Distribution, Instruction, Memory
from dither.arch.streams import Segment, pack, unpack
from dither.arch.timing import execution_cycles
from dither.golden.probes import accumulate, perturb, tensor_probes

CONFIG = preset("1x8-compact")
LAYOUT = layout(CONFIG)
DISTRIBUTIONS = (Distribution.NONE, Distribution.RADEMACHER, Distribution.COORDINATE)
WORD = st.integers(-(1 << 31), (1 << 31) - 1)
EDGES = st.sampled_from((-(1 << 31), -(1 << 31) + 1, -0x8001, -0x8000, -1, 0, 1, 0x7FFF, 0x8000, (1 << 31) - 0x8000))


def machine(config: EngineConfig = CONFIG) -> Interpreter:
    return Interpreter(program(config), config.lanes, config.activation_depth, config.parameter_depth)


def execute(unit: Interpreter, instruction: Instruction, registers: Mapping[int, int] | None = None) -> int:
    """Runs one instruction; the number of microinstructions."""
    for number, value in (registers or {}).items():
        unit.control[REGISTER_LOW + number] = value & 0xFFFF
        unit.control[REGISTER_HIGH + number] = value >> 16 & 0xFFFF
    slots = instruction_slots(instruction)
    unit.control[: len(slots)] = slots
    memory = instruction["memory"] if instruction.name in ("LOAD", "STORE") else None
    return unit.run(instruction.format.opcode, memory)


def parameters(
    name: str, shape: tuple[int, int], distribution: int, base: int, block: int, **fields: int
) -> Instruction:
    fields |= {"base": base, "inner": shape[0], "tiles": shape[1], "block": block, "distribution": distribution}
    return Instruction(name, {**fields, "seed": 3, "step": 15, "probe": 7})


def xi_of(instruction: Instruction, seed: int, step: int, probe: int) -> NDArray[np.int64]:
    numbers = tensor_probes(
        Distribution(instruction["distribution"]),
        seed,
        step,
        probe,
        block=instruction["block"],
        inner=instruction["inner"],
        tiles=instruction["tiles"],
        rows=1,
    )
    return numbers[:, 0].astype(np.int64)


SHAPES = st.tuples(st.integers(1, 18), st.integers(1, 40))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_perturb_like_golden(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    distribution = data.draw(st.sampled_from(DISTRIBUTIONS))
    block = data.draw(st.integers(0, (1 << 20) - 1))
    count = shape[0] * shape[1]
    base = data.draw(st.integers(0, CONFIG.parameter_depth - count)) if count < CONFIG.parameter_depth else 0
    seed, step, probe = (data.draw(WORD) for _ in range(3))
    if distribution is Distribution.COORDINATE:
        probe = 64 * block + data.draw(st.integers(-70, shape[0] * (shape[1] + 7)))
    amplitude = data.draw(st.one_of(EDGES, WORD))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    masters = rng.choice([-(1 << 31), (1 << 31) - 1, 0, 0x7FFF8000, 5 << 20], count) + rng.integers(0, 1 << 15, count)
    masters = np.clip(masters, -(1 << 31), (1 << 31) - 1)
    unit = machine()
    LAYOUT.write(unit.state, Memory.MASTER, base, masters)
    instruction = parameters("PERTURB", shape, distribution, base, block, amplitude=amplitude)
    execute(unit, instruction, {3: seed, 15: step, 7: probe})
    weights, clips = perturb(masters, xi_of(instruction, seed, step, probe), amplitude, 16)
    assert unit.weight[base : base + count] == (weights & 0xFFFF).tolist()
    assert unit.clips == clips
    assert LAYOUT.read(unit.state, Memory.MASTER, base, count).tolist() == masters.tolist()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_accumulate_like_golden(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    distribution = data.draw(st.sampled_from(DISTRIBUTIONS))
    block, count = data.draw(st.integers(0, (1 << 20) - 1)), shape[0] * shape[1]
    base = data.draw(st.integers(0, CONFIG.parameter_depth - count)) if count < CONFIG.parameter_depth else 0
    seed, step, probe, difference = (data.draw(st.one_of(EDGES, WORD)) for _ in range(4))
    if distribution is Distribution.COORDINATE:
        probe = 64 * block + data.draw(st.integers(-70, shape[0] * (shape[1] + 7)))
    gradients = np.random.default_rng(1).integers(-(1 << 47), 1 << 47, count)
    unit = machine()
    LAYOUT.write(unit.state, Memory.GRADIENT, base, gradients)
    before = list(unit.state)
    instruction = parameters("ACCUMULATE", shape, distribution, base, block, difference=1)
    execute(unit, instruction, {3: seed, 15: step, 7: probe, 1: difference})
    expected = accumulate(gradients, xi_of(instruction, seed, step, probe), difference)
    assert LAYOUT.read(unit.state, Memory.GRADIENT, base, count).tolist() == expected.tolist()
    LAYOUT.write(before, Memory.GRADIENT, base, expected)
    assert unit.state[: LAYOUT.scratch] == before[: LAYOUT.scratch]


@pytest.mark.parametrize("memory", LAYOUT.areas)
def test_transfers_of_every_memory(memory: Memory) -> None:
    rng = np.random.default_rng(int(memory))
    if memory is Memory.SCALAR_TABLE:
        values = np.stack([rng.integers(0, 1 << 18, 9), rng.integers(-(1 << 17), 1 << 17, 9)], axis=1)
    else:
        bits = 16 * LAYOUT.areas[memory].words
        values = rng.integers(-(1 << bits - 1), 1 << bits - 1, 9)[:, None] + (1 << 31) * (memory is Memory.MOMENT2)
    unit = machine()
    unit.feed(pack(CONFIG, [Segment(memory, values)])[:, 0].tolist())
    execute(unit, Instruction("LOAD", {"memory": memory, "base": 5, "count": 9}))
    assert not unit.input
    flat = values if memory is Memory.SCALAR_TABLE else values[:, 0]
    assert LAYOUT.read(unit.state, memory, 5, 9).tolist() == flat.tolist()
    execute(unit, Instruction("STORE", {"memory": memory, "base": 6, "count": 8}))
    assert unpack(CONFIG, memory, np.array(unit.output, np.uint32)[:, None]).tolist() == values[1:].tolist()


def test_layout_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="parameter_depth 2048 and table_bits 6 need"):
        layout(replace(CONFIG, parameter_depth=2048))
    with pytest.raises(ValueError, match="only compact engines"):
        layout(preset("1x8"))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_cycles_are_those_of_execution(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(((1, 768), (768, 1), (96, 8), (30, 25), (64, 12), (3, 250), (23, 33))))
    name = data.draw(st.sampled_from(("PERTURB", "ACCUMULATE")))
    fields = {"PERTURB": {"amplitude": data.draw(WORD)}, "ACCUMULATE": {"difference": 1}}[name]
    distribution, block = data.draw(st.sampled_from(DISTRIBUTIONS)), data.draw(st.integers(0, 99))
    instruction = parameters(name, shape, distribution, 0, block, **fields)
    unit = machine()
    unit.state[:] = np.random.default_rng(0).integers(0, 1 << 16, len(unit.state)).tolist()
    count = execute(unit, instruction, {number: data.draw(WORD) for number in (3, 15, 7, 1)})
    assert execution_cycles(CONFIG, instruction) == cycles(CONFIG, instruction) == START_CYCLES + CYCLES * count


def test_cycles_of_transfers() -> None:
    for memory in LAYOUT.areas:
        for name in ("LOAD", "STORE"):
            few, more = (Instruction(name, {"memory": memory, "base": 0, "count": count}) for count in (2, 60))
            beats = LAYOUT.areas[memory].words
            assert cycles(CONFIG, more) - cycles(CONFIG, few) == 58 * CYCLES * (beats + 2)
            assert microinstructions(CONFIG, more) * CYCLES + START_CYCLES == cycles(CONFIG, more)


def test_cycles_of_other_instructions() -> None:
    with pytest.raises(ValueError, match="does not execute HALT"):
        cycles(CONFIG, Instruction("HALT", {}))
    with pytest.raises(ValueError, match="WEIGHT is not in the state memory"):
        cycles(CONFIG, Instruction("LOAD", {"memory": Memory.WEIGHT, "base": 0, "count": 1}))


def test_assembler_refuses() -> None:
    code = Assembler()
    first, second = code.registers("first", "second")
    code.label("here")
    with pytest.raises(ValueError, match="names two registers: 0 and 1"):
        code.load(second, first)
    with pytest.raises(ValueError, match="cannot have this source"):
        code.load(first, P)
    with pytest.raises(ValueError, match="cannot have this target"):
        code.load(INPUT, first)
    with pytest.raises(ValueError, match="P cannot be written and move on"):
        code.load(P, STATE_NEXT)
    with pytest.raises(ValueError, match="label 'here' stands twice"):
        code.label("here")
    code.jump("there")
    with pytest.raises(ValueError, match="unknown label 'there'"):
        code.finish({})
    for value in range(1000, 1000 + REGISTER_COUNT - 2):
        code.constant(value)
    with pytest.raises(ValueError, match="no register is left for the constant 7"):
        code.constant(7)
    with pytest.raises(ValueError, match="no register is left for 'third'"):
        code.register("third")
    for _ in range(1 << 11):
        code.done()
    code.label("there")
    with pytest.raises(ValueError, match="the microprogram has 2049 words, more than 2048"):
        code.finish({})


def test_pieces_fill_the_room_between_entries() -> None:
    code = Assembler()
    for name in ("one", "two"):
        code.label(name)
        code.load(A, 1)
        code.done()
    micro = code.finish({2: "one", 4: "two"})
    assert micro.labels == {"one": 0, "two": 5}
    assert len(micro.words) == 7
    assert decode(micro.words[4]).destination == 5


@pytest.mark.parametrize(
    ("operation", "a", "b", "carry", "result", "after"),
    [
        (Operation.LOAD, 5, 7, 1, 7, 1),
        (Operation.ADD, 0xFFFF, 2, 0, 1, 1),
        (Operation.ADC, 0xFFFF, 0, 1, 0, 1),
        (Operation.SUB, 3, 5, 1, 0xFFFE, 0),
        (Operation.SBC, 5, 3, 0, 1, 1),
        (Operation.AND, 6, 3, 0, 2, 0),
        (Operation.OR, 6, 3, 1, 7, 1),
        (Operation.XOR, 6, 3, 0, 5, 0),
        (Operation.FUNNEL, 0x1234, 0x9ABC, 1, 0x2349, 1),
        (Operation.ROR, 0, 3, 1, 0x8001, 1),
        (Operation.SEX, 0, 0x8000, 1, 0xFFFF, 1),
        (Operation.INC, 0, 0xFFFF, 0, 0, 1),
        (Operation.DEC, 0, 0, 1, 0xFFFF, 0),
        (Operation.NEG, 0, 1, 0, 0xFFFF, 0),
        (Operation.ROL, 0, 0x8001, 0, 2, 1),
    ],
)
def test_operations(operation: Operation, a: int, b: int, carry: int, result: int, after: int) -> None:
    code = Assembler()
    left, right, output, flag = code.registers("left", "right", "output", "flag")
    code.load(SH, 4)
    code.ror(NONE, carry)
    code.load(A, left)
    code.operate(operation, Q, right, flag=Flag.CARRY)
    code.load(output, Q)
    code.load(A, 0)
    code.load(Q, 0)
    code.adc(flag, Q)
    code.load(right, Q, when=When.NOT_F)
    code.done()
    unit = Interpreter(code.finish({}), 1, 2, 2)
    unit.registers[left.number], unit.registers[right.number] = a, b
    unit.run(0)
    assert (unit.registers[output.number], unit.registers[flag.number]) == (result, after)
    assert unit.registers[right.number] == (b if after else 0)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
@settings(max_examples=20, deadline=None)
def test_multiply(a: int, b: int, q: int) -> None:
    code = Assembler()
    left, right, low, high = code.registers("left", "right", "low", "high")
    code.load(A, left)
    code.load(Q, low)
    code.multiply_all(right)
    code.load(low, Q)
    code.load(SH, 0)
    code.funnel(high, high)
    code.done()
    unit = Interpreter(code.finish({}), 1, 2, 2)
    unit.registers[left.number], unit.registers[right.number], unit.registers[low.number] = a, b, q
    unit.run(0)
    assert unit.registers[high.number] << 16 | unit.registers[low.number] == a + b * q


def test_input_that_runs_out() -> None:
    unit = machine()
    unit.feed([1, 2, 3])
    with pytest.raises(EOFError, match="no beat left"):
        execute(unit, Instruction("LOAD", {"memory": Memory.MASTER, "base": 0, "count": 2}))


def test_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dither.arch.compact.scalar.interpreter.LIMIT", 100)
    code = Assembler()
    code.label("again")
    code.jump("again")
    with pytest.raises(RuntimeError, match="did not end within 100 microinstructions"):
        Interpreter(code.finish({}), 1, 2, 2).run(0)


def test_gateware_means_the_same_places() -> None:
    from dither.arch.compact.sequencer import program as sequencer

    assert (sequencer.REGISTER_LOW, sequencer.REGISTER_HIGH) == (REGISTER_LOW, REGISTER_HIGH)
    assert sequencer.SLOTS == 0
