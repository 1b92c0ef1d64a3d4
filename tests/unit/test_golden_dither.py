"""DITHER: signs that move by one word from sample to sample, and their arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.generator import signs
from dither.arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, Instruction, Memory, encode_program
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine, predict
from dither.golden.dither import DitherPlan, dither, sample_signs
from dither.golden.workspace import Workspace

CONFIG = EngineConfig(rows=2, lanes=5, width=18, activation_depth=64, parameter_depth=32, lanes_per_table=1)
I = Instruction.make  # noqa: E741
PLACE = {"count": 9, "x_base": 3, "x_step": 1, "y_base": 20, "y_step": 2, "scale": 60, "gate": 0, "block": 7}
REGISTERS = {"seed": 1, "step": 2, "probe": 3, "offset": 4}


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**20 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(1, 140),
    st.integers(1, 70),
)
def test_signs_follow_the_definition(seed, probe, block, offset, words, lanes):
    word, lane = np.ogrid[:words, :lanes]
    expected = signs(seed, 5, probe, 64 * block + offset + word + lane)
    actual = sample_signs(seed, 5, probe, block=block, offset=offset, words=words, lanes=lanes)
    np.testing.assert_array_equal(actual, expected)


def test_signs_of_a_sample_do_not_depend_on_the_tiling():
    tile = sample_signs(1, 2, 3, block=4, offset=0, words=100, lanes=96)
    for lanes in (1, 4, 32):
        for offset in range(0, 96, lanes):
            part = sample_signs(1, 2, 3, block=4, offset=offset, words=100, lanes=lanes)
            np.testing.assert_array_equal(part, tile[:, offset : offset + lanes])


def test_sixteen_bits_of_the_offset_count():
    first, second = (sample_signs(1, 2, 3, block=4, offset=offset, words=9, lanes=4) for offset in (-5, 2**16 - 5))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("width", [16, 18])
@given(data=st.data())
def test_outputs_follow_the_definition(width, data):
    lowest, highest = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    numbers = st.one_of(st.integers(lowest, highest), st.sampled_from([lowest, -1, 0, 1, highest]))
    shape = words, lanes = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    x = np.array(data.draw(st.lists(numbers, min_size=words * lanes, max_size=words * lanes))).reshape(shape)
    scale = data.draw(st.lists(numbers, min_size=lanes, max_size=lanes))
    xi = np.random.default_rng(0).choice([-1, 1], shape)
    gate = data.draw(st.booleans())
    outputs, clips = dither(x, xi, scale, gate=gate, width=width)
    count = 0
    for i in range(words):
        for lane in range(lanes):
            moved = int(x[i, lane]) + int(xi[i, lane]) * scale[lane] * (not gate or bool(x[i, lane] > 0))
            assert outputs[i, lane] == min(max(moved, lowest), highest)
            count += not lowest <= moved <= highest
    assert clips == count


def _plan(space, **changes):
    return DitherPlan(space, I("DITHER", **(PLACE | REGISTERS | changes)))


@settings(deadline=None)
@given(
    st.integers(0, 17),
    st.integers(0, 1),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([-2, 1]),
    st.booleans(),
    st.integers(0, 2**16 - 1),
)
def test_plans_do_what_the_definition_says(bits, gate, threads, x_step, y_step, inplace, offset):
    # Blocks of fewer words than there are.
    config = EngineConfig(lanes=700, activation_depth=1024, lanes_per_table=1)
    space = Workspace(config, threads=threads)
    rng = np.random.default_rng(bits)
    space.activation[...] = rng.integers(-(1 << bits), 1 << bits, space.activation.shape)
    memory = space.activation.astype(np.int64)
    x, y = (5, x_step), (600, y_step)
    if inplace:
        x = y
    places = {"x_base": x[0], "x_step": x[1], "y_base": y[0], "y_step": y[1]}
    plan = _plan(space, **places, count=100, scale=1000, gate=gate)
    clips = plan.run(1, -2, 3, offset)
    inputs, outputs = (base + step * np.arange(100) for base, step in (x, y))
    xi = sample_signs(1, -2, 3, block=7, offset=offset, words=100, lanes=700)
    memory[outputs], expected = dither(memory[inputs], xi, memory[1000], gate=bool(gate), width=18)
    np.testing.assert_array_equal(space.activation, memory)
    assert clips == expected
    space.close()


def test_a_factor_of_zero_copies():
    space = Workspace(CONFIG)
    space.activation[3:12] = np.arange(45).reshape(9, 5) - 20
    for gate in (0, 1):
        space.activation[20:40] = 0
        assert _plan(space, gate=gate).run(1, 2, 3, 4) == 0
        np.testing.assert_array_equal(space.activation[20:37:2], space.activation[3:12])
    assert _plan(space, x_base=3, y_base=3, y_step=1).run(1, 2, 3, 4) == 0


def test_factors_may_be_overwritten():
    """They are read before anything is written."""
    space = Workspace(CONFIG)
    space.activation[22] = 9
    assert _plan(space, scale=22).run(1, 2, 3, 0) == 0
    np.testing.assert_array_equal(np.abs(space.activation[20:37:2]), 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"x_base": 60}, "word 68 is beyond the 64 of ACTIVATION"),
        ({"y_step": -3}, "word 65532 is beyond the 64 of ACTIVATION"),
        ({"scale": 64}, "word 64 is beyond the 64 of ACTIVATION"),
        ({"y_step": 0}, "an output is written twice"),
        ({"y_base": 4, "y_step": 1}, "an output is the input of another"),
        ({"x_base": 20, "x_step": 0}, "an output is the input of another"),
    ],
)
def test_faults(changes, message):
    with pytest.raises(DeviceError, match=f"DITHER: {message}"):
        _plan(Workspace(CONFIG), **changes)


def test_the_machine_executes_it():
    rng = np.random.default_rng(0)
    activations = rng.integers(-(2**17), 2**17, (64, 5))
    program = [
        *(I("PULL", target=target) for target in (1, 2, 3, 4)),
        I("LOAD", memory=Memory.ACTIVATION, base=0, count=64),
        I("DITHER", **PLACE, **REGISTERS),
        I("STORE", memory=Memory.ACTIVATION, base=0, count=64),
        I("HALT"),
    ]
    scalars = [-11, 12, 13, 70000]
    device = GoldenMachine(CONFIG)
    device.write_program(encode_program(program))
    inputs = [Segment.scalars(scalars), Segment(Memory.ACTIVATION, activations)]
    result = device.run(0, inputs, [Expect(Memory.ACTIVATION, 64)])
    xi = sample_signs(-11, 12, 13, block=7, offset=70000 - 65536, words=9, lanes=5)
    outputs, clips = dither(activations[3:12], xi, activations[60], gate=False, width=18)
    activations[20:37:2] = outputs
    np.testing.assert_array_equal(result.outputs[0], activations)
    assert result.counters["saturations_requantise"] == clips > 0
    cycles = predict(CONFIG, encode_program(program), 0, scalars)["cycles_dither"]
    assert result.counters["cycles_dither"] == cycles > 0


@pytest.mark.parametrize("name", LOCAL_INSTRUCTIONS)
def test_engines_without_local_learning_know_none_of_its_instructions(name):
    (form,) = (form for form in INSTRUCTIONS if form.name == name)
    device = GoldenMachine(replace(CONFIG, local_learning=0))
    device.write_program([form.opcode, *[0] * form.words])
    with pytest.raises(DeviceError, match=f"fault at word 0: opcode {form.opcode} is unknown"):
        device.run(0)
