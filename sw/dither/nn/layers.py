"""Layers as immutable descriptions: sizes, parameter shapes, initial values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "LAYERS", "RNN", "Conv2d", "Dense", "Layer", "TensorTrain"]

ACTIVATIONS = ("none", "relu", "sine", "tanh")
"""Names of the activation functions that a layer can have."""
MOST_CORES = 64
"""Most cores of a tensor train."""
BOUNDED = ("sine", "tanh")
"""Names of the activation functions that stay within ±1."""


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
    """A matrix layer whose matrix is held as a tensor train: a product of small cores.

    Core k has shape (r_k, n_k, m_k, r_{k+1}) with k from 0 and r_0 = r_d = 1; input and output
    positions are the row-major indices (n_0, n_1, ...) and (m_0, m_1, ...). An example:
    ``TensorTrain((8, 8), (4, 8), ranks=4)`` has 64 inputs, 32 outputs and cores of shapes (1, 8, 4,
    4) and (4, 8, 8, 1).

    Source: I. V. Oseledets, *Tensor-Train Decomposition*, SIAM J. Sci. Comput. 2011.

    :raises ValueError: on sizes that make no train.
    """

    inputs: tuple[int, ...]
    """Factors n_0, n_1, ... of the number of inputs, one for each core."""
    outputs: tuple[int, ...]
    """Factors m_0, m_1, ... of the number of outputs, one for each core."""
    ranks: int | tuple[int, ...] = 6
    """Inner ranks: one number for all of them, or one for each pair of neighbouring cores."""
    activation: str = "relu"
    """Name of the activation function, one of :data:`ACTIVATIONS`."""
    bias: bool = True
    """Whether the layer adds a bias to its sums."""
    gain: float = math.sqrt(5)
    """Scale of the initial cores; :meth:`initial_weights` has the formula."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", _sizes("inputs", self.inputs))
        object.__setattr__(self, "outputs", _sizes("outputs", self.outputs))
        cores = len(self.inputs)
        _require(
            cores == len(self.outputs),
            f"inputs and outputs must have as many factors, not {cores} and {len(self.outputs)}",
        )
        _require(cores <= MOST_CORES, f"a train has at most {MOST_CORES} cores, not {cores}; put factors together")
        ranks = (self.ranks,) * (cores - 1) if type(self.ranks) is int else self.ranks
        if not (cores == 1 and (type(self.ranks) is int or not ranks)):
            ranks = _sizes("ranks", ranks)
            _require(len(ranks) == cores - 1, f"{cores} cores need {cores - 1} ranks, not {len(ranks)}")
        object.__setattr__(self, "ranks", tuple(ranks))  # type: ignore[arg-type]
        _check_activation(self.activation)
        _require(math.isfinite(self.gain) and self.gain > 0, f"gain must be a positive number, not {self.gain!r}")

    @property
    def all_ranks(self) -> tuple[int, ...]:
        """All ranks r_0 ... r_d, the ones at both ends included."""
        assert isinstance(self.ranks, tuple)
        return (1, *self.ranks, 1)

    @property
    def input_size(self) -> int:
        """Number of inputs for each sample."""
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        """Number of outputs for each sample."""
        return math.prod(self.outputs)

    @property
    def bias_size(self) -> int:
        """Number of values in the bias: one for each output."""
        return self.output_size

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output; initial biases are uniform in ±1/sqrt of it."""
        return self.input_size

    @property
    def plain_macs(self) -> int:
        """Multiply-accumulates per sample if the layer were a plain matrix."""
        return self.input_size * self.output_size

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the cores by name (``core0``, ``core1``, ...), without the bias."""
        ranks = self.all_ranks
        return {
            f"core{k}": (ranks[k], n, m, ranks[k + 1])
            for k, (n, m) in enumerate(zip(self.inputs, self.outputs, strict=True))
        }

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Returns random initial cores by name, without the bias.

        They are normal with deviation (std / product of ranks)^(1/d), std = gain / sqrt(inputs), d
        the number of cores. The published networks use a gain of sqrt(5); small ones learn faster
        with 1.
        """
        std = self.gain / math.sqrt(self.input_size)
        scale = (std / math.prod(self.all_ranks)) ** (1 / len(self.inputs))
        return {name: rng.normal(0.0, scale, shape) for name, shape in self.weight_shapes().items()}


@dataclass(frozen=True, slots=True)
class Dense:
    """A plain matrix layer, ``y = activation(x @ weight + bias)``.

    The weight has shape (inputs, outputs).

    :raises ValueError: on sizes below one or an unknown activation.
    """

    inputs: int
    """Number of inputs for each sample."""
    outputs: int
    """Number of outputs for each sample."""
    activation: str = "none"
    """Name of the activation function, one of :data:`ACTIVATIONS`."""
    bias: bool = True
    """Whether the layer adds a bias to its sums."""

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"{name} must be a positive integer, not {size!r}")
        _check_activation(self.activation)

    @property
    def input_size(self) -> int:
        """Number of inputs for each sample."""
        return self.inputs

    @property
    def output_size(self) -> int:
        """Number of outputs for each sample."""
        return self.outputs

    @property
    def bias_size(self) -> int:
        """Number of values in the bias: one for each output."""
        return self.outputs

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output; initial values are uniform in ±1/sqrt of it."""
        return self.inputs

    @property
    def plain_macs(self) -> int:
        """Number of multiply-accumulates per sample."""
        return self.inputs * self.outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of the weight by its name ``weight``, without the bias."""
        return {"weight": (self.inputs, self.outputs)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Returns a random initial weight by its name, uniform in ±1/sqrt(inputs)."""
        limit = 1 / math.sqrt(self.inputs)
        return {"weight": rng.uniform(-limit, limit, (self.inputs, self.outputs))}


