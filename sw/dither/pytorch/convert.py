"""Conversion of PyTorch's modules to layers with parameters, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.plan.planner import plan_layers
from ..nn.models import RNN, Conv2d, Dense, Layer, Model, TensorTrain
from ..nn.network import Network
from ..nn.reference import dense_matrix
from ..nn.trains import Factors, automatic_factors, possible_ranks, tensor_train
from .lazy import require_torch

__all__ = ["Ranks", "from_torch", "to_torch"]

Ranks = int | tuple[Sequence[int], Sequence[int], int | Sequence[int]]
"""Decomposition of a linear layer: a rank for automatic factors, or factors and ranks.

The latter are factors of inputs, factors of outputs, and a rank or ranks.
"""

Values = dict[str, NDArray[np.float64]]
"""Arrays of parameters by their names."""


def from_torch(
    module: Any,
    ranks: Ranks | Mapping[int | str, Ranks] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    loss: str = "cross_entropy",
) -> Network:
    """Makes a network with a PyTorch module's parameters.

    The module is a ``Sequential`` (nested ones count as flat) of ``Linear``, ``Conv2d``, ``RNN``,
    ``Flatten``, ``Unflatten`` and ``Identity``, each layer with ``ReLU``, ``Tanh`` or no activation
    behind it. Recurrent layers come first; a module of several is a layer for each of them, and all
    stand for the last one's last state.

    :param ranks: which linear layers become tensor trains, by their decomposition: by position
        among the layers or by name of the module, a rank for automatic factors, or (input factors,
        output factors, rank or ranks). A single number is the rank of every linear layer that it
        makes smaller.
    :param input_shape: shape of one sample, without which convolutions (channels, rows, columns)
        and recurrent layers (steps, features) do not know their size; an ``Unflatten`` in front
        does as well.
    :param loss: ``cross_entropy`` or ``squared_error``.
    :raises TypeError: naming the first module that has no equivalent.
    :raises ValueError: on options without equivalent, or shapes that do not fit together.
    :raises ImportError: if PyTorch is not installed.
    """
    require_torch()
    reader = _Reader(ranks, None if input_shape is None else tuple(input_shape))
    for name, child in _flat(module, ""):
        reader.read(name, child)
    if isinstance(ranks, Mapping) and (unknown := [key for key in ranks if key not in reader.used]):
        raise ValueError(f"ranks name {unknown[0]!r}, which is no linear layer")
    if not reader.layers:
        raise ValueError("the module has no layers")
    return Network(Model(tuple(reader.layers), loss), reader.parameters)


def _flat(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields all parts of a Sequential with their names; another module is its own only part."""
    if not isinstance(module, require_torch().nn.Sequential):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _flat(child, f"{name}.{child_name}" if name else child_name)


def _numbers(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)


