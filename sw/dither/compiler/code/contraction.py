"""Contraction steps as loop nests: where weights, inputs and outputs stand."""

from __future__ import annotations

from ...nn.models import RNN, Conv2d
from ..layout.memory import LayerBuffers
from ..layout.tensors import Tensor
from ..plan.planner import LayerPlan
from .nests import Access, Nest
from .windows import recurrent_bias, recurrent_nest, window_bias, window_nests

__all__ = ["bias_nest", "step_nests"]


def step_nests(plan: LayerPlan, number: int, chunk: int, buffers: LayerBuffers, weights: Tensor) -> tuple[Nest, ...]:
    """Step ``number`` of a layer in chunk ``chunk``: one nest, or several for a convolution with
    padding.
    """
    match plan.layer:
        case Conv2d():
            return window_nests(plan.layer, buffers, weights)
        case RNN():
            return (recurrent_nest(plan.layer, buffers, weights),)
        case _:
            return (_step_nest(plan, number, chunk, buffers, weights),)


def _step_nest(plan: LayerPlan, number: int, chunk: int, buffers: LayerBuffers, weights: Tensor) -> Nest:
    step, R = plan.steps[number], weights.rows
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

    return Nest(
        step.tensor,
        inner=(step.K,),
        outer=(tiles, groups, step.S, P),
        w=Access(weights.base + column // R * step.K, (1, 0, 0, step.K, group_words)),
        x=Access(source.base, (step.S, 0, 0, 0, 0, 1, step.K * step.S)),
        y=Access(target, (R * step.S, group_rows * step.S, 1, M * step.S), row=step.S),
        last_rows=group_rows - (tiles - 1) * R,
    )


def bias_nest(plan: LayerPlan, chunk: int, buffers: LayerBuffers, bias: Tensor, one: int) -> Nest:
    """A layer's bias as a contraction of one constant input, onto the outputs of the layer's last
    step.

    :param one: activation word of the constant.
    """
    match plan.layer:
        case Conv2d():
            return window_bias(plan.layer, buffers, bias, one)
        case RNN():
            return recurrent_bias(plan.layer, buffers, bias, one)
    step, R = plan.steps[-1], bias.rows
    P = step.P // buffers.chunks
    tiles = -(-step.M // R)
    return Nest(
        bias.name,
        inner=(),
        outer=(tiles, 1, step.S, P),
        w=Access(bias.base + chunk * P * step.S, (0, 0, 0, bias.inner, 0, 1, step.S)),
        x=Access(one),
        y=Access(buffers.target.base + chunk * P * step.M * step.S, (R * step.S, 0, 1, step.M * step.S), row=step.S),
        last_rows=step.M - (tiles - 1) * R,
    )
