"""A network: a model with values for all its parameters, in memory or in a file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..tools.files import AnyPath, write_atomically
from . import reference
from .models import Model, Parameters

__all__ = ["Network"]

_MODEL = "model"
"""Name of the array that holds the model's description: JSON, as bytes.

No parameter has this name, as theirs contain a dot.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model with values for all its parameters, in float64.

    A network is callable: ``network(inputs)`` gives its outputs, computed in floating point.

    :ivar parameters: arrays by the names of :meth:`~dither.nn.models.Model.parameter_shapes`, such
        as ``0.weight`` and ``0.bias``.
    :raises ValueError: if names or shapes are not the model's, or a value is NaN or infinite.
    """

    model: Model
    """Layers and loss of the network."""
    parameters: Parameters
    """Values by parameter name, float64, in the shapes of the model."""

    def __post_init__(self) -> None:
        self.model.check_parameters(self.parameters)
        values = {name: np.asarray(self.parameters[name], np.float64) for name in self.model.parameter_shapes()}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise ValueError(f"parameter {name} has NaN or infinite values")
        object.__setattr__(self, "parameters", values)

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float64]:
        """Returns the network's outputs in float64.

        :param inputs: shape (samples, inputs).
        :returns: shape (samples, outputs).
        """
        return reference.forward(self.model, self.parameters, inputs)

    def save(self, path: AnyPath) -> None:
        """Writes the network to a file in NumPy's archive format, conventionally ``NAME.npz``.

        :raises OSError: if it cannot be written.
        """
        arrays: dict[str, Any] = dict(self.parameters)
        arrays[_MODEL] = np.frombuffer(json.dumps(self.model.to_dict()).encode(), np.uint8)
        write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> Network:
        """Reads a network from a file that :meth:`save` wrote.

        :raises ValueError: if the file is missing or holds no network; the message is one line.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"cannot read the network {path}: {getattr(error, 'strerror', None) or error}") from None
        return cls._of_arrays(path, arrays)

    @classmethod
    def _of_arrays(cls, path: AnyPath, arrays: Mapping[str, NDArray[Any]]) -> Network:
        parameters = {name: values for name, values in arrays.items() if name != _MODEL}
        if _MODEL not in arrays:
            raise ValueError(f"{path} holds no network")
        try:
            return cls(Model.from_dict(json.loads(arrays[_MODEL].tobytes())), parameters)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no usable network: {error}") from None
