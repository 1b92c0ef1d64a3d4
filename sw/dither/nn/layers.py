"""Layers as immutable descriptions: sizes, parameter shapes, initial values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "LAYERS", "RNN", "Conv2d", "Dense", "Layer", "TensorTrain"]

ACTIVATIONS = ("none", "relu", "sine", "tanh")
BOUNDED = ("sine", "tanh")
"""Activation functions that stay within ±1."""


def _require(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)


def _sizes(name: str, values: Any) -> tuple[int, ...]:
    sizes = tuple(values) if isinstance(values, (tuple, list)) else (values,)
    good = all(type(size) is int and size >= 1 for size in sizes) and len(sizes) >= 1
    _require(good, f"{name} must be positive integers, not {values!r}")
    return sizes


def _check_activation(activation: str) -> None:
    _require(activation in ACTIVATIONS, f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")


@dataclass(frozen=True, slots=True)
class TensorTrain:
    """A matrix layer held as a train of cores (Oseledets, *Tensor-Train Decomposition*, SIAM J.
    Sci. Comput. 2011).

    Core k has shape (r_k, n_k, m_k, r_{k+1}) with k from 0 and r_0 = r_d = 1; input and output
    positions are the row-major indices (n_0, n_1, ...) and (m_0, m_1, ...). ``ranks`` is one number
    for all inner ranks or d-1 numbers. ``gain`` scales the initial cores: see
    :meth:`initial_weights`.

    :raises ValueError: on sizes that make no train.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ranks: int | tuple[int, ...] = 6
    activation: str = "relu"
    bias: bool = True
    gain: float = math.sqrt(5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", _sizes("inputs", self.inputs))
        object.__setattr__(self, "outputs", _sizes("outputs", self.outputs))
        cores = len(self.inputs)
        _require(
            cores == len(self.outputs),
            f"inputs and outputs must have as many factors, not {cores} and {len(self.outputs)}",
        )
        ranks = (self.ranks,) * (cores - 1) if type(self.ranks) is int else self.ranks
        if not (cores == 1 and (type(self.ranks) is int or not ranks)):
            ranks = _sizes("ranks", ranks)
            _require(len(ranks) == cores - 1, f"{cores} cores need {cores - 1} ranks, not {len(ranks)}")
        object.__setattr__(self, "ranks", tuple(ranks))  # type: ignore[arg-type]
        _check_activation(self.activation)
        _require(math.isfinite(self.gain) and self.gain > 0, f"gain must be a positive number, not {self.gain!r}")

    @property
    def all_ranks(self) -> tuple[int, ...]:
        """r_0 ... r_d, the ends included."""
        assert isinstance(self.ranks, tuple)
        return (1, *self.ranks, 1)

    @property
    def input_size(self) -> int:
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        return math.prod(self.outputs)

    @property
    def bias_size(self) -> int:
        """Numbers in the bias."""
        return self.output_size

    @property
    def fan_in(self) -> int:
        """Inputs of one output: initial biases are uniform in ±1/sqrt of it."""
        return self.input_size

    @property
    def plain_macs(self) -> int:
        """Multiply-accumulates per sample as a plain matrix."""
        return self.input_size * self.output_size

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the cores by name, without the bias."""
        ranks = self.all_ranks
        return {
            f"core{k}": (ranks[k], n, m, ranks[k + 1])
            for k, (n, m) in enumerate(zip(self.inputs, self.outputs, strict=True))
        }

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Cores drawn from N(0, s), s = (std / product of ranks)^(1/d), std = gain / sqrt(N).

        The published networks use a gain of sqrt(5); small ones learn faster with 1.
        """
        std = self.gain / math.sqrt(self.input_size)
        scale = (std / math.prod(self.all_ranks)) ** (1 / len(self.inputs))
        return {name: rng.normal(0.0, scale, shape) for name, shape in self.weight_shapes().items()}


@dataclass(frozen=True, slots=True)
class Dense:
    """A plain matrix layer: ``y = activation(x @ weight + bias)`` with weight of shape (inputs,
    outputs).

    :raises ValueError: on sizes below one or an unknown activation.
    """

    inputs: int
    outputs: int
    activation: str = "none"
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"{name} must be a positive integer, not {size!r}")
        _check_activation(self.activation)

    @property
    def input_size(self) -> int:
        return self.inputs

    @property
    def output_size(self) -> int:
        return self.outputs

    @property
    def bias_size(self) -> int:
        """Numbers in the bias."""
        return self.outputs

    @property
    def fan_in(self) -> int:
        """Inputs of one output: initial weights and biases are uniform in ±1/sqrt of it."""
        return self.inputs

    @property
    def plain_macs(self) -> int:
        """Multiply-accumulates per sample."""
        return self.inputs * self.outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the weight by name, without the bias."""
        return {"weight": (self.inputs, self.outputs)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Uniform in ±1/sqrt(inputs)."""
        limit = 1 / math.sqrt(self.inputs)
        return {"weight": rng.uniform(-limit, limit, (self.inputs, self.outputs))}


