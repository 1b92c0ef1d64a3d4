"""A network with its parameters: read from a file, a run or PyTorch, and written back."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..tools.files import write_atomically
from . import reference
from .models import Model, Parameters

if TYPE_CHECKING:
    from ..runs import RunFolder

__all__ = ["Network"]

_MODEL = "model"
"""Name of the array that holds the model's description: JSON, as bytes.

No parameter has this name, as theirs contain a dot.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model together with float64 values for all its parameters.

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

    def save(self, path: Path) -> None:
        """Writes the network to a file in NumPy's archive format, conventionally ``NAME.npz``.

        :raises OSError: if it cannot be written.
        """
        arrays: dict[str, Any] = dict(self.parameters)
        arrays[_MODEL] = np.frombuffer(json.dumps(self.model.to_dict()).encode(), np.uint8)
        write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: Path) -> Network:
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
    def _of_arrays(cls, path: Path, arrays: Mapping[str, NDArray[Any]]) -> Network:
        parameters = {name: values for name, values in arrays.items() if name != _MODEL}
        if _MODEL not in arrays:
            raise ValueError(f"{path} holds no network")
        try:
            return cls(Model.from_dict(json.loads(arrays[_MODEL].tobytes())), parameters)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no usable network: {error}") from None

    @classmethod
    def of_run(cls, run: RunFolder) -> Network:
        """Returns the network of a training run as of its last logged step.

        :raises RunError: if the run has not logged a step yet or its files are damaged.
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
        # Besides the model's tensors, a run may hold feedback matrices that it learned.
        return cls(model, {name: values[name] for name in model.parameter_shapes()})

    def to_torch(self) -> Any:
        """Returns the same network as a ``torch.nn.Sequential``.

        It takes inputs of shape (samples, inputs), as the model does. Tensor trains become whole
        matrices.

        :raises ImportError: if PyTorch is not installed.
        """
        from ..pytorch import to_torch

        return to_torch(self)
