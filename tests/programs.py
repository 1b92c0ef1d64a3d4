"""Random programs for differential tests: every instruction, nested loops and calls, all memories
in and out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.isa import (
    GRADIENT_BITS,
    LOOPS,
    MASTER_BITS,
    OUTER_LOOPS,
    REDUCTION_LOOPS,
    Activation,
    Distribution,
    Instruction,
    LossKind,
    LossMode,
    Memory,
    Operand,
    Rule,
)
from dither.arch.streams import Expect, Segment
from dither.arch.tables import scalar_tables
from dither.arch.timing import CORRELATE_DISTANCE, cycles_per_term, drain_cycles_per_row

from .draws import Draw, Seeded, Shrinking

STATE = (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)
REGISTERS = range(1, 16)
ANY_REGISTER = (0, *REGISTERS)
I = Instruction.make  # noqa: E741
differential = settings(
    max_examples=int(os.environ.get("DITHER_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
"""How differential tests draw: the same programs each time, as many as DITHER_EXAMPLES says."""


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


def _strides_within(draw: Draw, counts: list[int], span: int) -> tuple[list[int], int]:
    """Random strides, some negative, whose addresses stay within ``span``; and the base's offset in
    it.
    """
    strides, low, high = [], 0, 0
    for count in counts:
        room = (span - 1 - (high - low)) // max(count - 1, 1)
        stride = draw.integer(-min(room, 9), min(room, 9)) if count > 1 else draw.integer(-3, 3)
        reach = (count - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
        strides.append(stride)
    return strides, draw.integer(-low, span - 1 - high)


def _distinct_strides(draw: Draw, counts: list[int]) -> tuple[list[int], int]:
    """Strides of a dense array whose axes are in random order, some backwards: no address twice;
    and the first one's offset in it.
    """
    strides, step, first = [0] * len(counts), 1, 0
    for axis in draw.order(range(len(counts))):
        if counts[axis] == 1:
            strides[axis] = draw.integer(-3, 3)
        elif draw.integer(0, 3):
            strides[axis] = step
        else:
            strides[axis] = -step
            first += (counts[axis] - 1) * step
        step *= counts[axis]
    return strides, first


def _halves(draw: Draw, depth: int) -> tuple[int, int]:
    """Where a half of a memory begins that is read, and the other one: mostly the lower, and the
    upper half.
    """
    half = depth // 2
    return draw.pick([(0, half), (0, half), (0, half), (half, 0)])


def _counts(draw: Draw, number: int, product: int) -> list[int]:
    counts = []
    for _ in range(number):
        counts.append(draw.integer(1, min(product, 7)))
        product //= counts[-1]
    return counts


def _indexed(
    draw: Draw, name: str, fields: dict[str, int], bases: dict[str, int], moves: dict[str, int], repeats: int
) -> list[Instruction]:
    """A nest, executed so many times in a loop that moves its bases by index registers.

    :param bases: by operand: the first address.
    :param moves: by operand: how far it moves from time to time.
    """
    registers = draw.order(REGISTERS)
    before, after = [], []
    for number, (letter, base) in enumerate(bases.items()):
        register = registers[number]
        if moves[letter] == 0 and draw.flag():
            register = 0
        # Only the lowest 16 bits of a register count.
        start = draw.integer(-(1 << 31), (1 << 31) - 1) if register else 0
        fields |= {f"{letter}_base": (base - start) % (1 << 16), f"{letter}_index": register}
        if register:
            before.append(I("SET", target=register, source=0, value=start))
            after.append(I("SET", target=register, source=register, value=moves[letter]))
    if repeats == 1:
        return [*before, I(name, **fields)]
    return [*before, I("LOOP", register=0, count=repeats), I(name, **fields), *after, I("END")]


def contracts(draw: Draw, config: EngineConfig) -> list[Instruction]:
    """A CONTRACT from one half of the activation memory to the other."""
    half = config.activation_depth // 2
    read, written = _halves(draw, config.activation_depth)
    operand = draw.pick(Operand) if config.local_learning else Operand.WEIGHT
    rows, depth = (config.rows, config.parameter_depth) if operand is Operand.WEIGHT else (1, half)
    reduction = _counts(draw, len(REDUCTION_LOOPS), 40)
    outer = _counts(draw, len(OUTER_LOOPS), min(half // config.rows, 24))
    if operand is not Operand.WEIGHT:
        outer[0] = 1
    counts = reduction + outer
    kinds = [Activation.NONE, Activation.RELU] + [Activation.TABLE] * (config.activation_tables > 0)
    activation = draw.pick(kinds)
    bias = draw.integer(0, 1)
    drain = rows * drain_cycles_per_row(config, activation)
    tile = (int(np.prod(reduction)) + bias) * cycles_per_term(operand)
    repeats = draw.pick([1, 1, 2, 3])
    (*w, w_move), w_base = _strides_within(draw, [*counts, repeats], depth)
    (*x, x_move), x_base = _strides_within(draw, [*counts, repeats], half)
    (*b, b_move), b_base = _strides_within(draw, [*outer, repeats], depth)
    (y_row, *y), y_first = _distinct_strides(draw, [rows, *outer])
    (y_move,), y_base = _strides_within(draw, [repeats], half - rows * int(np.prod(outer)) + 1)
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    for name, loops, of, strides in (
        ("w", LOOPS, counts, w),
        ("x", LOOPS, counts, x),
        ("y", OUTER_LOOPS, outer, y),
        ("b", OUTER_LOOPS, outer, b),
    ):
        fields |= {f"{name}_{loop}": step for loop, step in zip(loops, steps_of_strides(of, strides), strict=True)}
    fields |= {
        "y_row": y_row,
        "one": read + draw.integer(0, half - 1),
        "bias": bias,
        "last_rows": draw.integer(1, rows),
        "idle": max(0, drain - tile) + draw.integer(0, 2),
        "shift": draw.integer(0, 47),
        "activation": activation,
        "table": draw.integer(0, max(config.activation_tables - 1, 0)),
        "operand": operand,
    }
    weights = 0 if operand is Operand.WEIGHT else read
    bases = {"w": weights + w_base, "x": read + x_base, "y": written + y_first + y_base, "b": weights + b_base}
    moves = {"w": w_move, "x": x_move, "y": y_move, "b": b_move}
    return _indexed(draw, "CONTRACT", fields, bases, moves, repeats)


def correlations(draw: Draw, config: EngineConfig) -> list[Instruction]:
    """A CORRELATE that visits no gradient word twice in one tile, but maybe the same ones in every
    tile.
    """
    inner = _counts(draw, len(REDUCTION_LOOPS), min(config.parameter_depth, 30))
    outer = _counts(draw, len(OUTER_LOOPS), 24)
    counts, size, rows = inner + outer, int(np.prod(inner)), config.rows
    repeats = draw.pick([1, 1, 2, 3])
    (d_row, *d, d_move), d_base = _strides_within(draw, [rows, *outer, repeats], config.activation_depth)
    (*x, x_move), x_base = _strides_within(draw, [*counts, repeats], config.activation_depth)
    still = draw.flag()
    if still:
        g, g_base = [0] * len(outer), draw.integer(0, config.parameter_depth - size)
        pause = max(0, CORRELATE_DISTANCE - rows - size)
    else:
        g, g_base = _strides_within(draw, outer, config.parameter_depth - size + 1)
        pause = max(0, CORRELATE_DISTANCE - rows - 1)
    inside, g_first = _distinct_strides(draw, inner)
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    for name, loops, of, strides in (
        ("d", OUTER_LOOPS, outer, d),
        ("x", LOOPS, counts, x),
        ("g", LOOPS, counts, [*inside, *g]),
    ):
        fields |= {f"{name}_{loop}": step for loop, step in zip(loops, steps_of_strides(of, strides), strict=True)}
    fields |= {
        "d_row": d_row,
        "last_rows": draw.integer(1, rows),
        "idle": pause + draw.pick([0, 0, 1, 2]),
    }
    bases, moves = {"d": d_base, "x": x_base, "g": g_first + g_base}, {"d": d_move, "x": x_move, "g": 0}
    return _indexed(draw, "CORRELATE", fields, bases, moves, repeats)


def losses(draw: Draw, config: EngineConfig) -> Instruction:
    """A LOSS in any mode that the engine has; what writes words reads one half of the memory and
    writes to the other.
    """
    count = draw.integer(1, 9)
    mode = draw.pick(LossMode) if config.local_learning else LossMode.SUM
    half = config.activation_depth // 2
    read, written = _halves(draw, config.activation_depth)
    span = half if mode in (LossMode.DIFFER, LossMode.ERROR) else config.activation_depth
    first = read if span == half else 0
    step, base = _strides_within(draw, [count], span)
    t_step, t_base = _strides_within(draw, [count], span)
    d_step, d_base = _strides_within(draw, [count], half)
    return I(
        "LOSS",
        kind=draw.pick(LossKind),
        z_base=first + base,
        z_step=step[0],
        count=count,
        # The first word of the memory holds labels that make sense.
        label=first + draw.pick([0, 0, 0, 1]),
        t_base=first + t_base,
        t_step=t_step[0],
        z_frac=draw.integer(0, 16),
        loss_frac=draw.integer(0, 16),
        mode=mode,
        d_base=written + d_base,
        d_step=d_step[0],
        target=draw.pick(ANY_REGISTER),
    )


def passes(draw: Draw, config: EngineConfig) -> Instruction:
    """PERTURB or ACCUMULATE."""
    inner = draw.integer(1, 12)
    tiles = draw.integer(1, max(1, config.parameter_depth // inner // 2))
    matrix = {
        "base": draw.integer(0, config.parameter_depth - inner * tiles),
        "inner": inner,
        "tiles": tiles,
        # Registers with small numbers name parameters of the first blocks.
        "block": draw.either((0, 0), (0, (1 << 20) - 1)),
        "seed": draw.pick(ANY_REGISTER),
        "step": draw.pick(ANY_REGISTER),
        "probe": draw.pick(ANY_REGISTER),
        "distribution": draw.pick([d for d in Distribution if d.bits <= 1 or config.wide_probes]),
    }
    if draw.flag():
        amplitude = draw.either((-(1 << 31), (1 << 31) - 1), (-(1 << 20), 1 << 20))
        return I("PERTURB", **matrix, amplitude=amplitude)
    return I("ACCUMULATE", **matrix, difference=draw.pick(ANY_REGISTER))


def updates(draw: Draw, config: EngineConfig) -> Instruction:
    count = draw.integer(1, config.parameter_depth)
    return I(
        "UPDATE",
        base=draw.integer(0, config.parameter_depth - count),
        count=count,
        rule=draw.pick(Rule),
        gradient_shift=draw.integer(0, 47),
        decay1=draw.integer(0, 15),
        decay2=draw.integer(0, 15),
        rate=draw.pick(ANY_REGISTER),
        rate_shift=draw.integer(0, 31),
    )


def dithers(draw: Draw, config: EngineConfig) -> Instruction:
    """A DITHER in place, or from one half of the activation memory to the other."""
    half = config.activation_depth // 2
    count = draw.integer(1, half)
    (y_step,), y_base = _strides_within(draw, [count], half)
    if y_step == 0:
        y_step, y_base = draw.pick([(1, 0), (-1, count - 1)])
    (x_step,), x_base = _strides_within(draw, [count], half)
    x_half, y_half = draw.order([0, half])
    x_base, y_base = x_half + x_base, y_half + y_base
    if draw.integer(0, 2) == 0:
        x_base, x_step = y_base, y_step
    return I(
        "DITHER",
        count=count,
        x_base=x_base,
        x_step=x_step,
        y_base=y_base,
        y_step=y_step,
        scale=draw.integer(0, config.activation_depth - 1),
        gate=draw.integer(0, 1),
        block=draw.integer(0, (1 << 20) - 1),
        seed=draw.pick(ANY_REGISTER),
        step=draw.pick(ANY_REGISTER),
        probe=draw.pick(ANY_REGISTER),
        offset=draw.pick(ANY_REGISTER),
    )


def transposes(draw: Draw, config: EngineConfig) -> Instruction:
    rows, depth = config.rows, config.parameter_depth

    def words(inner: int, columns: int) -> int:
        return inner * -(-columns // rows)

    inner = draw.integer(1, depth // 3)
    columns = draw.pick([m for m in range(1, depth) if words(inner, m) + words(m, inner) <= depth])
    source, result = words(inner, columns), words(columns, inner)
    gap = draw.integer(0, depth - source - result)
    start = draw.integer(0, depth - source - result - gap)
    base, target = (start, start + source + gap) if draw.flag() else (start + result + gap, start)
    return I("TRANSPOSE", base=base, inner=inner, columns=columns, target=target)


def scalars(draw: Draw, config: EngineConfig) -> Instruction:
    match draw.pick(["SET", "ADD", "SUBTRACT"]):
        case "SET":
            value = draw.integer(-(1 << 31), (1 << 31) - 1)
            return I("SET", target=draw.pick(ANY_REGISTER), source=draw.pick(ANY_REGISTER), value=value)
        case name:
            return I(name, target=draw.pick(ANY_REGISTER), left=draw.pick(ANY_REGISTER), right=draw.pick(ANY_REGISTER))


WORK = (contracts, contracts, losses, passes, passes, updates, scalars, scalars)
LOCAL_WORK = (correlations, correlations, dithers, transposes)
"""What only engines with ``local_learning`` do."""


def _work(draw: Draw, config: EngineConfig) -> list[Instruction]:
    made = draw.pick(WORK + LOCAL_WORK * config.local_learning)(draw, config)
    return made if isinstance(made, list) else [made]


def _body(draw: Draw, config: EngineConfig, level: int) -> tuple[list[Instruction], list[int]]:
    """Some work, and where a subroutine may be called that changes all registers."""
    body: list[Instruction] = []
    gaps = [0]
    for _ in range(draw.integer(1, 4)):
        if level < 2 and draw.integer(0, 4) == 0:
            count, less, register = draw.integer(1, 3), draw.integer(0, 5), draw.pick(REGISTERS)
            if less:
                body.append(I("SET", target=register, source=0, value=-less))
            body.append(I("LOOP", register=register if less else 0, count=count + less))
            inner, places = _body(draw, config, level + 1)
            gaps += [len(body) + place for place in places]
            body += [*inner, I("END")]
        else:
            body += _work(draw, config)
        gaps.append(len(body))
    return body, gaps


def _random_words(rng: np.random.Generator, shape: tuple[int, int], width: int, *, signed: bool = True) -> np.ndarray:
    """Integers of very different magnitudes, the extremes included."""
    bits = rng.integers(1, width + (not signed), shape)
    values = rng.integers(0, 1 << width, shape) & ((1 << bits) - 1)
    if signed:
        values = np.where(rng.integers(0, 2, shape), values, -values - 1)
    return values


@st.composite
def programs(draw: st.DrawFn, config: EngineConfig, single: bool = False, small: bool = False) -> RandomProgram:
    """Programs that Hypothesis draws, and shrinks if they fail: see :func:`program`."""
    return program(Shrinking(draw), config, single, small)


def program_of_seed(seed: str, config: EngineConfig, single: bool = False, small: bool = False) -> RandomProgram:
    """A program that a seed draws: see :func:`program`."""
    return program(Seeded(seed), config, single, small)


def program(draw: Draw, config: EngineConfig, single: bool = False, small: bool = False) -> RandomProgram:
    """A whole program: load everything, compute, store everything.

    :param single: compute with one descriptor only (and a loop around it), so that a failure names
        it.
    :param small: activations and weights are as small as a network's, or a little greater.
    """
    rng = np.random.default_rng(draw.integer(0, 1 << 32))
    inputs, load = [], []

    def add(memory: Memory, values: np.ndarray) -> None:
        load.append(I("LOAD", memory=memory, base=0, count=len(values)))
        inputs.append(Segment(memory, values))

    width = int(rng.integers(8, config.width + 1)) if small else config.width
    activations = _random_words(rng, (config.activation_depth, config.lanes), width)
    activations[0] = rng.integers(-2, 9, config.lanes)
    add(Memory.ACTIVATION, activations)
    words = (config.parameter_depth, config.rows)
    for memory in STATE:
        bits = GRADIENT_BITS if memory is Memory.GRADIENT else MASTER_BITS
        if small and memory is Memory.MASTER:
            bits -= int(rng.integers(1, 9))
        add(memory, _random_words(rng, words, bits, signed=memory is not Memory.MOMENT2))
    add(Memory.WEIGHT, _random_words(rng, words, int(rng.integers(8, 17)) if small else config.width))
    if config.activation_tables:
        entries = config.activation_tables << config.table_bits
        add(Memory.ACTIVATION_TABLE, _random_words(rng, (entries, 2), config.width))
    add(Memory.SCALAR_TABLE, np.stack(scalar_tables(config.table_bits), axis=1))
    pulls = [I("PULL", target=register) for register in REGISTERS]
    inputs.append(Segment.scalars(_random_words(rng, (len(pulls), 1), 32)[:, 0]))

    main, gaps = (_work(draw, config), [0]) if single else _body(draw, config, 0)
    subroutine = [] if single else _body(draw, config, 1)[0]
    call = draw.pick(gaps)
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
