"""A network with its parameters: from PyTorch, from a file or from a run, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..tools.archives import read_archive
from ..tools.files import write_atomically
from . import reference
from .models import Model, Parameters

if TYPE_CHECKING:
    from ..runs import RunFolder

__all__ = ["Network"]

_MODEL = "model"
"""Array of the description: JSON, as bytes. Parameters' names contain a dot, so none of them is
called like that.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model and values for all its parameters, float64.

    :raises ValueError: if names or shapes are not the model's, or a value is NaN or infinite.
    """

    model: Model
    parameters: Parameters

    def __post_init__(self) -> None:
        self.model.check_parameters(self.parameters)
        values = {name: np.asarray(self.parameters[name], np.float64) for name in self.model.parameter_shapes()}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise ValueError(f"parameter {name} has NaN or infinite values")
        object.__setattr__(self, "parameters", values)

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float64]:
        """Outputs in float64, shape (samples, outputs), for inputs of shape (samples, inputs)."""
        return reference.forward(self.model, self.parameters, inputs)

    def save(self, path: Path) -> None:
        """Writes a file in NumPy's archive format, conventionally ``NAME.npz``.

        :raises OSError: if it cannot be written.
        """
        arrays: dict[str, Any] = dict(self.parameters)
        arrays[_MODEL] = np.frombuffer(json.dumps(self.model.to_dict()).encode(), np.uint8)
        write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: Path) -> Network:
        """The network in a file that :meth:`save` wrote.

        :raises ValueError: if the file is missing or holds no network; the message is one line.
        """
        try:
            arrays = read_archive(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot read the network {path}: {getattr(error, 'strerror', None) or error}") from None
        return cls._of_arrays(path, arrays)

    @classmethod
    def _of_arrays(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Network:
        parameters = {name: values for name, values in arrays.items() if name != _MODEL}
        if _MODEL not in arrays:
            raise ValueError(f"{path} holds no network")
        try:
            return cls(Model.from_dict(json.loads(arrays[_MODEL].tobytes())), parameters)
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{path} holds no usable network: {error}") from None

    @classmethod
    def of_run(cls, run: RunFolder) -> Network:
        """The network that a training run ended with, or was last logged with.

        :raises RunError: if the folder's files are damaged.
        """
        rows = run.curve()
        run.require(bool(rows), "has logged no step yet")
        record = run.history(rows)[-1]
        model = Model.from_dict(run.description["model"])
        values, start = {}, 0
        for tensor in run.tensors:
            words = record[start : start + tensor.size]
            values[tensor.name] = np.ldexp(words.astype(np.float64), -tensor.frac).reshape(tensor.shape)
            start += tensor.size
        # A run may have learned matrices of its own besides the model's tensors.
        return cls(model, {name: values[name] for name in model.parameter_shapes()})

    def to_torch(self) -> Any:
        """The same network as a ``torch.nn.Sequential``; trains of cores become whole matrices.

        It takes inputs of shape (samples, inputs), as the model does.

        :raises ImportError: if PyTorch is not installed.
        """
        from ..pytorch import to_torch

        return to_torch(self)
