"""Networks as immutable descriptions: a chain of layers and a loss; and the named models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import ACTIVATIONS, LAYERS, RNN, Conv2d, Dense, Layer, TensorTrain

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "MODELS",
    "RNN",
    "Conv2d",
    "Dense",
    "Layer",
    "Model",
    "Parameters",
    "TensorTrain",
    "named_model",
]

LOSSES = ("cross_entropy", "squared_error")
"""Names of the loss functions that a model can have."""

MOST_PARAMETERS = 1 << 26
"""Most parameters of a model, far beyond what any engine holds."""
MOST_VALUES = 1 << 24
"""Most inputs or outputs of a layer."""

Parameters = Mapping[str, NDArray[np.float64]]
"""Parameter values by name, such as ``"0.core1"``, ``"0.bias"``, ``"1.weight"``.

The number is the layer's, from 0.
"""


def _require(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)


def _check_recurrence(position: int, layer: Layer, before: Layer | None) -> None:
    """Refuses a recurrent layer that is neither the first one nor reads the states of another, step
    by step.
    """
    if not isinstance(layer, RNN) or before is None:
        return
    here = f"layer {position} is recurrent"
    _require(isinstance(before, RNN), f"{here}, so the layer before it must be, or none")
    assert isinstance(before, RNN)
    _require(before.output == "all", f'{here}, so layer {position - 1} must give all states (output="all")')
    _require(
        (before.steps, before.outputs) == (layer.steps, layer.inputs),
        f"{here} and reads {layer.steps} rows of {layer.inputs} values, but layer {position - 1} gives {before.steps} "
        f"states of {before.outputs}",
    )


@dataclass(frozen=True, slots=True)
class Model:
    """A network without its values: layers in a chain, and the loss on the last one's outputs.

    :raises ValueError: on layers that do not fit together or an unknown loss.
    """

    layers: tuple[Layer, ...]
    """Layers in the order of computation. The first ones may be recurrent: each but the first of
    them reads the states of all time steps of the one before it."""
    loss: str = "cross_entropy"
    """Name of the loss function, one of :data:`LOSSES`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        _require(len(self.layers) >= 1, "a model needs at least one layer")
        for position, layer in enumerate(self.layers):
            _require(isinstance(layer, Layer), f"layer {position} is no layer: {layer!r}")
        for position, layer in enumerate(self.layers):
            _check_recurrence(position, layer, self.layers[position - 1] if position else None)
            if isinstance(layer, RNN) and layer.output == "all":
                good = position + 1 < len(self.layers) and isinstance(self.layers[position + 1], (Dense, RNN))
                _require(
                    good,
                    f"layer {position} gives the states of all time steps, so layer {position + 1} must be Dense or "
                    "recurrent",
                )
        for position, (left, right) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            _require(
                left.output_size == right.input_size,
                f"layer {position} has {left.output_size} outputs, but layer {position + 1} takes {right.input_size}",
            )
        for position, layer in enumerate(self.layers):
            for name, size in (("inputs", layer.input_size), ("outputs", layer.output_size)):
                _require(size <= MOST_VALUES, f"layer {position} has {size:,} {name}; use at most {MOST_VALUES:,}")
        _require(
            self.parameter_count <= MOST_PARAMETERS,
            f"the model has {self.parameter_count:,} parameters; use smaller layers or ranks, for at most "
            f"{MOST_PARAMETERS:,}",
        )
        _require(self.loss in LOSSES, f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if self.loss == "cross_entropy":
            _require(self.outputs >= 2, "cross_entropy needs at least 2 outputs")

    @property
    def inputs(self) -> int:
        """Number of inputs for each sample."""
        return self.layers[0].input_size

    @property
    def outputs(self) -> int:
        """Number of outputs for each sample."""
        return self.layers[-1].output_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all parameters by name: layer by layer, weights before the bias."""
        shapes: dict[str, tuple[int, ...]] = {}
        for position, layer in enumerate(self.layers):
            shapes |= {f"{position}.{name}": shape for name, shape in layer.weight_shapes().items()}
            if layer.bias:
                shapes[f"{position}.bias"] = (layer.bias_size,)
        return shapes

    @property
    def parameter_count(self) -> int:
        """Number of trainable values, biases included."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates per sample if every tensor train were a plain matrix."""
        return sum(layer.plain_macs for layer in self.layers)

    def initial_parameters(self, seed: int) -> dict[str, NDArray[np.float64]]:
        """Returns random initial values by parameter name; the same seed gives the same values."""
        rng = np.random.default_rng(seed)
        values: dict[str, NDArray[np.float64]] = {}
        for position, layer in enumerate(self.layers):
            values |= {f"{position}.{name}": value for name, value in layer.initial_weights(rng).items()}
            if layer.bias:
                limit = 1 / math.sqrt(layer.fan_in)
                values[f"{position}.bias"] = rng.uniform(-limit, limit, layer.bias_size)
        return values

    def check_parameters(self, parameters: Parameters) -> None:
        """Checks that parameters have the names and shapes of this model.

        :raises ValueError: naming the first parameter that is missing, unknown or of another shape.
        """
        shapes = self.parameter_shapes()
        for name in (*shapes, *parameters):
            _require(name in parameters, f"parameter {name} is missing")
            _require(name in shapes, f"the model has no parameter {name}")
            found = tuple(np.shape(parameters[name]))
            _require(found == shapes[name], f"parameter {name} has shape {found}, not {shapes[name]}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the description as plain data, ready for JSON."""
        kinds = {kind: name for name, kind in LAYERS.items()}
        return {
            "loss": self.loss,
            "layers": [{"kind": kinds[type(layer)]} | _plain(asdict(layer)) for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Model:
        """Makes a model from what :meth:`to_dict` returned.

        :raises ValueError: on an unknown kind of layer, unknown or missing entries, or impossible
            shapes.
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
    _require(kind in LAYERS, f"unknown kind of layer {kind!r}; known: {', '.join(LAYERS)}")
    try:
        return LAYERS[kind](**entry)
    except TypeError as error:
        raise ValueError(f"layer of kind {kind}: {error}") from None


def _digits() -> Model:
    return Model((TensorTrain((8, 8), (4, 8), 4, gain=1.0), Dense(32, 10)))


def _mnist() -> Model:
    hidden = TensorTrain((7, 4, 4, 7), (8, 4, 4, 8), 6)
    return Model((hidden, TensorTrain((8, 4, 4, 8), (1, 5, 2, 1), 6, activation="none")))


def _mnist_small() -> Model:
    hidden = TensorTrain((7, 4, 4, 7), (8, 4, 4, 8), (4, 3, 4), bias=False)
    return Model((hidden, TensorTrain((8, 4, 4, 8), (5, 2, 1, 1), (4, 3, 4), activation="none")))


def _mnist_dense() -> Model:
    return Model((Dense(784, 1024, "relu"), Dense(1024, 10)))


def _mnist_mlp() -> Model:
    return Model((Dense(784, 160, "tanh"), Dense(160, 10)))


def _mnist_cnn() -> Model:
    first = Conv2d((1, 28, 28), 8, kernel=5, stride=2)
    second = Conv2d((8, *first.windows), 16, kernel=5, stride=2)
    return Model((first, second, Dense(second.output_size, 10)))


def _mnist_rnn() -> Model:
    return Model((RNN(inputs=28, outputs=160, steps=28), Dense(160, 10)))


def _mnist_rnn_states() -> Model:
    states = RNN(inputs=28, outputs=160, steps=28, output="all", initial="orthogonal")
    return Model((states, Dense(states.output_size, 10)))


def _mnist_rnn_stacked() -> Model:
    first = RNN(inputs=28, outputs=96, steps=28, output="all", initial="orthogonal")
    second = RNN(inputs=first.outputs, outputs=96, steps=28, output="all", initial="orthogonal")
    return Model((first, second, Dense(second.output_size, 10)))


def _mnist1d() -> Model:
    layers: list[Conv2d] = []
    shape = (1, 1, 40)
    for kernel in (5, 3, 3):
        layers.append(Conv2d(shape, 25, kernel=(1, kernel), stride=(1, 2), padding=(0, 1)))
        shape = (25, *layers[-1].windows)
    return Model((*layers, Dense(layers[-1].output_size, 10)))


def _mnist1d_mlp() -> Model:
    return Model((Dense(40, 100, "relu"), Dense(100, 100, "relu"), Dense(100, 10)))


def _japanese_vowels() -> Model:
    states = RNN(inputs=12, outputs=48, steps=29, output="all", initial="orthogonal")
    return Model((states, Dense(states.output_size, 9)))


def _keywords() -> Model:
    first = Conv2d((1, 32, 16), 16, kernel=5, stride=2, padding=2)
    second = Conv2d((16, *first.windows), 24, kernel=3, stride=2, padding=1)
    return Model((first, second, Dense(second.output_size, 10)))


MODELS: dict[str, Callable[[], Model]] = {
    "digits": _digits,
    "mnist": _mnist,
    "mnist-small": _mnist_small,
    "mnist-dense": _mnist_dense,
    "mnist-mlp": _mnist_mlp,
    "mnist-cnn": _mnist_cnn,
    "mnist-rnn": _mnist_rnn,
    "mnist-rnn-states": _mnist_rnn_states,
    "mnist-rnn-stacked": _mnist_rnn_stacked,
    "mnist1d": _mnist1d,
    "mnist1d-mlp": _mnist1d_mlp,
    "japanese-vowels": _japanese_vowels,
    "keywords": _keywords,
}
"""Functions that make the named models.

``mnist`` is the published 784-1024-10 network of arXiv 2308.09858, ``mnist-small`` one of the same
sizes with smaller ranks and without hidden biases, for memories of 512 parameter words,
``mnist-dense`` the same with plain matrices; ``mnist-cnn`` has two convolutions with stride 2
instead of pooling; ``mnist-rnn`` reads an image's 28 rows one after the other, and
``mnist-rnn-states`` decides by the states behind all rows, not the last one alone;
``mnist-rnn-stacked`` does so by those of a second recurrent layer, which reads the first one's;
``mnist1d`` is the convolutional network of arXiv 2011.14439, ``mnist1d-mlp`` its network of plain
matrices without the connection that skips one; ``japanese-vowels`` reads an utterance's frames as
``mnist-rnn-states`` does rows, ``keywords`` has convolutions over time and frequency.
"""


def with_ranks(model: Model, ranks: int) -> Model:
    """Returns a model whose tensor trains have no larger inner ranks than ``ranks``.

    :raises ValueError: if it has no tensor trains, or ``ranks`` is below 1.
    """
    _require(ranks >= 1, f"ranks must be at least 1, not {ranks}")
    _require(any(isinstance(layer, TensorTrain) for layer in model.layers), "the model has no tensor trains; no ranks")
    layers = (
        replace(layer, ranks=tuple(min(rank, ranks) for rank in layer.all_ranks[1:-1]))
        if isinstance(layer, TensorTrain)
        else layer
        for layer in model.layers
    )
    return Model(tuple(layers), model.loss)


def named_model(name: str) -> Model:
    """Returns the model of the given name in :data:`MODELS`.

    :raises ValueError: if there is none of that name; the message lists the known ones.
    """
    try:
        return MODELS[name]()
    except KeyError:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}") from None
