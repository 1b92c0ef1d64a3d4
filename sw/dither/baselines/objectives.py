"""Losses and scores in PyTorch: for classes, and for residuals of differential equations."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..physics import Problem, Stencil
from ..physics.expressions import Derivative
from ..runs.metrics import Scores
from ..train.equations import EquationTask
from ..train.tasks import Task

__all__ = ["Classes", "Objective", "Residuals"]

EVALUATED = 2000
"""Number of samples that are evaluated at once.

What lies between layers must fit the caches or at least the memory.
"""
Network = Any
"""PyTorch module that is trained."""


class Objective(Protocol):
    """What a baseline is trained for: a loss, and a score on held-out data."""

    @property
    def evaluations(self) -> int:
        """How often a sample goes through the network in one step."""

    def loss(self, network: Network, inputs: NDArray[Any], targets: NDArray[Any] | None) -> torch.Tensor:
        """Returns the mean loss of a batch, to be differentiated.

        :param inputs: shape (samples, features).
        :param targets: shape (samples,), or None without any.
        """

    def score(self, network: Network) -> Scores:
        """Returns how the network does on held-out data."""


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


class Classes:
    """Cross entropy and accuracy of a classification task."""

    evaluations = 1
    """How often a sample goes through the network in one step."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def loss(self, network: Network, inputs: NDArray[Any], targets: NDArray[Any] | None) -> torch.Tensor:
        """Returns the mean cross entropy of a batch, to be differentiated.

        :param inputs: shape (samples, features).
        :param targets: classes, shape (samples,).
        """
        assert targets is not None
        return torch.nn.functional.cross_entropy(network(_tensor(inputs)), torch.from_numpy(targets))

    def score(self, network: Network) -> Scores:
        """Returns cross entropy and accuracy on held-out data."""
        test = self.task.test
        with torch.no_grad():
            parts = [network(_tensor(test.inputs[i : i + EVALUATED])) for i in range(0, len(test), EVALUATED)]
            outputs, labels = torch.cat(parts), torch.from_numpy(test.labels)
            loss = float(torch.nn.functional.cross_entropy(outputs, labels))
            return Scores(loss, float((outputs.argmax(dim=1) == labels).double().mean()))


class Residuals:
    """Squared residuals of a differential equation, and the relative error of its solution.

    :param autograd: whether to differentiate the network itself, rather than take differences as
        the task's stencil says.
    """

    def __init__(self, task: EquationTask, *, autograd: bool) -> None:
        self.task = task
        self.form = task.problem.form
        self.autograd = autograd
        stencil = task.stencil
        self._offsets = _tensor(stencil.offsets)
        self._weights = [_tensor(stencil.first), _tensor(stencil.second)]

    @property
    def problem(self) -> Problem:
        """The differential equation that is solved."""
        return self.task.problem

    @property
    def stencil(self) -> Stencil:
        """Nodes and weights by which differences are taken."""
        return self.task.stencil

    @property
    def evaluations(self) -> int:
        """How often a sample goes through the network in one step.

        Derivatives by back-propagation do not count.
        """
        return 1 if self.autograd else self.stencil.nodes

    def loss(self, network: Network, inputs: NDArray[Any], targets: NDArray[Any] | None) -> torch.Tensor:
        """Returns the mean squared residual at a batch of points, to be differentiated.

        :param inputs: points of shape (samples, dimensions).
        :param targets: not used.
        """
        points = _tensor(inputs)
        fields = self._exact(network, points) if self.autograd else self._differences(network, points)
        total = _tensor(self.form.source.value(inputs))
        for term in self.form.terms:
            inner = torch.zeros(len(points))
            for number, factors in term.parts:
                product = torch.full((len(points),), number)
                for atom in factors:
                    product = product * fields[atom]
                inner = inner + product
            total = total + _tensor(term.coefficient.value(inputs)) * inner
        return (total**2).mean()

    def _differences(self, network: Network, points: torch.Tensor) -> dict[Derivative, torch.Tensor]:
        nodes = (points[:, None, :] + self._offsets).reshape(-1, points.shape[1])
        values = network(nodes).reshape(len(points), -1)
        differences = values - values[:, :1]
        return {
            atom: differences @ self._weights[len(atom.by) - 1][atom.by[0]] if atom.by else values[:, 0]
            for atom in self.form.atoms()
        }

    def _exact(self, network: Network, points: torch.Tensor) -> dict[Derivative, torch.Tensor]:
        points = points.requires_grad_(True)
        values = network(points)[:, 0]
        atoms = self.form.atoms()
        (slopes,) = torch.autograd.grad(values.sum(), points, create_graph=True)
        fields = {}
        for atom in atoms:
            match atom.by:
                case ():
                    fields[atom] = values
                case (axis,):
                    fields[atom] = slopes[:, axis]
                case (axis, _):
                    (second,) = torch.autograd.grad(slopes[:, axis].sum(), points, create_graph=True)
                    fields[atom] = second[:, axis]
        return fields

    def score(self, network: Network) -> Scores:
        """Returns loss and relative error on held-out data.

        The error is measured at all test points, the loss at the task's range points only.
        """
        points = self.task.test_points
        with torch.no_grad():
            outputs = torch.cat([network(_tensor(part)) for part in np.array_split(points, 5)]).double().numpy()[:, 0]
        loss = float(self.loss(network, self.task.range_inputs, None).detach())
        return Scores(loss, self.problem.relative_error(points, outputs))
