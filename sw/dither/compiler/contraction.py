"""One contraction step as CONTRACT instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..engine import EngineConfig
from ..isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction
from ..timing import drain_cycles_per_row
from .errors import CompileError
from .memory import LayerBuffers
from .planner import LayerPlan
from .tensors import Tensor

__all__ = ["Drain", "contract_step"]


@dataclass(frozen=True, slots=True)
class Drain:
    """What happens to a step's accumulators."""

    shift: int
    activation: Activation = Activation.NONE
    table: int = 0


def _signed(value: int) -> int:
    """Modulo 2**16, as addresses are."""
    return ((value + (1 << 15)) & 0xFFFF) - (1 << 15)


def _advances(counts: Sequence[int], strides: Sequence[int]) -> list[int]:
    """From strides to steps that include the way back of all loops within."""
    steps, back = [], 0
    for count, stride in zip(counts, strides, strict=True):
        steps.append(_signed(stride - back) if count > 1 else 0)
        back += (count - 1) * stride
    return steps


def contract_step(
    engine: EngineConfig,
    plan: LayerPlan,
    number: int,
    chunk: int,
    buffers: LayerBuffers,
    weights: Tensor,
    bias: Tensor | None,
    one: int,
    drain: Drain,
) -> Instruction:
    """The instruction for step ``number`` of a layer in chunk ``chunk``.

    :param bias: added by this step, if given.
    :param one: activation word of the constant that the bias is multiplied by.
    :raises CompileError: if a tile cannot be made to last as long as its drain.
    """
    step, R = plan.steps[number], engine.rows
    first, last = number == 0, number == len(plan.steps) - 1
    chunks, P, M = buffers.chunks, step.P, step.M
    groups, group_rows, group_words = 1, step.M, 0
    column = 0
    if first and step.groups > 1:
        M //= chunks
        groups, group_rows, group_words = 1, M, 0
        column = chunk * M
        if step.padded:
            groups, group_rows = step.groups // chunks, step.group_rows
            group_words = step.group_pitch // R * step.K
            column = chunk * groups * step.group_pitch
    elif chunks > 1:
        P //= chunks
    tiles = -(-group_rows // R)
    source = buffers.source if first else buffers.intermediates[number - 1]
    target = buffers.target.base + chunk * P * M * step.S if last else buffers.intermediates[number].base

    counts = (step.K, 1, 1, tiles, groups, step.S, P)
    w = (1, 0, 0, step.K, group_words, 0, 0)
    x = (step.S, 0, 0, 0, 0, 1, step.K * step.S)
    y = (R * step.S, group_rows * step.S, 1, M * step.S)
    outer = counts[len(REDUCTION_LOOPS) :]
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    fields |= {f"w_{loop}": value for loop, value in zip(LOOPS, _advances(counts, w), strict=True)}
    fields |= {f"x_{loop}": value for loop, value in zip(LOOPS, _advances(counts, x), strict=True)}
    fields |= {f"y_{loop}": value for loop, value in zip(OUTER_LOOPS, _advances(outer, y), strict=True)}
    b = (0, 0, 0, 0) if bias is None else (bias.inner, 0, 1, step.S)
    fields |= {f"b_{loop}": value for loop, value in zip(OUTER_LOOPS, _advances(outer, b), strict=True)}
    idle = max(0, R * drain_cycles_per_row(engine, drain.activation) - step.K - (bias is not None))
    if idle > 255:
        raise CompileError(
            f"{step.tensor}: {idle} idle cycles a tile needed, 255 available; use smaller lanes_per_table or fewer rows"
        )
    return Instruction.make(
        "CONTRACT",
        **fields,
        w_base=weights.base + column // R * step.K,
        x_base=source.base,
        y_base=target,
        y_row=_signed(step.S),
        last_rows=group_rows - (tiles - 1) * R,
        bias=bias is not None,
        b_base=0 if bias is None else bias.base + chunk * P * step.S,
        one=one,
        idle=idle,
        shift=drain.shift,
        activation=drain.activation,
        table=drain.table,
    )
