"""CONTRACT: the fast twin gives the bits of the literal one, and refuses what the instruction set
forbids.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dither.golden.contract as fast
from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import LOOPS, OUTER_LOOPS, Activation, Instruction, Operand
from dither.golden import lanewise
from dither.golden.contract import ContractPlan, contract
from dither.golden.drain import exact_in_float
from dither.golden.literal import literal_contract
from dither.golden.nest import strides
from dither.golden.workspace import Workspace

CONFIG = EngineConfig(
    rows=4, lanes=3, width=18, activation_depth=256, parameter_depth=128, table_bits=6, lanes_per_table=1
)


def steps(counts, wanted):
    """Steps (the way back included) that give loops, innermost first, these strides."""
    result, way = [], 0
    for count, stride in zip(counts, wanted, strict=True):
        result.append(stride - way)
        way += (count - 1) * stride
    return result


def nest(counts=None, *, w=None, x=None, y=None, b=None, **fields):
    """A CONTRACT from counts and strides by loop; everything not named is as small as may be."""
    counts = {loop: (counts or {}).get(loop, 1) for loop in LOOPS}
    values = {f"n_{loop}": count for loop, count in counts.items()}
    for name, loops, wanted in (("w", LOOPS, w), ("x", LOOPS, x), ("y", OUTER_LOOPS, y), ("b", OUTER_LOOPS, b)):
        found = steps([counts[loop] for loop in loops], [(wanted or {}).get(loop, 0) for loop in loops])
        values |= {f"{name}_{loop}": step for loop, step in zip(loops, found, strict=True)}
    values |= {"w_base": 0, "x_base": 0, "y_base": 128, "y_row": 1, "last_rows": 4, "bias": 0, "b_base": 0, "one": 0}
    values |= {"idle": 8, "shift": 17, "activation": 0, "table": 0, "operand": Operand.WEIGHT}
    values |= {f"{letter}_index": 0 for letter in "wxyb"}
    return Instruction.make("CONTRACT", **values | fields)


def memories(config, seed, magnitude=1.0):
    rng = np.random.default_rng(seed)
    half = 1 << (config.width - 1)
    limit = max(int(half * magnitude), 1)
    activation = rng.integers(-limit, limit, (config.activation_depth, config.lanes))
    weight = rng.integers(-limit, limit, (config.weight_depth, config.rows))
    tables = [tuple(rng.integers(-half, half, (2, 1 << config.table_bits))) for _ in range(config.activation_tables)]
    return activation, weight, tables


def assert_same(config, instruction, activation, weight, tables, indices=(0, 0, 0, 0)):
    expected, clips = literal_contract(config, instruction, activation, weight, tables, indices)
    actual, counted = contract(config, instruction, activation, weight, tables, indices)
    np.testing.assert_array_equal(actual, expected)
    assert counted == clips
    return clips


@st.composite
def cases(draw):
    """Nests of all sorts: most of their addresses are within the memories, some outputs are written
    twice.
    """
    rows, lanes, width = (
        draw(st.sampled_from([1, 2, 4, 8])),
        draw(st.sampled_from([1, 3, 8])),
        draw(st.sampled_from([16, 18])),
    )
    config = replace(CONFIG, rows=rows, lanes=lanes, width=width)
    counts = {loop: draw(st.sampled_from([1, 1, 2, 3, 4])) for loop in LOOPS}

    def strides_of(loops, low, high):
        return {loop: draw(st.integers(low, high)) if draw(st.integers(0, 4)) else 0 for loop in loops}

    y, y_row = strides_of(OUTER_LOOPS, -5, 12), draw(st.integers(-3, 6))
    if draw(st.booleans()):  # as compilers do it: row after row, tile after tile
        y["o0"], y_row = rows, 1
    instruction = nest(
        counts,
        w=strides_of(LOOPS, 0, 5),
        x=strides_of(LOOPS, -4, 8),
        y=y,
        b=strides_of(OUTER_LOOPS, 0, 5),
        w_base=draw(st.integers(0, 30)),
        x_base=draw(st.integers(0, 100)),
        y_base=draw(st.integers(130, 200)),
        b_base=draw(st.integers(0, 60)),
        y_row=y_row,
        last_rows=draw(st.integers(1, rows)),
        bias=draw(st.integers(0, 1)),
        one=draw(st.integers(0, 127)),
        idle=rows,
        shift=draw(st.one_of(st.integers(width - 4, width + 2), st.integers(0, 47))),
        activation=draw(st.sampled_from(list(Activation))),
        table=draw(st.integers(0, 1)),
    )
    return config, instruction, draw(st.integers(0, 2**32)), draw(st.sampled_from([1.0, 0.1]))


@st.composite
def lane_wise_cases(draw):
    """The same with operands from the activation memory, mostly of addresses within it."""
    config = replace(CONFIG, rows=draw(st.sampled_from([1, 4])), lanes=draw(st.sampled_from([1, 3, 8])))
    counts = {loop: 1 if loop == "o0" else draw(st.sampled_from([1, 1, 2, 3, 4])) for loop in LOOPS}

    def strides_of(loops, low, high):
        return {loop: draw(st.integers(low, high)) if draw(st.integers(0, 2)) else 0 for loop in loops}

    y = strides_of(OUTER_LOOPS, -5, 12)
    if draw(st.booleans()):  # as compilers do it: words in order
        y = {"o1": 1, "o2": counts["o1"], "o3": counts["o1"] * counts["o2"]}
    instruction = nest(
        counts,
        w=strides_of(LOOPS, -4, 8),
        x=strides_of(LOOPS, -4, 8),
        y=y,
        b=strides_of(OUTER_LOOPS, -4, 8),
        w_base=draw(st.integers(40, 100)),
        x_base=draw(st.integers(40, 100)),
        y_base=draw(st.integers(140, 190)),
        b_base=draw(st.integers(40, 100)),
        last_rows=1,
        bias=draw(st.integers(0, 1)),
        one=draw(st.integers(0, 127)),
        idle=2,
        shift=draw(st.one_of(st.integers(12, 20), st.integers(0, 47))),
        activation=draw(st.sampled_from(list(Activation))),
        table=draw(st.integers(0, 1)),
        operand=draw(st.sampled_from([Operand.LANE, Operand.POSITIVE, Operand.SIGN])),
    )
    return config, instruction, draw(st.integers(0, 2**32)), draw(st.sampled_from([1.0, 0.1]))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(cases(), lane_wise_cases()), st.sampled_from([16, 100, 1 << 16]), st.booleans(), st.booleans())
def test_fast_equals_literal(case, block, constant, exact):
    config, instruction, seed, magnitude = case
    activation, weight, tables = memories(config, seed, magnitude)
    if constant:
        activation[instruction["one"]] = 1 << 12
    with pytest.MonkeyPatch.context() as patch:
        for module in (fast, lanewise):
            patch.setattr(module, "_BLOCK", block)
            patch.setattr(module, "_LANES", 2)
            if not exact:
                patch.setattr(module, "exact_in_float", lambda *_: False)
        try:
            contract(config, instruction, activation, weight, tables)
        except DeviceError:
            return
        assert_same(config, instruction, activation, weight, tables)


@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("last_rows", [1, 3, 4])
@pytest.mark.parametrize("magnitude", [1.0, 0.05])
def test_dense_layer(activation, last_rows, magnitude):
    instruction = nest(
        {"k0": 20, "o0": 3},
        w={"k0": 1, "o0": 20},
        x={"k0": 1},
        y={"o0": 4},
        b={"o0": 1},
        b_base=100,
        bias=1,
        one=50,
        last_rows=last_rows,
        activation=activation,
        shift=16,
    )
    clips = assert_same(CONFIG, instruction, *memories(CONFIG, 1, magnitude))
    if activation is not Activation.TABLE:  # random tables clip by themselves
        assert (clips > 0) == (magnitude == 1.0)


def test_tensor_train_core_with_a_bias_that_varies_by_position():
    # Inputs [P=3, K=6, S=4], outputs [P, M=7, S] with R=4: two tiles, the last of three rows.
    instruction = nest(
        {"k0": 6, "o0": 2, "o1": 4, "o2": 3},
        w={"k0": 1, "o0": 6},
        x={"k0": 4, "o1": 1, "o2": 24},
        y={"o0": 16, "o1": 1, "o2": 28},
        b={"o0": 1, "o1": 2, "o2": 8},
        y_row=4,
        last_rows=3,
        bias=1,
        one=127,
        b_base=20,
    )
    activation, weight, tables = memories(CONFIG, 2, 0.5)
    assert_same(CONFIG, instruction, activation, weight, tables)
    activation[127] = 1 << 10
    assert_same(CONFIG, instruction, activation, weight, tables)


def test_convolution_of_overlapping_windows():
    # A 3x3 kernel on 8x8 inputs, 6x6 outputs of 2 channels: reduction loops that no single stride
    # describes.
    instruction = nest(
        {"k0": 3, "k1": 3, "o1": 6, "o2": 6},
        w={"k0": 1, "k1": 3},
        x={"k0": 1, "k1": 8, "o1": 1, "o2": 8},
        y={"o1": 1, "o2": 6},
        y_row=36,
        last_rows=2,
    )
    assert_same(CONFIG, instruction, *memories(CONFIG, 3, 0.3))


def test_block_diagonal_matrix():
    instruction = nest({"k0": 5, "o1": 6}, w={"k0": 1, "o1": 5}, x={"k0": 1, "o1": 5}, y={"o1": 4})
    assert_same(CONFIG, instruction, *memories(CONFIG, 4, 0.3))


def test_the_last_write_of_a_word_counts():
    instruction = nest(
        {"o0": 3, "o1": 2, "o2": 2}, w={"o0": 2, "o1": 5, "o2": 1}, x={"o2": 3}, y={"o0": 1}, y_row=0, last_rows=2
    )
    assert_same(CONFIG, instruction, *memories(CONFIG, 5))


def test_addresses_wrap_like_16_bits():
    fields = dict(nest({"k0": 3, "o0": 2}, w={"k0": 1}, x={"k0": 2}, y={"o0": 4}).fields)
    plain = Instruction("CONTRACT", fields)
    fields["x_o0"] -= 0  # the way back of k0, as a step
    backwards = Instruction(
        "CONTRACT", fields | {"x_base": 4, "x_k0": -2, "x_o0": 4, "w_base": 2, "w_k0": -1, "w_o0": 2}
    )
    arguments = memories(CONFIG, 6, 0.3)
    np.testing.assert_array_equal(contract(CONFIG, plain, *arguments)[0], contract(CONFIG, backwards, *arguments)[0])
    assert_same(CONFIG, backwards, *arguments)


def test_strides_undo_the_way_back():
    assert strides([3, 4, 1, 2], [5, -9, 77, -12]) == [5, 1, 0, 1]
    assert strides([2, 2], [40000, 0]) == [40000 - 65536, 40000 - 65536]


@pytest.mark.parametrize(("width", "count"), [(16, 1 << 22), (18, 1 << 18)])
def test_sums_that_float64_holds(width, count):
    assert exact_in_float(width, count)
    assert not exact_in_float(width, 1 << (55 - 2 * width))


def test_sums_beyond_float64_are_exact():
    # More terms than 53 bits hold at full scale; every input is the same word, so that a small
    # memory will do.
    config = EngineConfig(rows=1, lanes=1, width=18, lanes_per_table=1, activation_depth=16, parameter_depth=16)
    instruction = nest({"k0": 1 << 15, "k1": 1 << 5}, y_base=1, last_rows=1, shift=30)
    assert not exact_in_float(18, 1 << 20)
    activation, weight = np.full((16, 1), 4097), np.full((config.weight_depth, 1), 8191)
    result, clips = contract(config, instruction, activation, weight)
    assert int(result[1, 0]) == (4097 * 8191 * (1 << 20) + (1 << 29)) >> 30
    assert clips == 0


def test_accumulators_that_overflow_are_refused():
    config = EngineConfig(rows=1, lanes=1, width=16, lanes_per_table=1, activation_depth=16, parameter_depth=16)
    instruction = nest({"k0": 1 << 13}, y_base=1, last_rows=1, shift=30)
    activation, weight = (np.full((words, 1), -(1 << 15)) for words in (16, config.weight_depth))
    with pytest.raises(DeviceError, match="CONTRACT: a sum overflows its 44 bits"):
        contract(config, instruction, activation, weight)


def test_plans_notice_new_weights():
    activation, weight, _ = memories(CONFIG, 7, 0.3)
    instruction = nest({"k0": 6}, w={"k0": 1}, x={"k0": 1})
    space = Workspace(CONFIG)
    space.activation[...], space.weight[...] = activation, weight
    plan = ContractPlan(space, instruction)
    plan.run()
    space.weight[...] = -weight
    space.version += 1
    plan.run()
    expected, _ = literal_contract(CONFIG, instruction, activation, -weight)
    np.testing.assert_array_equal(space.activation, expected)


def test_threads_change_nothing():
    activation, weight, tables = memories(CONFIG, 9, 0.5)
    instruction = nest(
        {"k0": 6, "o1": 8, "o2": 4},
        w={"k0": 1},
        x={"k0": 1, "o1": 6, "o2": 7},
        y={"o1": 4, "o2": 32},
        last_rows=2,
        activation=Activation.TABLE,
    )
    expected, clips = literal_contract(CONFIG, instruction, activation, weight, tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_BLOCK", 16)
        for threads in (2, 3):
            space = Workspace(CONFIG, threads=threads)
            space.activation[...], space.weight[...] = activation, weight
            space.set_table(0, tables[0])
            result = ContractPlan(space, instruction).run()
            np.testing.assert_array_equal(space.activation, expected)
            assert result.clips == clips
            space.close()


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        Workspace(CONFIG, threads=0)


def test_results_report_the_range_before_clipping():
    space = Workspace(CONFIG)
    space.activation[0] = [3, -5, 70000]
    space.weight[0] = [2, 2, 2, -2]
    result = ContractPlan(space, nest(shift=0)).run()
    assert (result.clips, result.lowest, result.highest) == (4, -140000, 140000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_k1": 0}, "n_k1 must be at least 1"),
        ({"n_o3": 0}, "n_o3 must be at least 1"),
        ({"shift": 48}, "shift must be from 0 to 47, not 48"),
        ({"last_rows": 0}, "last_rows must be from 1 to 4, not 0"),
        ({"last_rows": 5}, "last_rows must be from 1 to 4, not 5"),
        ({"activation": 3}, "unknown activation 3"),
        ({"activation": 2, "table": 2}, "table 2 is not one of 2"),
        ({"idle": 2}, "a tile of 3 cycles is shorter than its drain of 4"),
        ({"x_base": 256}, "input address 256 is beyond the memory's 256 words"),
        ({"x_k0": -1, "n_k0": 2}, "input address 65535 to 0 is beyond the memory's 256 words"),
        ({"w_base": 1024}, "weight address 1024 is beyond the memory's 1024 words"),
        ({"w_k2": 600, "n_k2": 3}, "weight address 0 to 1200 is beyond the memory's 1024 words"),
        ({"y_base": 254}, "output address 254 to 257 is beyond the memory's 256 words"),
        ({"bias": 1, "b_base": 1100}, "bias address 1100 is beyond the memory's 1024 words"),
        ({"bias": 1, "one": 300}, "constant address 300 is beyond the memory's 256 words"),
        ({"y_base": 0}, "word 0 is both input and output"),
        ({"bias": 1, "one": 130}, "word 130 is both input and output"),
    ],
)
def test_what_the_instruction_set_forbids_is_refused(changes, message):
    with pytest.raises(DeviceError, match=f"^CONTRACT: {message}$"):
        contract(CONFIG, nest(**changes), *memories(CONFIG, 0))


def test_the_drain_of_a_shared_interpolator_takes_longer():
    config = replace(CONFIG, lanes_per_table=3)
    with pytest.raises(DeviceError, match="a tile of 9 cycles is shorter than its drain of 12"):
        contract(config, nest(activation=Activation.TABLE), *memories(config, 0))
    assert_same(config, nest(activation=Activation.TABLE, idle=11), *memories(config, 0))


def test_rows_that_do_not_count_may_lie_beyond_the_memory():
    assert_same(CONFIG, nest(y_base=254, last_rows=2), *memories(CONFIG, 8))


def test_overlapping_windows_over_outputs():
    """Two loops that both move on by one word: found by random programs against the RTL."""
    instruction = nest(
        {"k0": 3, "o0": 2, "o2": 3, "o3": 2},
        w={"k0": 1, "o0": 3},
        x={"k0": 8, "o2": 1, "o3": 1},
        y={"o0": 4, "o2": 8, "o3": 24},
        y_base=60,
        last_rows=4,
    )
    assert_same(CONFIG, instruction, *memories(CONFIG, 11, 0.3))


@pytest.mark.parametrize("operand", [Operand.LANE, Operand.POSITIVE, Operand.SIGN])
@pytest.mark.parametrize("activation", list(Activation))
def test_products_of_words(operand, activation):
    """Outputs [n, L] of two operands [n, L], a bias [n, L] and a constant: a chain rule's step."""
    instruction = nest(
        {"o1": 30},
        w={"o1": 1},
        x={"o1": 1},
        y={"o1": 1},
        b={"o1": 1},
        x_base=30,
        b_base=60,
        one=127,
        bias=1,
        last_rows=1,
        operand=operand,
        activation=activation,
        shift=3,
    )
    activations, weight, tables = memories(CONFIG, 12, 0.01)
    activations[127] = 1 << 3
    assert_same(CONFIG, instruction, activations, weight, tables)


