"""What says how good a network is, on data that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCURACY", "METRICS", "RELATIVE_L2", "Metric", "Scores"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit."""

    name: str
    """Of its column in ``curve.csv``."""
    title: str
    """For people, to be put before or behind the number."""
    caption: str
    """What the number is, behind it."""
    lower: bool
    """Whether less is better."""

    def text(self, value: float) -> str:
        """The number for people."""
        return f"{value:.3g}" if self.lower else f"{value:.2%}"

    def better(self, value: float, other: float) -> bool:
        """Whether one value is better than another."""
        return value < other if self.lower else value > other


@dataclass(frozen=True, slots=True)
class Scores:
    """How a network does on held-out data."""

    loss: float
    """Mean per sample."""
    metric: float
    """What the task's :class:`Metric` says."""


ACCURACY = Metric("accuracy", "accuracy", "of held-out samples right", False)
RELATIVE_L2 = Metric("relative_l2", "relative L2 error", "relative L2 error of the solution", True)
METRICS = {metric.name: metric for metric in (ACCURACY, RELATIVE_L2)}
"""By name."""
