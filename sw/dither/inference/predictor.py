"""A bundle on a device: samples in, outputs, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.device import DeviceError
from ..compiler import Command
from ..data import as_inputs
from ..devices import Status, build_device
from .bundle import Bundle

__all__ = ["Predictor", "probabilities"]

SAMPLES = 1024
"""Samples of one command, about: enough to be cheap, few enough for a lively display."""


def probabilities(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the softmax of outputs, shape (samples, outputs)."""
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class Predictor:
    """A device with a bundle loaded; a context manager, which gives the device back.

    :param bundle: what to run.
    :param device: ``golden``, ``rtl``, or a line to a board, whose engine must be the bundle's.
    :param status: called with what is going on before it takes long.
    :raises DeviceError: if the device cannot be built, or the program does not run on it.
    """

    def __init__(self, bundle: Bundle, device: str = "golden", status: Status = lambda text: None) -> None:
        self.bundle = bundle
        self.device = build_device(device, bundle.inference.engine, status=status)
        try:
            self.device.write_program(bundle.inference.program)
            for command in bundle.inference.begin():
                self._run(command)
        except ValueError as error:
            self.close()
            raise DeviceError(f"the bundle's program does not run: {error}") from None
        except BaseException:
            self.close()
            raise

    def _run(self, command: Command) -> list[NDArray[np.int64]]:
        return self.device.run(command.entry, command.inputs, command.expects).outputs

    def integers(self, inputs: ArrayLike, show: Callable[[int], None] = lambda done: None) -> NDArray[np.int64]:
        """Returns the network's outputs as the engine holds them, shape (samples, outputs).

        :param inputs: samples as they are, shape (samples, …).
        :param show: called with the number of samples done.
        :raises DataError: if they are no numbers, or of another shape.
        """
        held = self.bundle.inference
        values = self.bundle.scaling(as_inputs(inputs, "the input", held.inputs))
        block = -(-SAMPLES // held.engine.lanes) * held.engine.lanes
        found = []
        for first in range(0, len(values), block):
            part = values[first : first + block]
            found.append(held.read(self._run(held.evaluate(part)), len(part)))
            show(first + len(part))
        return np.concatenate(found)

    def outputs(self, inputs: ArrayLike, show: Callable[[int], None] = lambda done: None) -> NDArray[np.float64]:
        """Returns the network's outputs as real numbers, shape (samples, outputs)."""
        return self.bundle.inference.target.decode(self.integers(inputs, show))

    def classes(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Returns the label of the greatest output of each sample; of equal ones, the first.

        :param outputs: shape (samples, outputs).
        :raises ValueError: if outputs are values, of no classes.
        """
        if self.bundle.classes is None:
            raise ValueError("the network's outputs are values, no classes")
        return np.asarray(np.array(self.bundle.classes)[outputs.argmax(axis=1)])

    def close(self) -> None:
        """Gives the device back, which cannot be used afterwards."""
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