def test_a_matrix_for_every_lane():
    """Weights [M=5, K=6, L] times inputs [K, S=4, L]."""
    instruction = nest(
        {"k0": 6, "o1": 4, "o2": 5},
        w={"k0": 1, "o2": 6},
        x={"k0": 4, "o1": 1},
        y={"o1": 1, "o2": 4},
        x_base=40,
        last_rows=1,
        operand=Operand.LANE,
        shift=18,
    )
    activations, weight, _ = memories(CONFIG, 13, 0.5)
    assert_same(CONFIG, instruction, activations, weight, ())
    result, _ = contract(CONFIG, instruction, activations, weight)
    sums = np.einsum("mkl,ksl->msl", activations[:30].reshape(5, 6, 3), activations[40:64].reshape(6, 4, 3))
    np.testing.assert_array_equal(result[128:148], (sums.reshape(20, 3) + (1 << 17)) >> 18)


def test_lane_wise_threads_change_nothing():
    activations, weight, tables = memories(CONFIG, 14, 0.5)
    instruction = nest(
        {"k0": 3, "o1": 8, "o2": 4},
        w={"k0": 1, "o2": 3},
        x={"k0": 1, "o1": 3},
        y={"o1": 1, "o2": 8},
        last_rows=1,
        operand=Operand.LANE,
        activation=Activation.TABLE,
    )
    expected, clips = literal_contract(CONFIG, instruction, activations, weight, tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanewise, "_BLOCK", 16)
        space = Workspace(CONFIG, threads=3)
        space.activation[...] = activations
        space.set_table(0, tables[0])
        result = ContractPlan(space, instruction).run()
        np.testing.assert_array_equal(space.activation, expected)
        assert result.clips == clips
        space.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_o0": 2}, "n_o0 must be 1 with operand SIGN, not 2"),
        ({"last_rows": 2}, "last_rows must be 1 with operand SIGN, not 2"),
        ({"activation": 2, "n_k0": 2}, "a tile of 4 cycles is shorter than its drain of 6"),
        ({"activation": 2, "n_k0": 2, "bias": 1, "w_base": 256}, "weight address 256 is beyond the memory's 256 words"),
        ({"b_base": 300, "bias": 1}, "bias address 300 is beyond the memory's 256 words"),
        ({"w_base": 200, "w_k0": 70, "n_k0": 2}, "weight address 200 to 270 is beyond the memory's 256 words"),
        ({"w_base": 128}, "word 128 is both input and output"),
        ({"b_base": 128, "bias": 1}, "word 128 is both input and output"),
    ],
)
def test_what_lane_wise_operands_forbid_is_refused(changes, message):
    config = replace(CONFIG, lanes=6, lanes_per_table=6)
    instruction = nest(**{"operand": Operand.SIGN, "last_rows": 1, "idle": 0} | changes)
    with pytest.raises(DeviceError, match=f"^CONTRACT: {message}$"):
        contract(config, instruction, *memories(config, 0))