def _pair(name: str, value: Any, lowest: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    good = len(pair) == 2 and all(type(size) is int and size >= lowest for size in pair)
    _require(good, f"{name} must be an integer from {lowest} on, or two of them, not {value!r}")
    return pair


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A two-dimensional convolution, followed by an activation function.

    ``y[m, v, u] = activation(bias[m] + sum of x[c, s*v + j - p, s*u + i - p] * w[c, j, i, m])``

    Samples and outputs stand channel by channel, row by row. The weight has shape (channels, kernel
    rows, kernel columns, output channels).

    :raises ValueError: on sizes that leave no output, or padding that is not smaller than the
        kernel.
    """

    inputs: tuple[int, int, int]
    """Channels, rows and columns of a sample."""
    channels: int
    """Number of output channels."""
    kernel: int | tuple[int, int] = 3
    """Size of the kernel: one number, or rows and columns."""
    stride: int | tuple[int, int] = 1
    """Distance s of neighbouring windows: one number, or rows and columns."""
    padding: int | tuple[int, int] = 0
    """Width p of the border of zeros on all four sides: one number, or rows and columns."""
    activation: str = "relu"
    """Name of the activation function, one of :data:`ACTIVATIONS`."""
    bias: bool = True
    """Whether the layer adds a bias to its sums, one number for each output channel."""

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
        """Distance of neighbouring windows in rows and in columns."""
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
        """Number of inputs for each sample."""
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        """Number of outputs for each sample."""
        return self.channels * math.prod(self.windows)

    @property
    def bias_size(self) -> int:
        """Number of values in the bias: one for each output channel."""
        return self.channels

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output; initial values are uniform in ±1/sqrt of it."""
        return self.inputs[0] * math.prod(self.kernels)

    @property
    def plain_macs(self) -> int:
        """Number of multiply-accumulates per sample, those with the padding's zeros left out."""
        taps = 1
        for size, kernel, stride, padding, count in zip(
            self.inputs[1:], self.kernels, self.strides, self.paddings, self.windows, strict=True
        ):
            firsts = [stride * window - padding for window in range(count)]
            taps *= sum(min(first + kernel, size) - max(first, 0) for first in firsts)
        return self.inputs[0] * self.channels * taps

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of the weight by its name ``weight``, without the bias."""
        return {"weight": (self.inputs[0], *self.kernels, self.channels)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Returns a random initial weight by its name, uniform in ±1/sqrt(inputs of one output)."""
        limit = 1 / math.sqrt(self.fan_in)
        return {name: rng.uniform(-limit, limit, shape) for name, shape in self.weight_shapes().items()}


@dataclass(frozen=True, slots=True)
class RNN:
    """A simple recurrent layer, which reads a sample as ``steps`` rows, one after the other.

    ``h_t = activation([h_{t-1}, x_t] @ weight + bias)`` from h_0 = 0 on; the layer gives the last h
    or all of them. The weight has shape (outputs + inputs, outputs).

    Source: J. L. Elman, *Finding Structure in Time*, 1990.

    :raises ValueError: on sizes below one, an activation function that is not bounded, or an
        unknown word for ``output`` or ``initial``.
    """

    inputs: int
    """Number of values in one row."""
    outputs: int
    """Number of values of the hidden state h."""
    steps: int
    """Number of rows, hence of time steps, in a sample."""
    activation: str = "tanh"
    """Name of the activation function, one of :data:`BOUNDED`."""
    bias: bool = True
    """Whether the layer adds a bias to its sums."""
    output: str = "last"
    """Which states the layer gives to the one behind it: ``last``, the last one, or ``all``, those
    of all time steps, the first one first."""
    initial: str = "uniform"
    """How the weights between states begin: ``uniform`` in ±1/sqrt(outputs) as all others, or
    ``orthogonal``, a random orthogonal matrix, which carries a state on without making it smaller
    or larger."""

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "steps"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"{name} must be a positive integer, not {size!r}")
        _check_activation(self.activation)
        _require(
            self.activation in BOUNDED,
            f"a recurrent layer's activation must be bounded ({' or '.join(BOUNDED)}), not {self.activation!r}",
        )
        for name, known in (("output", ("last", "all")), ("initial", ("uniform", "orthogonal"))):
            found = getattr(self, name)
            _require(found in known, f"a recurrent layer's {name} must be {' or '.join(known)}, not {found!r}")

    @property
    def input_size(self) -> int:
        """Number of inputs for each sample: those of all rows."""
        return self.steps * self.inputs

    @property
    def output_size(self) -> int:
        """Number of outputs for each sample: one state's, or those of all time steps."""
        return self.outputs * (self.steps if self.output == "all" else 1)

    @property
    def bias_size(self) -> int:
        """Number of values in the bias: one for each value of a state."""
        return self.outputs

    @property
    def fan_in(self) -> int:
        """Number of outputs; initial values are uniform in ±1/sqrt of it."""
        return self.outputs

    @property
    def plain_macs(self) -> int:
        """Number of multiply-accumulates per sample, over all time steps."""
        return self.steps * (self.inputs + self.outputs) * self.outputs

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of the weight by its name ``weight``, without the bias."""
        return {"weight": (self.outputs + self.inputs, self.outputs)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Returns a random initial weight by its name: uniform in ±1/sqrt(outputs), but for the
        rows that states meet if they shall be orthogonal.
        """
        limit = 1 / math.sqrt(self.fan_in)
        weight = rng.uniform(-limit, limit, self.weight_shapes()["weight"])
        if self.initial == "orthogonal":
            matrix, triangle = np.linalg.qr(rng.normal(size=(self.outputs, self.outputs)))
            weight[: self.outputs] = matrix * np.sign(np.diag(triangle))
        return {"weight": weight}


Layer = TensorTrain | Dense | Conv2d | RNN
"""Any of the layers in this module."""
LAYERS: dict[str, type[Layer]] = {"tensor_train": TensorTrain, "dense": Dense, "conv2d": Conv2d, "rnn": RNN}
"""Classes of layers by the name of their kind, as model descriptions use it."""
