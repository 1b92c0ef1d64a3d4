"""A training run, and what people ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..runs import CurveRow, RunFolder
from ..runs.metrics import ACCURACY
from ..tools.files import AnyPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Run", "load_run"]


def load_run(path: AnyPath) -> Run:
    """Opens the folder that a training run left behind.

    ``load_run("runs/digits-golden-1").network()`` is the network that it trained, ``.curve()`` its
    learning curve, ``.description`` everything else that is known of it.

    :raises RunError: if there is no run, or none that this version of dither reads.
    """
    return Run.open(path)


class Run(RunFolder):
    """A training run: its folder, and what people ask of it."""

    @property
    def last(self) -> CurveRow:
        """The last logged step.

        :raises RunError: if nothing has been logged yet.
        """
        rows = self.curve()
        self.require(bool(rows), "has logged no step yet")
        return rows[-1]

    @property
    def accuracy(self) -> float:
        """Fraction of the held-out samples that are classified right, at the last logged step.

        :raises RunError: if the run is of an equation; :attr:`error` is its figure.
        """
        self.require(self.metric is ACCURACY, f"measures the {self.metric.title}, not an accuracy; ask for .error")
        return self.last.metric

    @property
    def error(self) -> float:
        """Relative error of an equation's solution, at the last logged step.

        :raises RunError: if the run is of samples with classes; :attr:`accuracy` is its figure.
        """
        self.require(self.metric.lower, f"measures the {self.metric.title}, not an error; ask for .accuracy")
        return self.last.metric

    @property
    def loss(self) -> float:
        """Mean loss of the held-out samples, at the last logged step."""
        return self.last.loss

    @property
    def report(self) -> Path:
        """Path of the run's report, one HTML page, which is written if it is not there."""
        from ..report import write_report

        path = self.path / "report.html"
        return path if path.exists() else write_report(self)

    def plot(self, path: AnyPath | None = None) -> Figure:
        """Draws loss and figure of merit over steps, and returns a Matplotlib figure.

        :param path: a picture to write as well, by its suffix.
        """
        from ..report.plots import learning_curves, save_figure

        figure = learning_curves([(self.path.name, self.curve())], self.metric)
        if path is not None:
            save_figure(figure, path)
        return figure
