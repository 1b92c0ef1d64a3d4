"""The float64 reference: a network's outputs, without number formats, memories or an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .models import RNN, Conv2d, Dense, Layer, Model, Parameters

__all__ = [
    "Contraction",
    "activate",
    "blocks",
    "contract",
    "contract_layer",
    "convolve",
    "dense_matrix",
    "forward",
    "recur",
    "run_layer",
    "sample_losses",
]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""
BLOCK = 512
"""Samples of one block."""


class Contraction(Protocol):
    """One of the contractions that make up a layer: ``[P, K, S] -> [P, M, S]`` by a matrix.

    A state is seen as an array of P x K x S values for each sample; its middle axis is multiplied
    by a matrix of K inputs and M outputs, which is made of one of the layer's tensors.
    """

    @property
    def tensor(self) -> str:
        """Name of the tensor that the matrix is made of."""

    @property
    def K(self) -> int:  # noqa: N802
        """Number of inputs of the matrix."""

    @property
    def M(self) -> int:  # noqa: N802
        """Number of outputs of the matrix."""

    @property
    def P(self) -> int:  # noqa: N802
        """Number of positions in front of the contracted axis."""

    @property
    def S(self) -> int:  # noqa: N802
        """Number of positions behind the contracted axis."""

    @property
    def axes(self) -> tuple[int, ...]:
        """Order of the tensor's axes that makes it the matrix, inputs before outputs."""


def activate(activation: str, values: Array) -> Array:
    """Applies the activation function of a given name in :data:`dither.nn.models.ACTIVATIONS`."""
    match activation:
        case "relu":
            return np.maximum(values, 0.0)
        case "sine":
            return np.sin(values)
        case "tanh":
            return np.tanh(values)
        case _:
            return values


def convolve(layer: Conv2d, weight: ArrayLike, inputs: Array) -> Array:
    """Computes a convolution without its bias and activation function.

    :param weight: shape (channels, kernel rows, kernel columns, output channels).
    :param inputs: shape (samples, inputs of the layer).
    :returns: shape (samples, outputs of the layer).
    """
    images = inputs.reshape(len(inputs), *layer.inputs)
    sides = [(0, 0), (0, 0), *((padding, padding) for padding in layer.paddings)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, sides), layer.kernels, axis=(2, 3))
    rows, columns = layer.strides
    found = np.tensordot(windows[:, :, ::rows, ::columns], np.asarray(weight, np.float64), axes=((1, 4, 5), (0, 1, 2)))
    return np.ascontiguousarray(np.moveaxis(found, 3, 1)).reshape(len(inputs), -1)


def recur(layer: RNN, weight: Array, bias: Array, inputs: Array) -> Array:
    """Computes a recurrent layer's sums in all time steps, before the activation function.

    :param weight: shape (outputs + inputs, outputs).
    :param inputs: shape (samples, steps * inputs).
    :returns: shape (samples, steps * outputs).
    """
    hidden = np.zeros((len(inputs), layer.outputs))
    sums = []
    for row in np.split(inputs, layer.steps, axis=1):
        sums.append(np.concatenate((hidden, row), axis=1) @ weight + bias)
        hidden = activate(layer.activation, sums[-1])
    return np.concatenate(sums, axis=1)


def dense_matrix(position: int, layer: Layer, parameters: Parameters) -> Array:
    """Returns a layer's whole matrix, shape (inputs, outputs).

    Of a tensor train it is the product of its cores, which is meant for small layers.

    :raises ValueError: for recurrent layers, which have none.
    """
    if isinstance(layer, Dense):
        return np.asarray(parameters[f"{position}.weight"], dtype=np.float64)
    if isinstance(layer, Conv2d):
        return convolve(layer, parameters[f"{position}.weight"], np.eye(layer.input_size))
    if isinstance(layer, RNN):
        raise ValueError("a recurrent layer is no matrix")
    matrix = np.ones((1, 1, 1))
    for name in layer.weight_shapes():
        core = np.asarray(parameters[f"{position}.{name}"], dtype=np.float64)
        rows, columns = matrix.shape[0] * core.shape[1], matrix.shape[1] * core.shape[2]
        matrix = np.einsum("NMr,rnmq->NnMmq", matrix, core).reshape(rows, columns, core.shape[3])
    return matrix[:, :, 0]


