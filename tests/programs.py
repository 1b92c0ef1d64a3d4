"""Random programs for differential tests: every instruction, nested loops and calls, all memories in and out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from dither.engine import EngineConfig
from dither.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction, LossKind, Memory, Rule
from dither.streams import Expect, Segment
from dither.tables import scalar_tables
from dither.timing import drain_cycles_per_row

STATE = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)
REGISTERS = range(1, 16)
I = Instruction.make  # noqa: E741


@dataclass(frozen=True)
class RandomProgram:
    """A program that begins at word 0, what it reads and what it sends."""

    instructions: list[Instruction]
    inputs: list[Segment]
    expects: list[Expect]

    @property
    def words(self) -> list[int]:
        return [word for instruction in self.instructions for word in instruction.encode()]


def steps_of_strides(counts: list[int], strides: list[int]) -> list[int]:
    """ISA steps (the way back included) of loops given innermost first."""
    steps, back = [], 0
    for count, stride in zip(counts, strides, strict=True):
        steps.append(stride - back)
        back += (count - 1) * stride
    return steps


def _strides_within(draw: st.DrawFn, counts: list[int], span: int) -> tuple[list[int], int]:
    """Random strides, some negative, whose addresses stay within ``span``; and the base's offset in it."""
    strides, low, high = [], 0, 0
    for count in counts:
        room = (span - 1 - (high - low)) // max(count - 1, 1)
        stride = draw(st.integers(-min(room, 9), min(room, 9))) if count > 1 else draw(st.integers(-3, 3))
        reach = (count - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
        strides.append(stride)
    return strides, draw(st.integers(-low, span - 1 - high))


def _distinct_strides(draw: st.DrawFn, counts: list[int]) -> list[int]:
    """Strides of a dense array whose axes are in random order: no address twice."""
    strides, step = [0] * len(counts), 1
    for axis in draw(st.permutations(range(len(counts)))):
        strides[axis] = step
        step *= counts[axis]
    return strides


def _counts(draw: st.DrawFn, number: int, product: int) -> list[int]:
    counts = []
    for _ in range(number):
        counts.append(draw(st.integers(1, min(product, 7))))
        product //= counts[-1]
    return counts


def contracts(draw: st.DrawFn, config: EngineConfig) -> Instruction:
    """A CONTRACT from the lower half of the activation memory to the upper half."""
    half = config.activation_depth // 2
    reduction = _counts(draw, len(REDUCTION_LOOPS), 40)
    outer = _counts(draw, len(OUTER_LOOPS), min(half // config.rows, 24))
    counts = reduction + outer
    depth = np.prod(reduction)
    kinds = [Activation.NONE, Activation.RELU] + [Activation.TABLE] * (config.activation_tables > 0)
    activation = draw(st.sampled_from(kinds))
    bias = draw(st.integers(0, 1))
    drain = config.rows * drain_cycles_per_row(config, activation)
    w, w_base = _strides_within(draw, counts, config.parameter_depth)
    x, x_base = _strides_within(draw, counts, half)
    b, b_base = _strides_within(draw, outer, config.parameter_depth)
    y_row, *y = _distinct_strides(draw, [config.rows, *outer])
    size = config.rows * int(np.prod(outer))
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    for name, loops, of, strides in (
        ("w", LOOPS, counts, w), ("x", LOOPS, counts, x), ("y", OUTER_LOOPS, outer, y), ("b", OUTER_LOOPS, outer, b),
    ):  # fmt: skip
        fields |= {f"{name}_{loop}": step for loop, step in zip(loops, steps_of_strides(of, strides), strict=True)}
    return I(
        "CONTRACT",
        **fields,
        w_base=w_base,
        x_base=x_base,
        y_base=half + draw(st.integers(0, half - size)),
        y_row=y_row,
        b_base=b_base,
        one=draw(st.integers(0, half - 1)),
        bias=bias,
        last_rows=draw(st.integers(1, config.rows)),
        idle=max(0, drain - int(depth) - bias) + draw(st.integers(0, 2)),
        shift=draw(st.integers(0, 47)),
        activation=activation,
        table=draw(st.integers(0, max(config.activation_tables - 1, 0))),
    )


def losses(draw: st.DrawFn, config: EngineConfig) -> Instruction:
    count = draw(st.integers(1, 9))
    step, base = _strides_within(draw, [count], config.activation_depth)
    t_step, t_base = _strides_within(draw, [count], config.activation_depth)
    return I(
        "LOSS",
        kind=draw(st.sampled_from(LossKind)),
        z_base=base,
        z_step=step[0],
        count=count,
        # The first word of the memory holds labels that make sense.
        label=draw(st.sampled_from([0, 0, 0, 1])),
        t_base=t_base,
        t_step=t_step[0],
        z_frac=draw(st.integers(0, 16)),
        loss_frac=draw(st.integers(0, 16)),
        target=draw(st.sampled_from(REGISTERS)),
    )


def passes(draw: st.DrawFn, config: EngineConfig) -> Instruction:
    """PERTURB or ACCUMULATE."""
    inner = draw(st.integers(1, 12))
    tiles = draw(st.integers(1, max(1, config.parameter_depth // inner // 2)))
    register = st.sampled_from([0, *REGISTERS])
    matrix = {
        "base": draw(st.integers(0, config.parameter_depth - inner * tiles)),
        "inner": inner,
        "tiles": tiles,
        "block": draw(st.integers(0, (1 << 20) - 1)),
        "seed": draw(register),
        "step": draw(register),
        "probe": draw(register),
    }
    if draw(st.booleans()):
        amplitude = draw(st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 20), 1 << 20)))
        return I("PERTURB", **matrix, random=draw(st.integers(0, 1)), amplitude=amplitude)
    return I("ACCUMULATE", **matrix, difference=draw(register))


def updates(draw: st.DrawFn, config: EngineConfig) -> Instruction:
    count = draw(st.integers(1, config.parameter_depth))
    return I(
        "UPDATE",
        base=draw(st.integers(0, config.parameter_depth - count)),
        count=count,
        rule=draw(st.sampled_from(Rule)),
        gradient_shift=draw(st.integers(0, 31)),
        decay1=draw(st.integers(0, 15)),
        decay2=draw(st.integers(0, 15)),
        rate=draw(st.sampled_from(REGISTERS)),
        rate_shift=draw(st.integers(0, 31)),
    )


def scalars(draw: st.DrawFn, config: EngineConfig) -> Instruction:
    register = st.sampled_from([0, *REGISTERS])
    match draw(st.sampled_from(["SET", "ADD", "SUBTRACT"])):
        case "SET":
            value = draw(st.integers(-(1 << 31), (1 << 31) - 1))
            return I("SET", target=draw(register), source=draw(register), value=value)
        case name:
            return I(name, target=draw(register), left=draw(register), right=draw(register))


WORK = (contracts, contracts, losses, passes, passes, updates, scalars, scalars)


def _body(draw: st.DrawFn, config: EngineConfig, level: int) -> list[Instruction]:
    body: list[Instruction] = []
    for _ in range(draw(st.integers(1, 4))):
        if level < 2 and draw(st.integers(0, 4)) == 0:
            body.append(I("LOOP", register=0, count=draw(st.integers(1, 3))))
            body += _body(draw, config, level + 1)
            body.append(I("END"))
        else:
            body.append(draw(st.sampled_from(WORK))(draw, config))
    return body


def _random_words(rng: np.random.Generator, shape: tuple[int, int], width: int, *, signed: bool = True) -> np.ndarray:
    """Integers of very different magnitudes, the extremes included."""
    bits = rng.integers(1, width + (not signed), shape)
    values = rng.integers(0, 1 << width, shape) & ((1 << bits) - 1)
    if signed:
        values = np.where(rng.integers(0, 2, shape), values, -values - 1)
    return values


@st.composite
def programs(draw: st.DrawFn, config: EngineConfig, single: bool = False) -> RandomProgram:
    """A whole program: load everything, compute, store everything.

    :param single: compute with one descriptor only, so that a failure names it.
    """
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    inputs, load = [], []

    def add(memory: Memory, values: np.ndarray) -> None:
        load.append(I("LOAD", memory=memory, base=0, count=len(values)))
        inputs.append(Segment(memory, values))

    activations = _random_words(rng, (config.activation_depth, config.lanes), config.width)
    activations[0] = rng.integers(-2, 9, config.lanes)
    add(Memory.ACTIVATION, activations)
    words = (config.parameter_depth, config.rows)
    for memory in STATE:
        add(memory, _random_words(rng, words, 32, signed=memory is not Memory.MOMENT2))
    add(Memory.WEIGHT, _random_words(rng, words, config.width))
    if config.activation_tables:
        entries = config.activation_tables << config.table_bits
        add(Memory.ACTIVATION_TABLE, _random_words(rng, (entries, 2), config.width))
    add(Memory.SCALAR_TABLE, np.stack(scalar_tables(config.table_bits), axis=1))
    pulls = [I("PULL", target=register) for register in REGISTERS]
    inputs.append(Segment.scalars(_random_words(rng, (len(pulls), 1), 32)[:, 0]))

    main = [draw(st.sampled_from(WORK))(draw, config)] if single else _body(draw, config, 0)
    subroutine = [] if single else _body(draw, config, 1)
    call = draw(st.integers(0, len(main)))
    emits = [I("EMIT", source=register) for register in (0, *REGISTERS)]
    stores = [I("STORE", memory=Memory.ACTIVATION, base=0, count=config.activation_depth)]
    stores += [I("STORE", memory=m, base=0, count=config.parameter_depth) for m in (*STATE, Memory.WEIGHT)]

    def assemble(target: int) -> list[Instruction]:
        before = [*load, *pulls, *main[:call], I("CALL", target=target), *main[call:], *emits, *stores, I("HALT")]
        return [*before, *subroutine, I("RETURN")]

    behind = len(subroutine) + 1
    target = sum(instruction.format.words for instruction in assemble(0)[:-behind])
    expects = [Expect(None, len(emits)), Expect(Memory.ACTIVATION, config.activation_depth)]
    expects += [Expect(memory, config.parameter_depth) for memory in (*STATE, Memory.WEIGHT)]
    return RandomProgram(assemble(target), inputs, expects)
