"""Contraction steps as loop nests: where weights, inputs and outputs stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ...arch.isa.assembler import Assembler
from ...nn.models import RNN, Conv2d
from ..layout.memory import LayerBuffers
from ..layout.tensors import Tensor
from ..plan.planner import LayerPlan
from .nests import Access, Nest
from .registers import CHUNK_BIAS, CHUNK_OUTPUT, CHUNK_WEIGHT, ZERO
from .windows import recurrent_bias, recurrent_nest, window_bias, window_nests

__all__ = ["bias_nest", "chunk_strides", "each_chunk", "step_nests"]


@contextmanager
def each_chunk(asm: Assembler, chunks: int, strides: Mapping[int, int]) -> Iterator[None]:
    """Emits a loop over chunks around what is emitted within the ``with`` block.

    :param strides: what registers advance by from chunk to chunk; they begin at 0.
    """
    if chunks == 1:
        yield
        return
    for register in strides:
        asm.emit("SET", target=register, source=ZERO, value=0)
    with asm.loop(chunks):
        yield
        for register, stride in strides.items():
            asm.emit("SET", target=register, source=register, value=stride)


def chunk_strides(plan: LayerPlan, chunks: int, tensors: Mapping[str, Tensor]) -> dict[int, int]:
    """What a layer's chunks are apart, by the register that says so: words of the first core's
    weights, of outputs, and of biases.
    """
    first, last, R = plan.steps[0], plan.steps[-1], tensors[plan.steps[0].tensor].rows
    P = last.P // chunks
    found = {CHUNK_WEIGHT: first.columns // chunks // R * first.K, CHUNK_OUTPUT: P * last.M * last.S}
    return found | ({CHUNK_BIAS: P * last.S} if plan.bias else {})


def step_nests(plan: LayerPlan, number: int, buffers: LayerBuffers, weights: Tensor) -> tuple[Nest, ...]:
    """Step ``number`` of a layer, of the chunk at hand: one nest, or several for a convolution with
    padding.
    """
    match plan.layer:
        case Conv2d():
            return window_nests(plan.layer, buffers, weights)
        case RNN():
            return (recurrent_nest(plan.layer, buffers, weights),)
        case _:
            return (_step_nest(plan, number, buffers, weights),)


def _step_nest(plan: LayerPlan, number: int, buffers: LayerBuffers, weights: Tensor) -> Nest:
    step, R = plan.steps[number], weights.rows
    first, last = number == 0, number == len(plan.steps) - 1
    chunks, P, M = buffers.chunks, step.P, step.M
    groups, group_rows, group_words = 1, step.M, 0
    if first and step.groups > 1:
        M //= chunks
        group_rows = M
        if step.padded:
            groups, group_rows = step.groups // chunks, step.group_rows
            group_words = step.group_pitch // R * step.K
    elif chunks > 1:
        P //= chunks
    tiles = -(-group_rows // R)
    source = buffers.source if first else buffers.intermediates[number - 1]
    target = buffers.target if last else buffers.intermediates[number]
    split = chunks > 1
    inner: tuple[int, ...] = (step.K,)
    along, strides = (1, 0, 0), (step.S, 0, 0)
    if first and buffers.source_loops:
        # Of a Dense layer, so that P and S are 1.
        (values, near), (times, far) = buffers.source_loops
        inner, along, strides = (values, times), (1, values, 0), (near, far, 0)
    return Nest(
        step.tensor,
        inner=inner,
        outer=(tiles, groups, step.S, P),
        w=Access(weights.base, (*along, step.K, group_words), index=CHUNK_WEIGHT if split and first else ZERO),
        x=Access(source.base, (*strides, 0, 0, 1, step.K * step.S)),
        y=Access(
            target.base,
            (R * step.S, group_rows * step.S, 1, M * step.S),
            row=step.S,
            index=CHUNK_OUTPUT if split and last else ZERO,
        ),
        last_rows=group_rows - (tiles - 1) * R,
    )


def bias_nest(plan: LayerPlan, buffers: LayerBuffers, bias: Tensor, one: int) -> Nest:
    """A layer's bias as a contraction of one constant input, onto the outputs of the layer's last
    step, in the chunk at hand.

    :param one: activation word of the constant.
    """
    match plan.layer:
        case Conv2d():
            return window_bias(plan.layer, buffers, bias, one)
        case RNN():
            return recurrent_bias(plan.layer, buffers, bias, one)
    step, R = plan.steps[-1], bias.rows
    P, split = step.P // buffers.chunks, buffers.chunks > 1
    tiles = -(-step.M // R)
    return Nest(
        bias.name,
        inner=(),
        outer=(tiles, 1, step.S, P),
        w=Access(bias.base, (0, 0, 0, bias.inner, 0, 1, step.S), index=CHUNK_BIAS if split else ZERO),
        x=Access(one),
        y=Access(
            buffers.target.base,
            (R * step.S, 0, 1, step.M * step.S),
            row=step.S,
            index=CHUNK_OUTPUT if split else ZERO,
        ),
        last_rows=step.M - (tiles - 1) * R,
    )
