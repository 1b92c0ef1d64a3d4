"""Figures of merit: what says how good a network is on data that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCURACY", "METRICS", "RELATIVE_L2", "Metric", "Scores"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit of a network on held-out data."""

    name: str
    """Name of this metric's column in ``curve.csv``."""
    title: str
    """Name for people, to be put before or behind the number."""
    caption: str
    """Words behind the number that say what it is."""
    lower: bool
    """Whether less is better, as for errors."""

    def text(self, value: float) -> str:
        """Returns a value of the metric as people read it: an error, or a percentage."""
        return f"{value:.3g}" if self.lower else f"{value:.2%}"

    def better(self, value: float, other: float) -> bool:
        """Returns whether one value is better than another."""
        return value < other if self.lower else value > other


@dataclass(frozen=True, slots=True)
class Scores:
    """Loss and figure of merit of a network on held-out data."""

    loss: float
    """Mean loss for each sample."""
    metric: float
    """Value of the task's :class:`Metric`."""
    confusion: list[list[int]] | None = None
    """Number of samples of each class (rows) that were taken for each class (columns); None if the
    task has no classes.
    """


ACCURACY = Metric("accuracy", "accuracy", "of held-out samples right", False)
"""Fraction of held-out samples that are classified right."""
RELATIVE_L2 = Metric("relative_l2", "relative L2 error", "relative L2 error of the solution", True)
"""Relative L2 error of the solution of a differential equation."""
METRICS = {metric.name: metric for metric in (ACCURACY, RELATIVE_L2)}
"""All metrics by their names."""
