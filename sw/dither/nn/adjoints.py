"""Local learning in float64: error signals at layers' outputs, and tensors' gradients from them.

This is what the programs of :mod:`dither.compiler.gradients.signals` and
:mod:`dither.compiler.gradients.backward` compute, but without number formats; it serves calibration
and tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .models import Model, Parameters
from .reference import Contraction, dense_matrix

__all__ = ["adjoint", "adjoints", "class_code", "derivative", "output_errors", "propagated", "tensor_gradient"]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""


def output_errors(model: Model, outputs: Array, targets: ArrayLike) -> Array:
    """Returns the derivatives of every sample's loss by the outputs, shape (samples, outputs).

    Softmax minus one-hot for cross entropy; ``z - t`` (half the derivative) for squared errors.

    :param outputs: the network's outputs, shape (samples, outputs).
    :param targets: classes of shape (samples,) or, for squared errors, values of the outputs'
        shape.
    """
    if model.loss == "squared_error":
        return np.asarray(outputs - np.asarray(targets, dtype=np.float64).reshape(outputs.shape))
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    errors = shifted / shifted.sum(axis=1, keepdims=True)
    errors[np.arange(len(errors)), np.asarray(targets, dtype=np.int64)] -= 1
    return np.asarray(errors)


def class_code(classes: int, labels: ArrayLike) -> Array:
    """Returns the code of each sample's class, ``1/C - onehot``, shape (samples, classes).

    Target projection projects this code to a layer's outputs.
    """
    return 1 / classes - np.eye(classes)[np.asarray(labels, dtype=np.int64)]


def derivative(activation: str, outputs: Array) -> Array:
    """Returns an activation function's derivative, computed from the function's value.

    :param outputs: values of the activation function, any shape.
    :raises ValueError: for ``sine``, whose value does not determine the derivative.
    """
    match activation:
        case "none":
            return np.ones_like(outputs)
        case "relu":
            return (outputs > 0).astype(np.float64)
        case "tanh":
            return 1 - outputs**2
    raise ValueError(f"the derivative of {activation} cannot be computed from its value")


def propagated(model: Model, parameters: Parameters, outputs: Sequence[Array], errors: Array, position: int) -> Array:
    """Carries output errors back to a layer's outputs through the true matrices.

    That is the signal which back-propagation has there.

    :param outputs: every layer's outputs, behind the activation function.
    :param errors: derivatives by the network's outputs, as from :func:`output_errors`.
    :param position: number of the layer, from 0.
    :returns: shape (samples, outputs of layer ``position``).
    """
    signal = errors
    for number in reversed(range(position + 1, len(model.layers))):
        layer = model.layers[number]
        signal = (signal * derivative(layer.activation, outputs[number])) @ dense_matrix(number, layer, parameters).T
    return signal


def _matrix(step: Contraction, values: ArrayLike) -> Array:
    return np.transpose(np.asarray(values, dtype=np.float64), step.axes).reshape(step.K, step.M)


def adjoint(step: Contraction, values: ArrayLike, delta: Array) -> Array:
    """Returns the derivatives by a contraction's inputs, from those by its outputs.

    :param values: the contraction's tensor.
    :param delta: derivatives by the outputs, shape (samples, P*M*S).
    :returns: shape (samples, P*K*S).
    """
    blocks = delta.reshape(len(delta), step.P, step.M, step.S)
    found = np.moveaxis(np.tensordot(blocks, _matrix(step, values), axes=(2, 1)), 3, 2)
    return np.ascontiguousarray(found).reshape(len(delta), -1)


def adjoints(steps: Sequence[Contraction], parameters: Parameters, delta: Array) -> list[Array]:
    """Returns the derivatives by the outputs of each of a layer's contractions.

    :param steps: the layer's contractions, in their order.
    :param delta: derivatives by the last contraction's outputs, shape (samples, P*M*S).
    :returns: one array for each contraction, in their order.
    """
    found = [delta]
    for step in reversed(steps[1:]):
        found.append(adjoint(step, parameters[step.tensor], found[-1]))
    return found[::-1]


def tensor_gradient(step: Contraction, shape: Sequence[int], delta: Array, inputs: Array) -> Array:
    """Returns the gradient of a contraction's tensor, summed over samples, in the tensor's shape.

    :param delta: derivatives by the outputs, shape (samples, P*M*S).
    :param inputs: shape (samples, P*K*S).
    """
    left = delta.reshape(len(delta), step.P, step.M, step.S)
    right = inputs.reshape(len(inputs), step.P, step.K, step.S)
    matrix = np.einsum("npms,npks->km", left, right, optimize=True)
    ordered = matrix.reshape([shape[axis] for axis in step.axes])
    return np.transpose(ordered, np.argsort(step.axes))
