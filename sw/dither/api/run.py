"""A training run, and what people ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..compiler import CompileError, compile_inference, formats_from_dict, formats_to_dict
from ..data import AS_THEY_ARE, Scaling
from ..inference import Bundle, Predictor, probabilities
from ..nn.models import Model
from ..runs import CurveRow, RunError, RunFolder
from ..runs.metrics import ACCURACY
from ..tools.files import AnyPath
from ..train.equations import EquationTask
from ..train.experiment import Experiment, roomy
from ..train.task import TaskError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Run", "load_run"]

LANES = 128
"""Lanes of a golden machine that predicts: more would not make it faster."""


def load_run(path: AnyPath) -> Run:
    """Opens the folder that a training run left behind.

    ``load_run("runs/digits-golden-1").predict(x)`` is what its network says of new samples,
    ``.network()`` the network itself, ``.curve()`` its learning curve, ``.description`` everything
    else that is known of it.

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

    def bundle(self, engine: EngineConfig | None = None) -> Bundle:
        """Returns the trained network as a program with parameters, for the last logged step.

        It gives the outputs that the run's engine gave, bit for bit, on any geometry.

        :param engine: engine that it is for; a large one, which a golden machine is fast with, if
            None.
        :raises RunError: if the folder lacks what it takes.
        :raises CompileError: if the network does not fit the engine.
        """
        values = self.description
        try:
            if (forward := values.get("forward")) is None:
                # A run of an older version: its formats follow from its task.
                experiment = Experiment.of_run(self)
                forward = formats_to_dict(experiment.compile(experiment.load(), experiment.roomy).formats)
            held = compile_inference(
                Model.from_dict(values["model"]),
                formats_from_dict(forward),
                engine or roomy(self.engine, LANES),
                self.masters(),
            )
            return Bundle(held, values.get("title", self.path.name), self.scaling, self.classes)
        except (CompileError, TaskError):
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"{self.path / 'run.json'} does not describe the network: {error}") from None

    @property
    def engine(self) -> EngineConfig:
        """Engine that decided the run's number formats and whose cycles were counted.

        :raises RunError: if ``run.json`` lacks it.
        """
        try:
            return EngineConfig.from_dict(self.description["engine"])
        except (LookupError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} does not describe an engine: {error}") from None

    @property
    def scaling(self) -> Scaling:
        """How samples as they are become inputs of the network."""
        values = self.description.get("scaling")
        return Scaling.from_dict(values) if values else AS_THEY_ARE

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """Label of each class, in the order of the network's outputs; None for an equation."""
        if self.metric is not ACCURACY:
            return None
        return tuple(self.description.get("classes") or range(self.description["sizes"][-1]))

    def export(self, path: AnyPath, engine: EngineConfig | None = None) -> Path:
        """Writes the trained network to a file whose suffix decides what it becomes.

        ``.npz`` is an archive of NumPy, ``.pt`` a state for PyTorch, ``.onnx`` a graph for other
        runtimes, ``.bundle`` a program with parameters that devices run without training.

        :param engine: engine of a bundle; the run's own if None.
        :raises BundleError: if there is no such kind of file, or it cannot be written.
        :raises ImportError: if the package that the format needs is not installed.
        :raises CompileError: if a bundle's program does not fit the engine.
        """
        from ..inference.export import BUNDLE, write_network

        own = Path(path).suffix == BUNDLE
        return write_network(path, self.network(), self.bundle(engine or (self.engine if own else None)))

    def outputs(self, x: ArrayLike, device: str = "golden") -> NDArray[np.float64]:
        """Returns the network's outputs, computed in fixed point as the engine does.

        :param x: samples as they are, shape (samples, …); for an equation, points.
        :param device: ``golden`` or ``rtl``, with the same bits.
        :returns: shape (samples, outputs).
        :raises ValueError: if samples have another shape than those of the run.
        """
        with Predictor(self.bundle(), device) as predictor:
            return predictor.outputs(x)

    def probabilities(self, x: ArrayLike) -> NDArray[np.float64]:
        """Returns the probability of each class, shape (samples, classes).

        :param x: samples as they are, shape (samples, …).
        :raises ValueError: if samples have another shape than those of the run.
        """
        self.require(self.metric is ACCURACY, "has no classes; ask for .predict(points)")
        return probabilities(self.outputs(x))

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Returns the class of each sample, as labels had it; for an equation, the solution.

        :param x: samples as they are, shape (samples, …); for an equation, points.
        :returns: shape (samples,).
        :raises ValueError: if samples have another shape than those of the run.
        """
        outputs = self.outputs(x)
        if self.metric is ACCURACY:
            return np.asarray(np.array(self.classes)[outputs.argmax(axis=1)])
        task = Experiment.of_run(self).load()
        self.require(isinstance(task, EquationTask), "is of no equation")
        solution = cast(EquationTask, task).problem.solution_of(np.asarray(x, np.float64), outputs[:, 0])
        return np.asarray(solution)

    def plot(self, path: AnyPath | None = None) -> Figure:
        """Draws loss and figure of merit over steps, and returns a Matplotlib figure.

        :param path: a picture to write as well, by its suffix.
        """
        from ..report.plots import learning_curves, save_figure
        from ..report.yardsticks import mark

        figure = learning_curves([(self.path.name, self.curve())], self.metric, mark(self.description, self.metric))
        if path is not None:
            save_figure(figure, path)
        return figure
