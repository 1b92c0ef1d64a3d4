"""A run's logged steps: lines of ``curve.csv`` and tensors of ``history``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["COLUMNS", "CurveRow", "TensorRecord", "parameter_digest"]


def parameter_digest(parameters: ArrayLike) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of all masters.

    :param parameters: masters in logical order; hashed as int32, little-endian.
    """
    return hashlib.sha256(np.ascontiguousarray(parameters, "<i4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor in the history: its name, its shape and its number format."""

    name: str
    """Name of the tensor, such as ``0.core1``."""
    shape: tuple[int, ...]
    """Shape of the tensor as the model has it."""
    frac: int
    """Number of fraction bits of its master parameters."""

    @property
    def size(self) -> int:
        """Number of parameters in the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One line of ``curve.csv``: how a run does at one logged step."""

    step: int
    """Number of optimiser steps done."""
    forwards: int
    """Number of samples that went through the network so far, in training."""
    macs: int
    """Number of multiply-accumulates of training so far, local gradients included."""
    train_loss: float
    """Mean unperturbed training loss of the steps since the last line; NaN where there was none."""
    loss: float
    """Mean loss on held-out data."""
    metric: float
    """Figure of merit on held-out data, by the run's :class:`~dither.runs.metrics.Metric`.

    The metric's name is the name of the column.
    """
    digest: str
    """Digest of the masters, as from :func:`parameter_digest`."""

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> CurveRow:
        """Makes a row from the cells of a line, by column name.

        :raises ValueError: if a cell is not a number where one is needed.
        """
        return cls(
            int(values["step"]),
            int(values["forwards"]),
            int(values["macs"]),
            float(values["train_loss"]),
            float(values["loss"]),
            float(values["metric"]),
            values["digest"],
        )

    def cells(self) -> list[str]:
        """Returns the cells of the line as text, in the order of the columns."""
        return [str(getattr(self, field.name)) for field in fields(self)]


COLUMNS = [field.name for field in fields(CurveRow)]
"""Names of the columns of a curve; the metric's own name takes the place of ``metric``."""
