"""CORRELATE: the fast twin gives the bits of the literal one, and refuses what the instruction set
forbids.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import dither.golden.correlate as fast
from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import LOOPS, OUTER_LOOPS, Instruction, Memory, encode_program
from dither.arch.streams import Expect, Segment
from dither.arch.timing import CORRELATE_DISTANCE, execution_cycles
from dither.golden import GoldenMachine
from dither.golden.correlate import CorrelatePlan, correlate
from dither.golden.literal import literal_correlate
from dither.golden.workspace import Workspace
from tests.programs import steps_of_strides

CONFIG = EngineConfig(rows=4, lanes=3, width=18, activation_depth=256, parameter_depth=128, lanes_per_table=1)
I = Instruction.make  # noqa: E741


def nest(counts=None, *, d=None, x=None, g=None, **fields):
    """A CORRELATE from counts and strides by loop; everything not named is as small as may be."""
    counts = {loop: (counts or {}).get(loop, 1) for loop in LOOPS}
    values = {f"n_{loop}": count for loop, count in counts.items()}
    for name, loops, wanted in (("d", OUTER_LOOPS, d), ("x", LOOPS, x), ("g", LOOPS, g)):
        found = steps_of_strides([counts[loop] for loop in loops], [(wanted or {}).get(loop, 0) for loop in loops])
        values |= {f"{name}_{loop}": step for loop, step in zip(loops, found, strict=True)}
    values |= {f"{name}_{kind}": 0 for name in "dxg" for kind in ("base", "index")}
    return I("CORRELATE", **values | {"d_row": 1, "last_rows": 4, "idle": CORRELATE_DISTANCE - 2} | fields)


def memories(config, seed, magnitude=1.0):
    """Activations of up to full scale; gradients of 48 bits, some of which will wrap."""
    rng = np.random.default_rng(seed)
    limit = max(int(magnitude * (1 << (config.width - 1))), 1)
    activation = rng.integers(-limit, limit, (config.activation_depth, config.lanes))
    return activation, rng.integers(-(1 << 47), 1 << 47, (config.parameter_depth, config.rows))


def assert_same(config, instruction, activation, gradient, indices=(0, 0, 0)):
    expected = literal_correlate(config, instruction, activation, gradient, indices)
    np.testing.assert_array_equal(correlate(config, instruction, activation, gradient, indices), expected)
    return expected


@st.composite
def cases(draw):
    """Nests of all sorts, most of their addresses within the memories; gradient words are revisited
    where they may.
    """
    rows = draw(st.sampled_from([1, 2, 4, 8]))
    config = replace(CONFIG, rows=rows, lanes=draw(st.sampled_from([1, 3, 8])), width=draw(st.sampled_from([16, 18])))
    counts = {loop: draw(st.sampled_from([1, 1, 2, 3, 5])) for loop in LOOPS}

    def strides_of(loops, low, high):
        return {loop: draw(st.integers(low, high)) if draw(st.integers(0, 3)) else 0 for loop in loops}

    d, d_row = strides_of(OUTER_LOOPS, -4, 8), draw(st.integers(-3, 6))
    if draw(st.booleans()):  # as compilers do it: row after row, tile after tile
        d_row = draw(st.integers(1, 6))
        d["o0"] = rows * d_row
    x = strides_of(LOOPS, -4, 8)
    if draw(st.booleans()):  # positions that are neighbours in both operands
        d["o1"] = x["o1"] = 1
        d["o2"] = x["o2"] = draw(st.sampled_from([counts["o1"], 7]))
    if draw(st.booleans()):
        x["o0"] = 0
    g = strides_of(LOOPS, 0, 5)
    if draw(st.booleans()):
        g |= {"k0": 1, "k1": counts["k0"], "k2": counts["k0"] * counts["k1"], "o1": 0, "o2": 0, "o3": 0}
        g["o0"] = counts["k0"] * counts["k1"] * counts["k2"]
    instruction = nest(
        counts,
        d=d,
        x=x,
        g=g,
        d_base=draw(st.integers(30, 100)),
        x_base=draw(st.integers(30, 100)),
        g_base=draw(st.integers(0, 30)),
        d_row=d_row,
        last_rows=draw(st.integers(1, rows)),
        idle=draw(st.integers(0, 4)),
    )
    return config, instruction, draw(st.integers(0, 2**32)), draw(st.sampled_from([1.0, 0.1]))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.sampled_from([8, 100, 1 << 16]), st.sampled_from([1, 2]), st.booleans())
def test_fast_equals_literal(case, block, threads, long_sums):
    config, instruction, seed, magnitude = case
    activation, gradient = memories(config, seed, magnitude)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_BLOCK", block)
        if not long_sums:
            patch.setattr(fast, "exact_in_float", lambda *_: False)
        space = Workspace(config, threads=threads)
        space.activation[...] = activation
        result = gradient.copy()
        try:
            CorrelatePlan(space, instruction).run(result)
        except DeviceError:
            assume(False)
        finally:
            space.close()
    np.testing.assert_array_equal(result, literal_correlate(config, instruction, activation, gradient))


def test_tensor_train_core():
    """Left [P, M, S], right [P, K, S], gradient (K, M) in two row tiles, the last of three rows."""
    P, M, K, S = 3, 7, 6, 4
    instruction = nest(
        {"k0": K, "o0": 2, "o2": S, "o3": P},
        d={"o0": 4 * S, "o2": 1, "o3": M * S},
        x={"k0": S, "o2": 1, "o3": K * S},
        g={"k0": 1, "o0": K},
        d_row=S,
        x_base=100,
        g_base=5,
        last_rows=3,
    )
    activation, gradient = memories(CONFIG, 1)
    gradient[...] = 0
    result = assert_same(CONFIG, instruction, activation, gradient)
    left = activation[: P * M * S].reshape(P, M, S, 3)
    right = activation[100 : 100 + P * K * S].reshape(P, K, S, 3)
    sums = np.einsum("pmsl,pksl->mk", left, right)
    np.testing.assert_array_equal(result[5:11], sums[:4].T)
    np.testing.assert_array_equal(result[11:17, :3], sums[4:].T)
    assert not result[11:17, 3].any()


def test_convolution_of_overlapping_windows():
    """A 3x3 kernel on two channels of 8x8 inputs, 6x6 outputs of two channels."""
    instruction = nest(
        {"k0": 3, "k1": 3, "k2": 2, "o1": 6, "o2": 6},
        d={"o1": 1, "o2": 6},
        d_row=36,
        last_rows=2,
        x={"k0": 1, "k1": 8, "k2": 64, "o1": 1, "o2": 8},
        g={"k0": 1, "k1": 3, "k2": 9},
        x_base=80,
    )
    assert_same(CONFIG, instruction, *memories(CONFIG, 2))


def test_bias_of_many_positions():
    """Derivatives times a constant, gathered in one gradient word or in one for each position."""
    for step in (0, 1):
        instruction = nest(
            {"o1": 5, "o2": 4}, d={"o1": 1, "o2": 5}, d_row=20, x_base=200, g={"o1": step, "o2": 5 * step}
        )
        assert_same(CONFIG, instruction, *memories(CONFIG, 3))


def test_loops_that_move_nothing_add_the_same_again():
    assert_same(CONFIG, nest({"k0": 4, "o3": 3}, x={"k0": 1}, g={"k0": 1}), *memories(CONFIG, 4))


def test_visits_of_the_same_words_from_different_loops():
    instruction = nest({"k0": 3, "o1": 3, "o2": 2}, d={"o1": 4, "o2": 1}, x={"k0": 1}, g={"k0": 1, "o1": 1, "o2": 2})
    assert_same(CONFIG, instruction, *memories(CONFIG, 5))


def test_sums_beyond_float64_are_exact():
    """Every product is the greatest there is, and there are so many of them that their sum
    wraps.
    """
    config = replace(CONFIG, rows=1, lanes=512)
    instruction = nest({"o1": 64, "o2": 64}, d={"o1": 1}, x={"o1": 1}, last_rows=1)
    worst = np.full((config.activation_depth, config.lanes), -(1 << 17))
    result = correlate(config, instruction, worst, np.full((config.parameter_depth, 1), 5))
    total = (64 * 64 * 512 << 34) + 5
    assert total >= 1 << 54
    assert int(result[0, 0]) == (total + (1 << 47)) % (1 << 48) - (1 << 47)


def test_accumulators_wrap():
    activation, gradient = np.full((256, 3), 1 << 10), np.full((128, 4), (1 << 47) - 1)
    result = assert_same(CONFIG, nest(), activation, gradient)
    assert result[0].tolist() == [-(1 << 47) + 3 * (1 << 20) - 1] * 4


@pytest.mark.parametrize("indices", [(0, 0, 0), (5, -3, 100), (1 << 16, -(1 << 31), (1 << 31) - (1 << 16) + 7)])
def test_index_registers_move_bases(indices):
    instruction = nest(
        {"k0": 5, "o1": 2}, d={"o1": 7}, x={"k0": 1, "o1": 3}, g={"k0": 1}, d_base=10, x_base=20, g_base=9
    )
    activation, gradient = memories(CONFIG, 6)
    moved = {
        f"{name}_base": (instruction[f"{name}_base"] + index) % (1 << 16)
        for name, index in zip("dxg", indices, strict=True)
    }
    plain = Instruction("CORRELATE", dict(instruction.fields) | moved)
    expected = assert_same(CONFIG, plain, activation, gradient)
    np.testing.assert_array_equal(assert_same(CONFIG, instruction, activation, gradient, indices), expected)


def test_plans_serve_all_indices():
    activation, gradient = memories(CONFIG, 7)
    space = Workspace(CONFIG)
    space.activation[...] = activation
    instruction = nest({"k0": 4, "o2": 6}, d={"o2": 1}, x={"k0": 6, "o2": 1}, g={"k0": 1})
    plan = CorrelatePlan(space, instruction)
    for indices in ((0, 0, 0), (7, 100, 20), (7, 100, 20), (0, 3, 0), (1, 0, 124)):
        expected = literal_correlate(CONFIG, instruction, activation, gradient, indices)
        plan.run(gradient, indices)
        np.testing.assert_array_equal(gradient, expected)
    with pytest.raises(DeviceError, match="gradient address 125 to 128 is beyond the memory's 128 words"):
        plan.run(gradient, (0, 0, 125))
    with pytest.raises(DeviceError, match="left address 65535 to 7 is beyond the memory's 256 words"):
        plan.run(gradient, (-1, 0, 0))
    np.testing.assert_array_equal(gradient, expected)


def _close(cycles):
    return f"a gradient word is reached again after {cycles} cycles, not {CORRELATE_DISTANCE}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_k2": 0}, "n_k2 must be at least 1"),
        ({"n_o1": 0}, "n_o1 must be at least 1"),
        ({"last_rows": 0}, "last_rows must be from 1 to 4, not 0"),
        ({"last_rows": 5}, "last_rows must be from 1 to 4, not 5"),
        ({"d_base": 254}, "left address 254 to 257 is beyond the memory's 256 words"),
        ({"d_row": -1}, "left address 65533 to 0 is beyond the memory's 256 words"),
        ({"x_base": 256}, "right address 256 is beyond the memory's 256 words"),
        ({"g_base": 126, "n_k0": 3, "g_k0": 1}, "gradient address 126 to 128 is beyond the memory's 128 words"),
        ({"n_k0": 2}, _close(1)),
        ({"n_k0": 2, "n_k1": 2, "g_k0": 1, "g_k1": -1}, _close(2)),
        ({"n_k0": 3, "n_k1": 2, "g_k0": 1, "g_k1": -2}, _close(3)),
    ],
)
def test_what_the_instruction_set_forbids_is_refused(changes, message):
    fields = dict(nest(idle=0).fields) | changes
    with pytest.raises(DeviceError, match=f"^CORRELATE: {message}$"):
        correlate(CONFIG, Instruction("CORRELATE", fields), *memories(CONFIG, 0))


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("idle", range(4))
@pytest.mark.parametrize("inner", [1, 2, 3])
@pytest.mark.parametrize(("loop", "shift"), [("o0", 0), ("o3", 1), ("o1", -1)])
def test_revisits_are_refused_where_they_are_too_close(rows, idle, inner, shift, loop):
    """Against the list of all visits and their cycles."""
    config = replace(CONFIG, rows=rows)
    instruction = nest(
        {"k0": inner, loop: 4}, d={"o0": rows}, x={}, g={"k0": 1, loop: shift}, g_base=20, idle=idle, last_rows=rows
    )
    visits = [(tile * (rows + inner + idle) + k, k + tile * shift) for tile in range(4) for k in range(inner)]
    apart = [late[0] - early[0] for early in visits for late in visits if early[0] < late[0] and early[1] == late[1]]
    if min(apart, default=CORRELATE_DISTANCE) >= CORRELATE_DISTANCE:
        assert_same(config, instruction, *memories(config, 8))
        return
    with pytest.raises(DeviceError, match=f"a gradient word is reached again after {min(apart)} cycles"):
        correlate(config, instruction, *memories(config, 8))


def test_rows_that_do_not_count_may_lie_beyond_the_memory():
    result = assert_same(CONFIG, nest(d_base=254, last_rows=2), *memories(CONFIG, 9))
    np.testing.assert_array_equal(result[:, 2:], memories(CONFIG, 9)[1][:, 2:])


def test_the_machine_adds_to_gradient_memory_and_counts():
    config = replace(CONFIG, activation_depth=64, parameter_depth=32)
    instruction = nest(
        {"k0": 5, "o0": 2}, d={"o0": 4}, x={"k0": 1}, g={"k0": 1, "o0": 5}, last_rows=1, x_base=10, g_base=3, x_index=2
    )
    program = [
        I("LOAD", memory=Memory.ACTIVATION, base=0, count=64),
        I("LOAD", memory=Memory.GRADIENT, base=0, count=32),
        I("LOOP", register=0, count=3),
        instruction,
        I("SET", target=2, source=2, value=7),
        I("END"),
        I("STORE", memory=Memory.GRADIENT, base=0, count=32),
        I("HALT"),
    ]
    activation, expected = memories(config, 10)
    inputs = [Segment(Memory.ACTIVATION, activation), Segment(Memory.GRADIENT, expected)]
    device = GoldenMachine(config)
    device.write_program(encode_program(program))
    result = device.run(0, inputs, [Expect(Memory.GRADIENT, 32)])
    for index in (0, 7, 14):
        expected = literal_correlate(config, instruction, activation, expected, (0, index, 0))
    np.testing.assert_array_equal(result.outputs[0], expected)
    assert result.counters["cycles_correlate"] == 3 * execution_cycles(config, instruction)
    assert result.counters["row_steps"] == 3 * 5 * 5
