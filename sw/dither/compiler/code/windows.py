"""Convolutions and recurrences as loop nests: layers whose weights serve many positions.

A convolution reads its windows where they stand. Windows that reach into the padding leave out
those taps: windows of equal taps form one nest, with the strides of all others, so that padding
takes neither memory nor time.

A recurrent layer's memory is a row of blocks ``[h_t, x_t]``, h_0 first and the last h behind them:
each time step contracts one block and writes the beginning of the next. A sample's rows are loaded
where they belong, and h_0 stands at the end of the constants. Where one recurrent layer reads
another, their blocks are woven into each other; :mod:`dither.compiler.layout.states` says how.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...arch.config import EngineConfig
from ...arch.isa import Instruction
from ...nn.models import RNN, Conv2d
from ..layout.memory import LayerBuffers
from ..layout.tensors import Tensor
from .nests import Access, Drain, Nest
from .registers import INDEX, ZERO

__all__ = ["recurrent_bias", "recurrent_code", "recurrent_nest", "window_bias", "window_nests"]


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring windows, along one axis, that have the same taps within the input."""

    window: int
    windows: int
    tap: int
    taps: int
    source: int
    """Input position of the first window's first tap."""


def _spans(size: int, kernel: int, stride: int, padding: int, windows: int) -> list[_Span]:
    def taps(window: int) -> tuple[int, int]:
        first = stride * window - padding
        return max(0, -first), min(kernel, size - first)

    found = []
    for (low, high), members in itertools.groupby(range(windows), taps):
        first, *others = members
        found.append(_Span(first, 1 + len(others), low, high - low, stride * first - padding + low))
    return found


def _tiles(rows: int, weights: Tensor) -> tuple[int, int]:
    """Row tiles, and rows of the last one."""
    tiles = -(-rows // weights.rows)
    return tiles, rows - (tiles - 1) * weights.rows


def window_nests(layer: Conv2d, buffers: LayerBuffers, weights: Tensor) -> tuple[Nest, ...]:
    """A convolution: one nest, or several with padding; together they write every output once."""
    channels, height, width = layer.inputs
    (kernel_rows, kernel_columns), (stride_rows, stride_columns) = layer.kernels, layer.strides
    rows, columns = layer.windows
    K, R = weights.inner, weights.rows
    tiles, last_rows = _tiles(layer.channels, weights)
    axes = zip(layer.inputs[1:], layer.kernels, layer.strides, layer.paddings, layer.windows, strict=True)
    found = []
    for down, across in itertools.product(*(_spans(*axis) for axis in axes)):
        found.append(
            Nest(
                weights.name,
                inner=(across.taps, down.taps, channels),
                outer=(tiles, across.windows, down.windows),
                w=Access(
                    weights.base + down.tap * kernel_columns + across.tap,
                    (1, kernel_columns, kernel_rows * kernel_columns, K),
                ),
                x=Access(
                    buffers.source.base + down.source * width + across.source,
                    (1, width, height * width, 0, stride_columns, stride_rows * width),
                ),
                y=Access(
                    buffers.target.base + down.window * columns + across.window,
                    (R * rows * columns, 1, columns),
                    row=rows * columns,
                ),
                last_rows=last_rows,
            )
        )
    return tuple(found)


def window_bias(layer: Conv2d, buffers: LayerBuffers, bias: Tensor, one: int) -> Nest:
    """A convolution's bias as a contraction of one constant input.

    :param one: activation word of the constant.
    """
    rows, columns = layer.windows
    tiles, last_rows = _tiles(layer.channels, bias)
    return Nest(
        bias.name,
        inner=(),
        outer=(tiles, columns, rows),
        w=Access(bias.base, (0, 0, 0, 1)),
        x=Access(one),
        y=Access(buffers.target.base, (bias.rows * rows * columns, 1, columns), row=rows * columns),
        last_rows=last_rows,
    )


def recurrent_nest(layer: RNN, buffers: LayerBuffers, weights: Tensor) -> Nest:
    """All time steps at once: what a gradient is made of. No single CONTRACT may run it, see
    :func:`recurrent_code`.
    """
    first, pitch = buffers.source.base - layer.outputs, buffers.pitch
    tiles, last_rows = _tiles(layer.outputs, weights)
    return Nest(
        weights.name,
        inner=(weights.inner,),
        outer=(tiles, layer.steps),
        w=Access(weights.base, (1, 0, 0, weights.inner)),
        x=Access(first, (1, 0, 0, 0, pitch)),
        y=Access(first + pitch, (weights.rows, pitch), row=1),
        last_rows=last_rows,
    )


def recurrent_bias(layer: RNN, buffers: LayerBuffers, bias: Tensor, one: int) -> Nest:
    """A recurrent layer's bias as a contraction of one constant input, onto the outputs of all time
    steps.

    :param one: activation word of the constant.
    """
    first, pitch = buffers.source.base - layer.outputs, buffers.pitch
    tiles, last_rows = _tiles(layer.outputs, bias)
    return Nest(
        bias.name,
        inner=(),
        outer=(tiles, layer.steps),
        w=Access(bias.base, (0, 0, 0, 1)),
        x=Access(one),
        y=Access(first + pitch, (bias.rows, pitch), row=1),
        last_rows=last_rows,
    )


def recurrent_code(
    layer: RNN, engine: EngineConfig, nest: Nest, drain: Drain, bias: Access | None, one: int
) -> Sequence[Instruction]:
    """A loop over the time steps, around one contraction.

    :param nest: of all time steps.
    """
    tiles, steps = nest.outer
    pitch = nest.y.base - nest.x.base
    each = replace(
        nest,
        outer=(tiles,),
        x=replace(nest.x, strides=nest.x.strides[:4], index=INDEX),
        y=replace(nest.y, strides=nest.y.strides[:1], index=INDEX),
    )
    return (
        Instruction.make("SET", target=INDEX, source=ZERO, value=0),
        Instruction.make("LOOP", register=ZERO, count=steps),
        each.contract(engine, drain, bias, one),
        Instruction.make("SET", target=INDEX, source=INDEX, value=pitch),
        Instruction.make("END"),
    )
