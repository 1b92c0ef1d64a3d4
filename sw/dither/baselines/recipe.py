"""Settings of a baseline run: batch, steps, learning rate and the like."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["DERIVATIVES", "SCHEDULES", "Baseline"]

DERIVATIVES = ("stencil", "autograd")
"""Names of the ways to take derivatives of a differential equation."""
SCHEDULES = ("constant", "cosine")
"""Names of the learning rate's schedules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Everything that decides a baseline run, besides task and network.

    :raises ValueError: on values out of range.
    """

    batch: int
    """Number of samples in an optimiser step."""
    steps: int
    """Number of optimiser steps."""
    rate: float = 1e-3
    """Learning rate of Adam, with its usual betas of 0.9 and 0.999 (Kingma and Ba, 2015)."""
    schedule: str = "cosine"
    """Schedule of the learning rate: ``constant``, or ``cosine`` to zero at the last step."""
    seed: int = 1
    """Seed of initial values and of the samples' order: both are those of ``dither train``."""
    log_every: int = 100
    """Number of optimiser steps between evaluations."""
    derivatives: str = "stencil"
    """Derivatives of a differential equation: ``stencil``, as the engine's, or ``autograd``."""
    threads: int = 1
    """Number of PyTorch's threads."""

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "log_every", "threads"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate must be a positive number, not {self.rate!r}")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed must be of 32 bits, not {self.seed!r}")
        for name, known in (("schedule", SCHEDULES), ("derivatives", DERIVATIVES)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of step ``step``, counted from 0."""
        if self.schedule == "constant":
            return self.rate
        return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