def forward(model: Model, parameters: Parameters, inputs: ArrayLike) -> Array:
    """Returns the network's outputs; tensor trains are multiplied out to whole matrices.

    :param inputs: shape (samples, inputs).
    :returns: shape (samples, outputs).
    """
    state = np.asarray(inputs, dtype=np.float64)
    for position, layer in enumerate(model.layers):
        if isinstance(layer, (Conv2d, RNN)):
            _, state = run_layer(position, layer, (), parameters, state)
            continue
        state = state @ dense_matrix(position, layer, parameters)
        if layer.bias:
            state = state + parameters[f"{position}.bias"]
        state = activate(layer.activation, state)
    return state


def sample_losses(model: Model, outputs: ArrayLike, targets: ArrayLike) -> Array:
    """Returns the loss of every sample.

    :param outputs: shape (samples, outputs).
    :param targets: for cross entropy, classes of shape (samples,); for squared error, values of the
        outputs' shape.
    :returns: shape (samples,): ``ln sum exp z - z_label``, or ``sum (z - t)**2``.
    """
    z = np.asarray(outputs, dtype=np.float64)
    if model.loss == "squared_error":
        return np.asarray(((z - np.asarray(targets, dtype=np.float64).reshape(z.shape)) ** 2).sum(axis=1))
    top = z.max(axis=1)
    labels = np.asarray(targets, dtype=np.int64)
    return np.asarray(np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(len(z)), labels])


def contract(step: Contraction, values: ArrayLike, state: Array) -> Array:
    """Applies one contraction to the states of some samples.

    :param values: the contraction's tensor.
    :param state: shape (samples, P*K*S).
    :returns: shape (samples, P*M*S).
    """
    matrix = np.transpose(np.asarray(values, dtype=np.float64), step.axes).reshape(step.K, step.M)
    blocks = state.reshape(len(state), step.P, step.K, step.S)
    return np.ascontiguousarray(np.moveaxis(np.tensordot(blocks, matrix, axes=(2, 0)), 3, 2)).reshape(len(state), -1)


def contract_layer(
    position: int, layer: Layer, steps: Sequence[Contraction], parameters: Parameters, inputs: Array
) -> list[Array]:
    """Returns every intermediate state of one layer, for a given order of contractions.

    :param position: number of the layer, from 0.
    :param steps: contractions of a tensor train or a plain matrix, in their order; convolutions and
        recurrent layers need none.
    :param inputs: shape (samples, inputs of the layer).
    :returns: the state behind each contraction, shape (samples, values); the last one with the
        bias, without the activation. A recurrent layer has one state: the sums of all its time
        steps.
    """
    if isinstance(layer, RNN):
        bias = parameters[f"{position}.bias"] if layer.bias else np.zeros(layer.outputs)
        return [recur(layer, parameters[f"{position}.weight"], bias, inputs)]
    if isinstance(layer, Conv2d):
        sums = convolve(layer, parameters[f"{position}.weight"], inputs)
        if layer.bias:
            sums = sums + np.repeat(np.asarray(parameters[f"{position}.bias"]), sums.shape[1] // layer.channels)
        return [sums]
    states = []
    state = inputs
    for step in steps:
        state = contract(step, parameters[step.tensor], state)
        states.append(state)
    if layer.bias:
        states[-1] = states[-1] + parameters[f"{position}.bias"]
    return states


def blocks(samples: Array, rows: int = BLOCK) -> list[Array]:
    """Returns samples in blocks small enough that a network's states stay in the cache.

    :param rows: rows of a block, at least one.
    """
    return [samples[first : first + max(1, rows)] for first in range(0, len(samples), max(1, rows))]


def run_layer(
    position: int, layer: Layer, steps: Sequence[Contraction], parameters: Parameters, inputs: Array
) -> tuple[list[Array], Array]:
    """Returns every intermediate state of one layer, as :func:`contract_layer`, and its outputs."""
    states = contract_layer(position, layer, steps, parameters, inputs)
    return states, activate(layer.activation, states[-1][:, -layer.output_size :])
