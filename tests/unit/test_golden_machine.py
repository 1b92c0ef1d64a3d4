"""The golden machine: control flow, streams, memories, counters, faults."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.fixedpoint import FixedPoint
from dither.arch.isa import (
    LOOPS,
    OUTER_LOOPS,
    STACK_DEPTH,
    Distribution,
    Instruction,
    LossKind,
    Memory,
    Rule,
    encode_program,
)
from dither.arch.regmap import COUNTERS, PHASES
from dither.arch.streams import Expect, Segment
from dither.arch.tables import scalar_tables, sine_table
from dither.arch.timing import execution_cycles, fetch_cycles
from dither.golden import GoldenMachine, predict
from dither.golden.literal import reference_contract
from dither.golden.loss import loss
from dither.golden.probes import accumulate, perturb, tensor_probes
from dither.golden.update import update
from tests.programs import programs

CONFIG = EngineConfig(
    rows=2,
    lanes=3,
    width=18,
    activation_depth=64,
    parameter_depth=32,
    program_depth=256,
    table_bits=6,
    lanes_per_table=1,
)
STATE = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)
I = Instruction.make  # noqa: E741


def machine(*instructions, **options):
    device = GoldenMachine(CONFIG, **options)
    device.write_program(encode_program([*instructions, I("HALT")]))
    return device


def emitted(*instructions, scalars=(), count=None):
    """What a program of scalars sends; ``count`` where that is not a number for each EMIT."""
    if count is None:
        count = sum(instruction.name == "EMIT" for instruction in instructions)
    result = machine(*instructions).run(0, [Segment.scalars(scalars)], [Expect(None, count)])
    return result.outputs[0][:, 0].tolist()


def set_(target, value, source=0):
    return I("SET", target=target, source=source, value=value)


def emit(source):
    return I("EMIT", source=source)


def loop(count, register=0):
    return I("LOOP", register=register, count=count)


END, RETURN = I("END"), I("RETURN")


def test_registers():
    program = [
        set_(1, -5),
        set_(2, 3, source=1),
        I("ADD", target=3, left=1, right=2),
        I("SUBTRACT", target=4, left=1, right=2),
        I("PULL", target=5),
        emit(1),
        emit(2),
        emit(3),
        emit(4),
        emit(5),
    ]
    assert emitted(*program, scalars=[77]) == [-5, -2, -7, -3, 77]


def test_register_zero_reads_zero_and_sums_wrap():
    assert emitted(set_(0, 9), I("PULL", target=0), emit(0), scalars=[4]) == [0]
    assert emitted(set_(1, 2**31 - 1), set_(1, 1, source=1), emit(1)) == [-(2**31)]
    assert emitted(I("PULL", target=1), emit(1), scalars=[2**32 - 1]) == [-1]


def test_loops_nest_and_count_with_registers():
    body = [set_(1, 1, source=1), emit(1)]
    assert emitted(loop(2), loop(3), *body, END, END, count=6) == list(range(1, 7))
    assert emitted(set_(2, 4), loop(1, register=2), *body, END, count=5) == [1, 2, 3, 4, 5]
    assert emitted(set_(2, -4), loop(6, register=2), *body, END, count=2) == [1, 2]


def test_calls_return_behind_themselves():
    # 0: CALL 4, 1: CALL 4, 2: EMIT, 3: HALT, 4: SET (two words), 6: RETURN
    body = [I("CALL", target=4), I("CALL", target=4), emit(1), I("HALT"), set_(1, 1, source=1), RETURN]
    assert emitted(*body) == [2]


def test_loops_and_calls_nest_as_deep_as_the_stack():
    depth = STACK_DEPTH
    assert emitted(*[loop(1)] * depth, set_(1, 1, source=1), *[END] * depth, emit(1)) == [1]
    with pytest.raises(
        DeviceError, match=rf"fault at word {depth} \(LOOP\): more than {depth} loops and calls are open"
    ):
        machine(*[loop(1)] * (depth + 1)).run(0)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([END], "fault at word 0 (END): END without LOOP"),
        ([RETURN], "fault at word 0 (RETURN): RETURN without CALL"),
        ([loop(2), RETURN], "fault at word 1 (RETURN): RETURN within a loop that has not ended"),
        ([I("CALL", target=1), END], "fault at word 1 (END): END within a subroutine that has not returned"),
        ([I("CALL", target=0)], "fault at word 0 (CALL): more than 16 loops and calls are open"),
        ([loop(0)], "fault at word 0 (LOOP): a loop must have at least 1 iteration, not 0"),
        ([I("CALL", target=300)], "fault at word 300: beyond the program memory's 256 words"),
        ([I("LOAD", memory=1, base=0, count=0)], "fault at word 0 (LOAD): LOAD: count must be at least 1"),
        ([I("STORE", memory=0, base=60, count=5)], "STORE: words 60 to 64 are beyond the 64 of ACTIVATION"),
        ([I("STORE", memory=3, base=30, count=3)], "STORE: words 30 to 32 are beyond the 32 of MOMENT1"),
        ([I("STORE", memory=7, base=0, count=1)], "STORE: SCALAR_TABLE cannot be read back"),
    ],
)
def test_faults_name_address_and_instruction(program, message):
    with pytest.raises(DeviceError, match=re.escape(message)):
        machine(*program).run(0)


def test_unknown_opcodes_fault_when_reached():
    device = GoldenMachine(CONFIG)
    device.write_program([0, 255])
    device.run(0)
    with pytest.raises(DeviceError, match="fault at word 1: opcode 255 is unknown or its words are missing"):
        device.run(1)


def test_programs_must_fit():
    with pytest.raises(DeviceError, match="the program has 257 words, the memory only 256"):
        GoldenMachine(CONFIG).write_program([0] * 257)


@pytest.mark.parametrize(
    ("program", "inputs", "expects", "message"),
    [
        ([I("PULL", target=1)], [], [], "the input stream ends, but the program wants 1 more beats of scalars"),
        (
            [I("PULL", target=1)],
            [Segment(Memory.MASTER, np.zeros((1, 2), np.int64))],
            [],
            "the program wants scalars, but the input stream has MASTER",
        ),
        (
            [I("LOAD", memory=1, base=0, count=2)],
            [Segment(Memory.MASTER, np.zeros((1, 2), np.int64))],
            [],
            "the input stream ends, but the program wants 1 more beats of MASTER",
        ),
        ([I("PULL", target=1)], [Segment.scalars([1, 2, 3])], [], "the program ended with 2 beats of input left over"),
        (
            [],
            [Segment(Memory.MASTER, np.zeros((1, 3), np.int64))],
            [],
            "a segment of MASTER needs 2 slots a beat, not shape (1, 3)",
        ),
        ([emit(0)], [], [], "the program sends 1 beats of scalars that nobody expects"),
        ([emit(0)], [], [Expect(Memory.WEIGHT, 1)], "the program sends scalars, but WEIGHT is expected"),
        ([emit(0)], [], [Expect(None, 3)], "the program ended with 2 expected beats of output missing"),
    ],
)
def test_streams_must_match_the_program(program, inputs, expects, message):
    with pytest.raises(DeviceError, match=re.escape(message)):
        machine(*program).run(0, inputs, expects)


def test_segments_and_transfers_need_not_coincide():
    program = [
        I("LOAD", memory=1, base=0, count=1),
        I("LOAD", memory=1, base=1, count=4),
        I("STORE", memory=1, base=0, count=5),
    ]
    rows = np.arange(10).reshape(5, 2)
    inputs = [Segment.scalars([]), Segment(Memory.MASTER, rows[:3]), Segment(Memory.MASTER, rows[3:])]
    expects = [Expect(Memory.MASTER, 2), Expect(None, 0), Expect(Memory.MASTER, 3)]
    outputs = machine(*program).run(0, inputs, expects).outputs
    assert [output.tolist() for output in outputs] == [rows[:2].tolist(), [], rows[2:].tolist()]


@pytest.mark.parametrize("kind", [Memory.ACTIVATION, *STATE, Memory.WEIGHT])
def test_memories_keep_what_they_are_given_from_run_to_run(kind):
    width = {Memory.ACTIVATION: 18, Memory.WEIGHT: 18, Memory.GRADIENT: 48}.get(kind, 32)
    lowest = 0 if kind is Memory.MOMENT2 else -(2 ** (width - 1))
    slots = 3 if kind is Memory.ACTIVATION else 2
    values = np.random.default_rng(0).integers(lowest, lowest + 2**width, (4, slots))
    device = machine(I("LOAD", memory=kind, base=3, count=4))
    device.run(0, [Segment(kind, values + (1 << width))])  # a memory takes the low bits of a slot
    device.write_program(encode_program([I("STORE", memory=kind, base=2, count=6), I("HALT")]))
    for _ in range(2):
        output = device.run(0, [], [Expect(kind, 6)]).outputs[0]
        np.testing.assert_array_equal(output[1:5], values)
        assert not output[[0, 5]].any()


def test_outputs_are_copies():
    device = machine(I("STORE", memory=1, base=0, count=1))
    device.run(0, [], [Expect(Memory.MASTER, 1)]).outputs[0][...] = 5
    assert not device.run(0, [], [Expect(Memory.MASTER, 1)]).outputs[0].any()


def _probe(seed=1, step=2, probe=3):
    return {"base": 4, "inner": 3, "tiles": 2, "block": 5, "seed": seed, "step": step, "probe": probe}


@pytest.mark.parametrize("distribution", Distribution)
def test_perturb_and_accumulate(distribution):
    rng = np.random.default_rng(1)
    masters = rng.integers(-(2**31), 2**31, (6, 2))
    gradients = rng.integers(-(2**47), 2**47, (6, 2))
    probes = _probe() | {"distribution": distribution}
    plain = I("PERTURB", **_probe() | {"distribution": Distribution.NONE}, amplitude=5)
    store = I("STORE", memory=Memory.WEIGHT, base=4, count=6)
    program = [
        *(I("PULL", target=target) for target in (1, 2, 3, 4)),
        I("LOAD", memory=Memory.MASTER, base=4, count=6),
        I("LOAD", memory=Memory.GRADIENT, base=4, count=6),
        plain,
        I("PERTURB", **probes, amplitude=-(2**30)),
        store,
        plain,
        store,
        I("ACCUMULATE", **probes, difference=4),
        I("STORE", memory=Memory.GRADIENT, base=4, count=6),
    ]
    probe = 64 * 5 + 8 + 2  # input 1, output 2: word (1, 1), row 0
    inputs = [
        Segment.scalars([11, 12, probe, -(2**30)]),
        Segment(Memory.MASTER, masters),
        Segment(Memory.GRADIENT, gradients),
    ]
    expects = [Expect(Memory.WEIGHT, 6), Expect(Memory.WEIGHT, 6), Expect(Memory.GRADIENT, 6)]
    device = machine(*program)
    result = device.run(0, inputs, expects)
    xi = tensor_probes(distribution, 11, 12, probe, block=5, inner=3, tiles=2, rows=2)
    assert distribution is not Distribution.COORDINATE or np.argwhere(xi).tolist() == [[4, 0]]
    moved, clips = perturb(masters, xi, -(2**30), 18)
    rounded, more = perturb(masters, 0, 0, 18)
    np.testing.assert_array_equal(result.outputs[0], moved)
    np.testing.assert_array_equal(result.outputs[1], rounded)
    np.testing.assert_array_equal(result.outputs[2], accumulate(gradients, xi, -(2**30)))
    assert result.counters["saturations_weight"] == clips + 2 * more
    # Other masters, other weights: nothing old is kept.
    result = device.run(0, [inputs[0], Segment(Memory.MASTER, masters[::-1]), inputs[2]], expects)
    np.testing.assert_array_equal(result.outputs[0], perturb(masters[::-1], xi, -(2**30), 18)[0])


def test_unperturbed_weights_follow_an_update():
    masters = np.arange(-6, 6).reshape(6, 2) << 24
    plain = I("PERTURB", **_probe() | {"distribution": Distribution.NONE}, amplitude=0)
    fields = {"gradient_shift": 0, "decay1": 0, "decay2": 0, "rate": 3, "rate_shift": 0}
    program = [
        I("LOAD", memory=Memory.MASTER, base=4, count=6),
        I("LOAD", memory=Memory.GRADIENT, base=4, count=6),
        plain,
        set_(3, 1 << 14),
        I("UPDATE", base=4, count=6, rule=Rule.SGD, **fields),
        plain,
        I("STORE", memory=Memory.WEIGHT, base=4, count=6),
    ]
    inputs = [Segment(Memory.MASTER, masters), Segment(Memory.GRADIENT, np.ones((6, 2), np.int64))]
    result = machine(*program).run(0, inputs, [Expect(Memory.WEIGHT, 6)])
    np.testing.assert_array_equal(result.outputs[0], (masters >> 14) - 1)


def test_distributions_that_are_not_there_are_refused():
    with pytest.raises(DeviceError, match=r"\(ACCUMULATE\): ACCUMULATE: there is no distribution 5"):
        machine(I("ACCUMULATE", **_probe(), distribution=5, difference=0)).run(0)
    narrow = GoldenMachine(dataclasses.replace(CONFIG, wide_probes=0))
    for distribution in Distribution:
        narrow.write_program([*I("PERTURB", **_probe(), distribution=distribution, amplitude=0).encode(), 0])
        if distribution.bits > 1:
            message = f"PERTURB: an engine without wide_probes has no {distribution.name} probes"
            with pytest.raises(DeviceError, match=message):
                narrow.run(0)
        else:
            narrow.run(0)


def test_rules_that_are_not_there_are_refused():
    fields = {"gradient_shift": 0, "decay1": 0, "decay2": 0, "rate": 3, "rate_shift": 0}
    with pytest.raises(DeviceError, match=r"\(UPDATE\): UPDATE: there is no rule 5"):
        machine(I("UPDATE", base=0, count=1, rule=5, **fields)).run(0)


def test_update():
    rng = np.random.default_rng(2)
    contents = {kind: rng.integers(0 if kind is Memory.MOMENT2 else -(2**31), 2**31, (5, 2)) for kind in STATE}
    contents[Memory.GRADIENT] <<= 12
    values, slopes = scalar_tables(6)
    fields = {"gradient_shift": 25, "decay1": 1, "decay2": 7, "rate_shift": 2}
    program = [
        I("LOAD", memory=Memory.SCALAR_TABLE, base=0, count=192),
        *(I("LOAD", memory=kind, base=7, count=5) for kind in STATE),
        set_(3, 2**18 + 77777),
        I("UPDATE", base=7, count=5, rule=Rule.ADAM, rate=3, **fields),
        *(I("STORE", memory=kind, base=7, count=5) for kind in STATE),
    ]
    inputs = [Segment(Memory.SCALAR_TABLE, np.stack([values, slopes], axis=1))]
    inputs += [Segment(kind, content) for kind, content in contents.items()]
    result = machine(*program).run(0, inputs, [Expect(kind, 5) for kind in STATE])
    expected = update(Rule.ADAM, *contents.values(), rate=77777, values=values, slopes=slopes, **fields)
    np.testing.assert_array_equal(result.outputs[0], expected.master)
    assert not result.outputs[1].any()
    np.testing.assert_array_equal(result.outputs[2], expected.moment1)
    np.testing.assert_array_equal(result.outputs[3], expected.moment2)
    assert result.counters["saturations_update"] == expected.clips > 0


def _loss(kind=LossKind.SQUARED_ERROR, **changes):
    fields = {
        "kind": kind,
        "z_base": 2,
        "z_step": 3,
        "count": 4,
        "label": 40,
        "t_base": 30,
        "t_step": -1,
        "z_frac": 10,
        "loss_frac": 8,
        "mode": 0,
        "d_base": 0,
        "d_step": 0,
        "target": 9,
    }
    return I("LOSS", **fields | changes)


def test_loss():
    activation = np.random.default_rng(3).integers(-3000, 3000, (64, 3))
    activation[40] = [0, -1, 3]
    values, slopes = scalar_tables(6)
    program = [
        I("LOAD", memory=Memory.SCALAR_TABLE, base=0, count=192),
        I("LOAD", memory=Memory.ACTIVATION, base=0, count=64),
        _loss(),
        emit(9),
        _loss(LossKind.CROSS_ENTROPY),
        emit(9),
        _loss(z_frac=0, loss_frac=16),
        emit(9),
    ]
    inputs = [Segment(Memory.SCALAR_TABLE, np.stack([values, slopes], axis=1)), Segment(Memory.ACTIVATION, activation)]
    result = machine(*program).run(0, inputs, [Expect(None, 3)])
    z, t = activation[[2, 5, 8, 11]], activation[[30, 29, 28, 27]]
    squares = loss(LossKind.SQUARED_ERROR, z, activation[40], t, z_frac=10, loss_frac=8)
    entropy = loss(LossKind.CROSS_ENTROPY, z, activation[40], z_frac=10, loss_frac=8, values=values, slopes=slopes)
    assert result.outputs[0][:, 0].tolist() == [squares.losses.sum(), entropy.losses.sum(), 2 * (2**24 - 1)]
    assert result.counters["saturations_loss"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "LOSS: count must be at least 1"),
        ({"z_base": 60}, "LOSS: word 69 is beyond the 64 of ACTIVATION"),
        ({"t_base": 1}, "LOSS: word 65535 is beyond the 64 of ACTIVATION"),
        ({"label": 64}, "LOSS: word 64 is beyond the 64 of ACTIVATION"),
        ({"z_frac": 20}, "LOSS: z_frac must be from 0 to 16, not 20"),
    ],
)
def test_losses_out_of_range_are_refused(changes, message):
    with pytest.raises(DeviceError, match=message):
        machine(_loss(**changes)).run(0)


def test_tensors_out_of_range_are_refused():
    with pytest.raises(DeviceError, match=r"\(PERTURB\): PERTURB: words 4 to 33 are beyond the 32 of MASTER"):
        machine(I("PERTURB", **_probe() | {"inner": 15}, distribution=0, amplitude=0)).run(0)
    fields = {"rule": 0, "gradient_shift": 0, "decay1": 0, "decay2": 0, "rate": 0, "rate_shift": 0}
    with pytest.raises(DeviceError, match=r"\(UPDATE\): UPDATE: words 30 to 34 are beyond the 32 of MASTER"):
        machine(I("UPDATE", base=30, count=5, **fields)).run(0)


def _contract(**fields):
    """A dense layer of 8 inputs (from word 0) and 4 outputs (to word 32), weights from word 0."""
    values = {f"n_{name}": 1 for name in LOOPS} | {f"{op}_{name}": 0 for op in "wx" for name in LOOPS}
    values |= {f"{op}_{name}": 0 for op in "yb" for name in OUTER_LOOPS}
    values |= {"n_k0": 8, "n_o0": 2, "w_k0": 1, "w_o0": 1, "x_k0": 1, "x_o0": -7, "y_o0": 2, "y_row": 1, "last_rows": 2}
    values |= {"w_base": 0, "x_base": 0, "y_base": 32, "b_base": 0, "bias": 0, "one": 0, "idle": 0, "shift": 16}
    values |= {f"{name}_index": 0 for name in "wxyb"}
    return I("CONTRACT", **values | {"activation": 0, "table": 0, "operand": 0} | fields)


def _layer_inputs(seed):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-(2**17), 2**17, (8, 3)), rng.integers(-(2**17), 2**17, (16, 2))
    loads = [I("LOAD", memory=Memory.ACTIVATION, base=0, count=8), I("LOAD", memory=Memory.WEIGHT, base=0, count=16)]
    return loads, [Segment(Memory.ACTIVATION, x), Segment(Memory.WEIGHT, w)], x, w


def _reference(instruction, x, w, tables=()):
    activation, weight = np.zeros((64, 3), np.int64), np.zeros((32, 2), np.int64)
    activation[: len(x)], weight[: len(w)] = x, w
    result, clips = reference_contract(CONFIG, instruction, activation, weight, tables)
    return result[32:36], clips


def test_contract_uses_the_table_that_was_loaded():
    loads, inputs, x, w = _layer_inputs(4)
    sine = sine_table(FixedPoint(18, 15), FixedPoint(18, 16), 6)
    table = Segment(Memory.ACTIVATION_TABLE, np.stack(sine, axis=1))
    instruction = _contract(activation=2, table=1)
    program = [*loads, I("LOAD", memory=Memory.ACTIVATION_TABLE, base=64, count=64), instruction]
    store = I("STORE", memory=Memory.ACTIVATION, base=32, count=4)
    result = machine(*program, store).run(0, [*inputs, table], [Expect(Memory.ACTIVATION, 4)])
    zero = (np.zeros(64, np.int64),) * 2
    expected, clips = _reference(instruction, x, w, [zero, sine])
    np.testing.assert_array_equal(result.outputs[0], expected)
    assert result.counters["saturations_requantise"] == clips > 0


def test_contract_sees_weights_as_they_are_now():
    loads, inputs, x, w = _layer_inputs(5)
    store = I("STORE", memory=Memory.ACTIVATION, base=32, count=4)
    device = machine(*loads, _contract(), store)
    for weights in (w, w[::-1], w):
        result = device.run(0, [inputs[0], Segment(Memory.WEIGHT, weights)], [Expect(Memory.ACTIVATION, 4)])
        np.testing.assert_array_equal(result.outputs[0], _reference(_contract(), x, weights)[0])


def test_faults_of_contract_name_the_address():
    with pytest.raises(
        DeviceError, match=r"fault at word 2 \(CONTRACT\): CONTRACT: shift must be from 0 to 47, not 63"
    ):
        machine(set_(1, 1), _contract(shift=63)).run(0)


def test_the_monitor_records_ranges_by_address():
    loads, inputs, x, w = _layer_inputs(6)
    device = machine(loop(2), *loads, _contract(), END, monitor=True)
    result = device.run(0, [*inputs, *inputs])
    (address,) = device.ranges
    seen = device.ranges[address]
    exact = (w.reshape(2, 8, 2).transpose(0, 2, 1).reshape(4, 8) @ x + (1 << 15)) >> 16
    assert (seen.lowest, seen.highest) == (exact.min(), exact.max())
    assert (
        seen.clips
        == result.counters["saturations_requantise"]
        == 2 * np.count_nonzero((exact < -(2**17)) | (exact >= 2**17))
    )
    assert seen.executions == 2
    assert not machine(*loads, _contract()).ranges


def test_counters_are_charged_to_phases():
    loads, inputs, _, _ = _layer_inputs(7)
    program = [*loads, loop(3), _contract(last_rows=1), END, emit(0)]
    result = machine(*program).run(0, inputs, [Expect(None, 1)])
    executed = [*loads, loop(3), *[program[3], END] * 3, emit(0), I("HALT")]
    expected = {counter.name: 0 for counter in COUNTERS}
    for instruction in executed:
        expected["cycles_fetch"] += fetch_cycles(instruction.format)
        expected[f"cycles_{instruction.format.phase}"] += execution_cycles(CONFIG, instruction)
    expected["row_steps"] = 3 * 3 * 8  # three executions, three rows that count, eight terms
    saturations = {name for name in expected if name.startswith("saturations")}
    assert {name: value for name, value in result.counters.items() if name not in saturations} == {
        name: value for name, value in expected.items() if name not in saturations
    }
    assert result.counters["cycles_wait"] == 0
    assert set(expected) == {f"cycles_{phase}" for phase in PHASES} | {"row_steps"} | saturations


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_programs_cost_what_the_cycle_model_says(data):
    config = EngineConfig.from_dict(
        CONFIG.to_dict() | {"program_depth": 4096, "activation_depth": 128, "parameter_depth": 64}
    )
    program = data.draw(programs(config))
    scalars = [int(value) for part in program.inputs if part.kind is None for value in part.values[:, 0]]
    device = GoldenMachine(config)
    device.write_program(program.words)
    counters = device.run(0, program.inputs, program.expects).counters
    predicted = predict(config, program.words, 0, scalars)
    assert predicted == {name: counters[name] for name in predicted}


def test_a_closed_machine_still_runs():
    device = machine(emit(0))
    device.close()
    assert device.run(0, [], [Expect(None, 1)]).outputs[0].tolist() == [[0]]


def test_index_registers_move_a_contraction():
    loads, inputs, x, w = _layer_inputs(8)
    nest = _contract(n_k0=4, x_o0=-3, w_o0=1, w_index=5, x_index=6, y_index=7)
    moves = [set_(5, 4, source=5), set_(6, 1, source=6), set_(7, 4, source=7)]
    store = I("STORE", memory=Memory.ACTIVATION, base=32, count=12)
    device = machine(*loads, set_(5, 0), set_(6, 0), set_(7, 0), loop(3), nest, *moves, END, store)
    result = device.run(0, inputs, [Expect(Memory.ACTIVATION, 12)])
    for turn in range(3):
        plain = _contract(n_k0=4, x_o0=-3, w_o0=1, w_base=4 * turn, x_base=turn)
        np.testing.assert_array_equal(result.outputs[0][4 * turn : 4 * turn + 4], _reference(plain, x, w)[0])
    with pytest.raises(DeviceError, match=r"\(CONTRACT\): CONTRACT: input address 65535 to 2 is beyond"):
        machine(set_(6, -1), nest).run(0)


def test_numbers_without_a_meaning_are_faults():
    with pytest.raises(DeviceError, match=r"fault at word 0 \(CONTRACT\): 3 is not a valid Activation"):
        machine(_contract(activation=3)).run(0)