def _pair(name: str, value: Any, lowest: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    good = len(pair) == 2 and all(type(size) is int and size >= lowest for size in pair)
    _require(good, f"{name} must be an integer from {lowest} on, or two of them, not {value!r}")
    return pair


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A convolution, followed by an activation function.

    ``y[m, v, u] = activation(bias[m] + sum of x[c, s*v + j - p, s*u + i - p] * w[c, j, i, m])``

    ``inputs`` is (channels, rows, columns); samples and outputs stand channel by channel, row by
    row. ``kernel``, ``stride`` and ``padding`` (with zeros, on all four sides) are one number, or
    two for rows and columns. The weight has shape (channels, kernel rows, kernel columns, output
    channels).

    :raises ValueError: on sizes that leave no output.
    """

    inputs: tuple[int, int, int]
    channels: int
    kernel: int | tuple[int, int] = 3
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    activation: str = "relu"
    bias: bool = True

    def __post_init__(self) -> None:
        sizes = _sizes("inputs", self.inputs)
        _require(len(sizes) == 3, f"inputs must be channels, rows and columns, not {self.inputs!r}")
        object.__setattr__(self, "inputs", sizes)
        _require(
            type(self.channels) is int and self.channels >= 1,
            f"channels must be a positive integer, not {self.channels!r}",
        )
        for name, lowest in (("kernel", 1), ("stride", 1), ("padding", 0)):
            object.__setattr__(self, name, _pair(name, getattr(self, name), lowest))
        for size, kernel, padding in zip(self.inputs[1:], self.kernels, self.paddings, strict=True):
            _require(padding < kernel, f"padding ({padding}) must be less than the kernel ({kernel})")
            _require(kernel <= size + 2 * padding, f"the kernel ({kernel}) is larger than the padded input")
        _check_activation(self.activation)

    @property
    def kernels(self) -> tuple[int, int]:
        """Rows and columns of the kernel."""
        assert isinstance(self.kernel, tuple)
        return self.kernel

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns from window to window."""
        assert isinstance(self.stride, tuple)
        return self.stride

    @property
    def paddings(self) -> tuple[int, int]:
        """Rows and columns of zeros on each side."""
        assert isinstance(self.padding, tuple)
        return self.padding

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows, columns = (
            (size + 2 * padding - kernel) // stride + 1
            for size, kernel, stride, padding in zip(
                self.inputs[1:], self.kernels, self.strides, self.paddings, strict=True
            )
        )
        return rows, columns

    @property
    def input_size(self) -> int:
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        return self.channels * math.prod(self.windows)

    @property
    def bias_size(self) -> int:
        """Numbers in the bias: one for each channel."""
        return self.channels

    @property
    def fan_in(self) -> int:
        """Inputs of one output: initial weights and biases are uniform in ±1/sqrt of it."""
        return self.inputs[0] * math.prod(self.kernels)

    @property
    def plain_macs(self) -> int:
        """Multiply-accumulates per sample, those with padding left out."""
        taps = 1
        for size, kernel, stride, padding, count in zip(
            self.inputs[1:], self.kernels, self.strides, self.paddings, self.windows, strict=True
        ):
            firsts = [stride * window - padding for window in range(count)]
            taps *= sum(min(first + kernel, size) - max(first, 0) for first in firsts)
        return self.inputs[0] * self.channels * taps

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the weight by name, without the bias."""
        return {"weight": (self.inputs[0], *self.kernels, self.channels)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Uniform in ±1/sqrt(inputs of one output)."""
        limit = 1 / math.sqrt(self.fan_in)
        return {name: rng.uniform(-limit, limit, shape) for name, shape in self.weight_shapes().items()}


@dataclass(frozen=True, slots=True)
class RNN:
    """A simple recurrent layer (Elman, *Finding Structure in Time*, 1990): it reads a sample as
    ``steps`` rows.

    ``h_t = activation([h_{t-1}, x_t] @ weight + bias)`` from h_0 = 0 on; the layer's output is the
    last h. ``inputs`` counts the numbers of one row, ``outputs`` those of h; the weight has shape
    (outputs + inputs, outputs).

    :raises ValueError: on sizes below one, or an activation function that is not bounded.
    """

    inputs: int
    outputs: int
    steps: int
    activation: str = "tanh"
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "steps"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"{name} must be a positive integer, not {size!r}")
        _check_activation(self.activation)
        _require(
            self.activation in BOUNDED,
            f"a recurrent layer's activation must be bounded ({' or '.join(BOUNDED)}), not {self.activation!r}",
        )

    @property
    def input_size(self) -> int:
        return self.steps * self.inputs

    @property
    def output_size(self) -> int:
        return self.outputs

    @property
    def bias_size(self) -> int:
        """Numbers in the bias."""
        return self.outputs

    @property
    def fan_in(self) -> int:
        """What initial weights and biases are uniform in ±1/sqrt of."""
        return self.outputs

    @property
    def plain_macs(self) -> int:
        """Multiply-accumulates per sample."""
        return self.steps * (self.inputs + self.outputs) * self.outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the weight by name, without the bias."""
        return {"weight": (self.outputs + self.inputs, self.outputs)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Uniform in ±1/sqrt(outputs)."""
        limit = 1 / math.sqrt(self.fan_in)
        return {name: rng.uniform(-limit, limit, shape) for name, shape in self.weight_shapes().items()}


Layer = TensorTrain | Dense | Conv2d | RNN
LAYERS: dict[str, type[Layer]] = {"tensor_train": TensorTrain, "dense": Dense, "conv2d": Conv2d, "rnn": RNN}
"""Kinds of layers by name."""
