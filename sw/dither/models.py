"""Networks as immutable descriptions: layers, parameter shapes, initial values, named models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "LOSSES", "MODELS", "Dense", "Layer", "Model", "Parameters", "TensorTrain", "named_model"]

ACTIVATIONS = ("none", "relu", "sine", "tanh")
LOSSES = ("cross_entropy", "squared_error")

Parameters = Mapping[str, NDArray[np.float64]]
"""Values by parameter name, such as ``"0.core1"``, ``"0.bias"``, ``"1.weight"``."""


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
    """A matrix layer held as a train of cores (Oseledets, *Tensor-Train Decomposition*, SIAM J. Sci. Comput. 2011).

    Core k has shape (r_k, n_k, m_k, r_{k+1}) with k from 0 and r_0 = r_d = 1; input and output positions are the
    row-major indices (n_0, n_1, ...) and (m_0, m_1, ...). ``ranks`` is one number for all inner ranks or d-1 numbers.
    ``gain`` scales the initial cores: see :meth:`initial_weights`.

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
    """A plain matrix layer: ``y = activation(x @ weight + bias)`` with weight of shape (inputs, outputs).

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

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the weight by name, without the bias."""
        return {"weight": (self.inputs, self.outputs)}

    def initial_weights(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Uniform in ±1/sqrt(inputs)."""
        limit = 1 / math.sqrt(self.inputs)
        return {"weight": rng.uniform(-limit, limit, (self.inputs, self.outputs))}


Layer = TensorTrain | Dense
_KINDS: dict[str, type[TensorTrain] | type[Dense]] = {"tensor_train": TensorTrain, "dense": Dense}


@dataclass(frozen=True, slots=True)
class Model:
    """Layers, one behind the other, and the loss on the last one's outputs.

    :raises ValueError: on layers that do not fit together or an unknown loss.
    """

    layers: tuple[Layer, ...]
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        _require(len(self.layers) >= 1, "a model needs at least one layer")
        for position, layer in enumerate(self.layers):
            _require(isinstance(layer, (TensorTrain, Dense)), f"layer {position} is no layer: {layer!r}")
        for position, (left, right) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            _require(
                left.output_size == right.input_size,
                f"layer {position} has {left.output_size} outputs, but layer {position + 1} takes {right.input_size}",
            )
        _require(self.loss in LOSSES, f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if self.loss == "cross_entropy":
            _require(self.outputs >= 2, "cross_entropy needs at least 2 outputs")

    @property
    def inputs(self) -> int:
        return self.layers[0].input_size

    @property
    def outputs(self) -> int:
        return self.layers[-1].output_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name, in layer order, a layer's bias behind its weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        for position, layer in enumerate(self.layers):
            shapes |= {f"{position}.{name}": shape for name, shape in layer.weight_shapes().items()}
            if layer.bias:
                shapes[f"{position}.bias"] = (layer.output_size,)
        return shapes

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates per sample if every layer were a plain matrix."""
        return sum(layer.input_size * layer.output_size for layer in self.layers)

    def initial_parameters(self, seed: int) -> dict[str, NDArray[np.float64]]:
        """Random initial values; the same for the same seed."""
        rng = np.random.default_rng(seed)
        values: dict[str, NDArray[np.float64]] = {}
        for position, layer in enumerate(self.layers):
            values |= {f"{position}.{name}": value for name, value in layer.initial_weights(rng).items()}
            if layer.bias:
                limit = 1 / math.sqrt(layer.input_size)
                values[f"{position}.bias"] = rng.uniform(-limit, limit, layer.output_size)
        return values

    def check_parameters(self, parameters: Parameters) -> None:
        """Compare names and shapes with the model's.

        :raises ValueError: naming the first parameter that is missing, unknown or of another shape.
        """
        shapes = self.parameter_shapes()
        for name in (*shapes, *parameters):
            _require(name in parameters, f"parameter {name} is missing")
            _require(name in shapes, f"the model has no parameter {name}")
            found = tuple(np.shape(parameters[name]))
            _require(found == shapes[name], f"parameter {name} has shape {found}, not {shapes[name]}")

    def to_dict(self) -> dict[str, Any]:
        """The description as plain data, for JSON."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return {
            "loss": self.loss,
            "layers": [{"kind": kinds[type(layer)]} | _plain(asdict(layer)) for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Model:
        """The inverse of :meth:`to_dict`.

        :raises ValueError: on an unknown kind of layer, unknown or missing entries, or impossible shapes.
        """
        try:
            layers = tuple(_layer(dict(entry)) for entry in values["layers"])
            return cls(layers, values["loss"])
        except KeyError as error:
            raise ValueError(f"the model's description lacks {error}") from None

    def __str__(self) -> str:
        sizes = "-".join(str(size) for size in (self.inputs, *(layer.output_size for layer in self.layers)))
        return f"{sizes}, {self.parameter_count:,} parameters"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _layer(entry: dict[str, Any]) -> Layer:
    kind = entry.pop("kind")
    _require(kind in _KINDS, f"unknown kind of layer {kind!r}; known: {', '.join(_KINDS)}")
    try:
        return _KINDS[kind](**entry)
    except TypeError as error:
        raise ValueError(f"layer of kind {kind}: {error}") from None


def _digits() -> Model:
    return Model((TensorTrain((8, 8), (4, 8), 4, gain=1.0), Dense(32, 10)))


def _mnist() -> Model:
    hidden = TensorTrain((7, 4, 4, 7), (8, 4, 4, 8), 6)
    return Model((hidden, TensorTrain((8, 4, 4, 8), (1, 5, 2, 1), 6, activation="none")))


MODELS: dict[str, Callable[[], Model]] = {"digits": _digits, "mnist": _mnist}
"""Makers of the named models. ``mnist`` is the published 784-1024-10 network of arXiv 2308.09858."""


def named_model(name: str) -> Model:
    """The named model.

    :raises ValueError: naming the known ones, if there is none of that name.
    """
    try:
        return MODELS[name]()
    except KeyError:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}") from None