class _Reader:
    """Turns modules into layers and parameters, one after the other."""

    def __init__(self, ranks: Ranks | Mapping[int | str, Ranks] | None, shape: tuple[int, ...] | None) -> None:
        self.ranks = ranks
        self.shape = shape
        """Shape of one sample between layers; None where it is not known."""
        self.layers: list[Layer] = []
        self.parameters: Values = {}
        self.used: set[int | str] = set()
        """Keys of ``ranks`` that have been used."""
        self._activated = True
        """Whether the last layer has got its activation function, or takes none."""

    def read(self, name: str, module: Any) -> None:
        """Reads the next module."""
        nn = require_torch().nn
        kind = type(module).__name__
        match module:
            case nn.Linear():
                self._linear(name, module)
            case nn.Conv2d():
                self._convolution(name, module)
            case nn.RNN():
                self._recurrence(name, module)
            case nn.ReLU() | nn.Tanh():
                self._activation(name, kind.lower())
            case nn.Flatten():
                self._reshape(name, module.start_dim == 1 and module.end_dim == -1, None)
            case nn.Unflatten():
                self._reshape(name, module.dim == 1, tuple(module.unflattened_size))
            case nn.Identity():
                pass
            case _ if kind == "Sine":
                self._activation(name, "sine")
            case _ if kind in ("LastState", "AllStates"):
                self._recurrence(name, module.rnn, "all" if kind == "AllStates" else "last")
            case _ if kind == "TrainLinear":
                self._train(module)
            case _:
                raise TypeError(
                    f"module {name or kind!r} ({kind}) has no equivalent; known: Linear, Conv2d, RNN, Flatten, "
                    "Unflatten, ReLU, Tanh; use strides instead of pooling, and no softmax in front of cross entropy"
                )

    def _add(self, layer: Layer, values: Values, bias: Any) -> None:
        position = len(self.layers)
        self.layers.append(layer)
        self.parameters |= {f"{position}.{name}": value for name, value in values.items()}
        if bias is not None:
            self.parameters[f"{position}.bias"] = np.asarray(bias, np.float64)

    def _activation(self, name: str, function: str) -> None:
        if self._activated:
            raise ValueError(f"module {name!r}: an activation function must follow a linear layer or a convolution")
        self.layers[-1] = replace(self.layers[-1], activation=function)
        self._activated = True

    def _reshape(self, name: str, good: bool, shape: tuple[int, ...] | None) -> None:
        if not good:
            raise ValueError(f"module {name!r} must reshape all of a sample, from dimension 1 on")
        if shape is None:
            self.shape = None if self.shape is None else (math.prod(self.shape),)
        else:
            self.shape = tuple(shape)

    def _linear(self, name: str, module: Any) -> None:
        if self.shape is not None and len(self.shape) > 1:
            raise ValueError(f"module {name!r} is linear and needs a Flatten in front of it")
        matrix, bias = _numbers(module.weight).T, None if module.bias is None else _numbers(module.bias)
        factors = self._factors(name, *matrix.shape)
        layer: Layer
        if factors is None:
            layer = Dense(matrix.shape[0], matrix.shape[1], activation="none", bias=bias is not None)
            values = {"weight": np.ascontiguousarray(matrix)}
        else:
            layer = TensorTrain(
                factors.inputs, factors.outputs, factors.ranks, activation="none", bias=bias is not None
            )
            values = {f"core{k}": core for k, core in enumerate(tensor_train(matrix, factors))}
        self._add(layer, values, bias)
        self.shape, self._activated = (matrix.shape[1],), False

    def _train(self, module: Any) -> None:
        layer = replace(module.layer, activation="none", bias=module.bias is not None)
        values = {f"core{k}": _numbers(core) for k, core in enumerate(module.cores)}
        self._add(layer, values, None if module.bias is None else _numbers(module.bias))
        self.shape, self._activated = (layer.output_size,), False

    def _factors(self, name: str, inputs: int, outputs: int) -> Factors | None:
        """Returns the factors of a linear layer; None if it is not to become a tensor train."""
        if self.ranks is None:
            return None
        if isinstance(self.ranks, Mapping):
            keys = [key for key in (len(self.layers), name) if key in self.ranks]
            if not keys:
                return None
            self.used |= set(keys)
            return _chosen(self.ranks[keys[0]], inputs, outputs)
        found = _chosen(self.ranks, inputs, outputs)
        return found if found.parameters < inputs * outputs else None

    def _convolution(self, name: str, module: Any) -> None:
        if self.shape is None or len(self.shape) != 3:
            raise ValueError(f"module {name!r}: give input_shape=(channels, rows, columns) for a convolution")
        if module.groups != 1 or tuple(module.dilation) != (1, 1) or module.padding_mode != "zeros":
            raise ValueError(f"module {name!r}: convolutions with groups, dilation or other padding have no equivalent")
        weight = _numbers(module.weight)
        if weight.shape[1] != self.shape[0]:
            raise ValueError(f"module {name!r} takes {weight.shape[1]} channels, not {self.shape[0]}")
        kernel = (weight.shape[2], weight.shape[3])
        padding = module.padding
        if padding == "valid":
            padding = (0, 0)
        elif padding == "same":
            if any(size % 2 == 0 for size in kernel):
                raise ValueError(f"module {name!r}: padding 'same' needs kernels of odd size")
            padding = (kernel[0] // 2, kernel[1] // 2)
        channels, rows, columns = self.shape
        layer = Conv2d(
            (channels, rows, columns),
            weight.shape[0],
            kernel,
            tuple(module.stride),
            tuple(padding),
            activation="none",
            bias=module.bias is not None,
        )
        values = {"weight": np.ascontiguousarray(weight.transpose(1, 2, 3, 0))}
        self._add(layer, values, None if module.bias is None else _numbers(module.bias))
        self.shape, self._activated = (layer.channels, *layer.windows), False

    def _recurrence(self, name: str, module: Any, output: str = "last") -> None:
        if module.bidirectional or module.nonlinearity != "tanh" or module.dropout:
            raise ValueError(
                f"module {name!r}: only recurrent layers in one direction, with tanh, without dropout are known"
            )
        if self.shape is None or len(self.shape) != 2:
            raise ValueError(f"module {name!r}: give input_shape=(steps, features) for a recurrent layer")
        steps, features = self.shape
        if features != module.input_size:
            raise ValueError(f"module {name!r} reads rows of {module.input_size} features, not {features}")
        held = {key: _numbers(value) for key, value in module.named_parameters()}
        for number in range(module.num_layers):
            weight = np.concatenate((held[f"weight_hh_l{number}"].T, held[f"weight_ih_l{number}"].T))
            bias = held[f"bias_ih_l{number}"] + held[f"bias_hh_l{number}"] if module.bias else None
            given = output if number == module.num_layers - 1 else "all"
            layer = RNN(inputs=features, outputs=module.hidden_size, steps=steps, bias=module.bias, output=given)
            self._add(layer, {"weight": weight}, bias)
            features = layer.outputs
        self.shape, self._activated = (self.layers[-1].output_size,), True


def _chosen(ranks: Ranks, inputs: int, outputs: int) -> Factors:
    if isinstance(ranks, int):
        return automatic_factors(inputs, outputs, ranks)
    n, m, inner = ranks
    many = (inner,) * (len(n) - 1) if isinstance(inner, int) else tuple(inner)
    if len(n) != len(m) or len(many) != len(n) - 1:
        raise ValueError(f"{len(n)} input factors need as many output factors and {len(n) - 1} ranks")
    return Factors(tuple(n), tuple(m), possible_ranks(tuple(n), tuple(m), many))


def to_torch(network: Network, *, trains: bool = False) -> Any:
    """Returns a network as a ``torch.nn.Sequential`` in float32: the inverse of :func:`from_torch`.

    The module takes inputs of shape (samples, inputs), as the network does.

    :param trains: whether to keep tensor trains, as modules that PyTorch itself does not have,
        rather than make them whole matrices.
    :raises ValueError: if a recurrent layer has an activation that PyTorch's lacks.
    :raises ImportError: if PyTorch is not installed.
    """
    torch = require_torch()
    from .modules import AllStates, LastState, Sine, TrainLinear

    functions = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sine": Sine}
    parts: list[Any] = []
    flat = True
    for position, layer in enumerate(network.model.layers):
        bias = network.parameters[f"{position}.bias"] if layer.bias else None
        match layer:
            case Conv2d():
                if flat:
                    parts.append(torch.nn.Unflatten(1, layer.inputs))
                made = torch.nn.Conv2d(
                    layer.inputs[0], layer.channels, layer.kernel, layer.stride, layer.padding, bias=layer.bias
                )
                weight = np.transpose(network.parameters[f"{position}.weight"], (3, 0, 1, 2))
                _fill(made, weight=weight, bias=bias)
            case RNN():
                parts.append(torch.nn.Unflatten(1, (layer.steps, layer.inputs)))
                made = torch.nn.RNN(layer.inputs, layer.outputs, nonlinearity="tanh", bias=layer.bias, batch_first=True)
                if layer.activation != "tanh":
                    raise ValueError(f"PyTorch has no recurrent layer with {layer.activation}")
                weight = network.parameters[f"{position}.weight"]
                _fill(
                    made,
                    weight_hh_l0=weight[: layer.outputs].T,
                    weight_ih_l0=weight[layer.outputs :].T,
                    bias_ih_l0=bias,
                    bias_hh_l0=None if bias is None else np.zeros_like(bias),
                )
                made = (AllStates if layer.output == "all" else LastState)(made)
            case TensorTrain() if trains:
                if not flat:
                    parts.append(torch.nn.Flatten())
                (plan,) = (plan for plan in plan_layers(network.model) if plan.position == position)
                names = [f"{position}.{name}" for name in layer.weight_shapes()]
                cores = {name: torch.tensor(network.parameters[name], dtype=torch.float32) for name in names}
                offset = None if bias is None else torch.tensor(bias, dtype=torch.float32)
                made = TrainLinear(layer, plan.steps, cores, offset)
            case _:
                if not flat:
                    parts.append(torch.nn.Flatten())
                made = torch.nn.Linear(layer.input_size, layer.output_size, bias=layer.bias)
                _fill(made, weight=dense_matrix(position, layer, network.parameters).T, bias=bias)
        parts.append(made)
        flat = not isinstance(layer, Conv2d)
        if not isinstance(layer, RNN) and layer.activation != "none":
            parts.append(functions[layer.activation]())
    if not flat:
        parts.append(torch.nn.Flatten())
    return torch.nn.Sequential(*parts)


def _fill(module: Any, **values: NDArray[np.float64] | None) -> None:
    torch = require_torch()
    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