def test_lane_wise_operands_need_local_learning():
    config = replace(CONFIG, local_learning=0)
    contract(config, nest(), *memories(config, 0))
    with pytest.raises(DeviceError, match="CONTRACT: operand LANE needs an engine with local_learning"):
        contract(config, nest(operand=Operand.LANE, last_rows=1), *memories(config, 0))


@pytest.mark.parametrize("operand", [Operand.WEIGHT, Operand.LANE])
def test_plans_serve_all_indices(operand):
    """One plan, whatever its index registers hold; only their lowest 16 bits count."""
    activations, weight, _ = memories(CONFIG, 15, 0.3)
    space = Workspace(CONFIG)
    space.activation[...], space.weight[...] = activations, weight
    instruction = nest(
        {"k0": 4, "o1": 5},
        w={"k0": 1},
        x={"k0": 5, "o1": 1},
        y={"o1": 4},
        b={"o1": 1},
        bias=1,
        one=127,
        last_rows=4 if operand is Operand.WEIGHT else 1,
        operand=operand,
    )
    plan = ContractPlan(space, instruction)
    for indices in ((0, 0, 0, 0), (9, 40, 50, 3), (9, 40, 50, 3), (0, 1, 0, 0), (-(1 << 16), 1 << 30, 108, 60)):
        expected, clips = literal_contract(CONFIG, instruction, space.activation, weight, indices=indices)
        assert plan.run(indices).clips == clips
        np.testing.assert_array_equal(space.activation, expected)
    for indices, message in (
        ((0, 250, 0, 0), "input address 250 to 269 is beyond"),
        ((-1, 0, 0, 0), "weight address 65535 to 2 is beyond"),
        (
            (0, 0, 120, 0),
            "output address 248 to 267 is beyond" if operand is Operand.WEIGHT else "output address 248 to 264",
        ),
        ((0, 0, 0, 1100), "bias address 1100 to 1104 is beyond"),
        ((0, 110, 0, 0), "word 128 is both input and output"),
    ):
        with pytest.raises(DeviceError, match=f"CONTRACT: {message}"):
            plan.run(indices)
    plan.run((1, 2, 3, 4))
