"""The same trainings in PyTorch, float32, on one thread: what the native machine is compared with.

Samples stand in the last index, as in the engine, which is PyTorch's fastest layout here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..compiler import Compiled
from ..compiler.plan.planner import LayerPlan

__all__ = ["Loss", "MirrorTwin", "ProbesTwin", "class_loss", "twin_of"]

Loss = Callable[[Callable[[torch.Tensor], torch.Tensor], NDArray[Any], NDArray[Any] | None], torch.Tensor]
"""Returns the mean loss of a network's outputs for some inputs and targets.

The network takes (samples, features) and gives (samples, outputs).
"""
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": torch.clone,
    "relu": torch.relu,
    "sine": torch.sin,
    "tanh": torch.tanh,
}


def class_loss(
    network: Callable[[torch.Tensor], torch.Tensor], inputs: NDArray[Any], targets: NDArray[Any] | None
) -> torch.Tensor:
    """Returns the mean cross entropy of some samples."""
    outputs = network(torch.tensor(inputs, dtype=torch.float32))
    return torch.nn.functional.cross_entropy(outputs, torch.tensor(targets))


class _Stage:
    """A tensor of parameters, and what is done with it: a contraction, or bias and activation."""

    def __init__(self, values: NDArray[Any], work: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        self.parameters = torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)
        self.work = work


def _contractions(plan: LayerPlan, values: dict[str, NDArray[Any]]) -> list[_Stage]:
    return [
        _Stage(
            values[step.tensor].transpose(step.axes).reshape(step.K, step.M).T,
            lambda w, x, step=step: torch.matmul(w, x.reshape(step.P, step.K, -1)),  # type: ignore[misc]
        )
        for step in plan.steps
    ]


def _layer(plan: LayerPlan, values: dict[str, NDArray[Any]]) -> list[_Stage]:
    activation = _ACTIVATIONS[plan.layer.activation]
    bias = _Stage(values[f"{plan.position}.bias"], lambda b, x: activation(x.reshape(len(b), -1) + b[:, None]))
    return [*_contractions(plan, values), bias]


def _run(stages: list[_Stage], state: torch.Tensor) -> torch.Tensor:
    for stage in stages:
        state = stage.work(stage.parameters, state)
    return state


class ProbesTwin:
    """Probes of parameters; what comes before the perturbed tensors is taken from the base pass.

    :param loss: loss of a tile.
    """

    def __init__(self, compiled: Compiled, loss: Loss) -> None:
        self._recipe, self._loss = compiled.recipe, loss
        values = compiled.model.initial_parameters(1)
        self._stages: list[_Stage] = []
        self._groups: list[tuple[range, int]] = []  # stages that are perturbed together, and their probes
        for layer, plan in enumerate(compiled.plans):
            first = len(self._stages)
            self._stages += _layer(plan, values)
            stages = range(first, len(self._stages))
            probes = self._recipe.probes if isinstance(self._recipe.probes, int) else self._recipe.probes[layer]
            by_layer = self._recipe.estimator == "layerwise"
            self._groups += [(stages, probes)] if by_layer else [(range(i, i + 1), probes) for i in stages]
        if self._recipe.estimator == "joint":
            self._groups = [(range(len(self._stages)), probes)]
        self._optimiser = torch.optim.Adam([stage.parameters for stage in self._stages], lr=self._recipe.rate)

    def train(self, first_step: int, inputs: NDArray[Any], targets: NDArray[Any] | None) -> object:
        """Trains a step for each batch."""
        tile = self._recipe.tile
        with torch.no_grad():
            for batch, samples in enumerate(inputs):
                gradients = [torch.zeros_like(stage.parameters) for stage in self._stages]
                for first in range(0, len(samples), tile):
                    part = slice(first, first + tile)
                    self._probe(samples[part], None if targets is None else targets[batch, part], gradients)
                for stage, gradient in zip(self._stages, gradients, strict=True):
                    stage.parameters.grad = gradient
                self._optimiser.step()
        return None

    def _probe(self, samples: NDArray[Any], targets: NDArray[Any] | None, gradients: list[torch.Tensor]) -> None:
        two_sided, mu = self._recipe.sides == "two", self._recipe.mu
        base = torch.zeros(())
        states: list[torch.Tensor] = []

        def pass_of_all(x: torch.Tensor) -> torch.Tensor:
            states.append(x.T.contiguous())
            for stage in self._stages:
                states.append(stage.work(stage.parameters, states[-1]))
            return states[-1].T

        if not (two_sided and len(self._groups) == 1):  # else nothing asks for the base pass
            base = self._loss(pass_of_all, samples, targets)
        for group, probes in self._groups:
            for _ in range(probes):
                signs = {i: self._signs(i) for i in group}
                difference = self._probed(group, signs, mu, states, samples, targets)
                difference -= self._probed(group, signs, -mu, states, samples, targets) if two_sided else base
                for i, sign in signs.items():
                    gradients[i] += difference * sign

    def _signs(self, stage: int) -> torch.Tensor:
        return torch.randint(0, 2, self._stages[stage].parameters.shape, dtype=torch.float32) * 2 - 1

    def _probed(
        self,
        group: range,
        signs: dict[int, torch.Tensor],
        mu: float,
        states: list[torch.Tensor],
        samples: NDArray[Any],
        targets: NDArray[Any] | None,
    ) -> torch.Tensor:
        def network(x: torch.Tensor) -> torch.Tensor:
            state = states[group.start] if states else x.T.contiguous()
            for i in range(group.start, len(self._stages)):
                stage = self._stages[i]
                parameters = stage.parameters + mu * signs[i] if i in signs else stage.parameters
                state = stage.work(parameters, state)
            return state.T

        return self._loss(network, samples, targets)


class MirrorTwin:
    """A hidden layer that learns by a learned feedback matrix, behind it one that learns exactly.

    The matrix is a tensor train of the last layer's shape. Derivatives within a layer are
    PyTorch's; nothing is carried back from one layer to the next but by the matrix.
    """

    def __init__(self, compiled: Compiled) -> None:
        first, last = compiled.plans
        values = compiled.model.initial_parameters(1)
        self._first, self._last = _layer(first, values), _layer(last, values)
        self._feedback = _contractions(last, compiled.model.initial_parameters(2))
        self._mu = compiled.recipe.activity_mu
        parameters = [stage.parameters for stage in (*self._first, *self._last, *self._feedback)]
        for tensor in parameters:
            tensor.requires_grad_(True)
        slow = [stage.parameters for stage in self._feedback]
        rate = compiled.recipe.rate
        groups = [
            {"params": [tensor for tensor in parameters if all(tensor is not other for other in slow)]},
            {"params": slow, "lr": rate * 2.0**-compiled.recipe.feedback_slowness},
        ]
        self._optimiser = torch.optim.Adam(groups, lr=rate)

    def train(self, first_step: int, inputs: NDArray[Any], targets: NDArray[Any] | None) -> object:
        """Trains a step for each batch."""
        assert targets is not None
        for samples, classes in zip(inputs, targets, strict=True):
            self._optimiser.zero_grad()
            hidden = _run(self._first, torch.tensor(samples.T, dtype=torch.float32).contiguous())
            seen = hidden.detach()
            outputs = _run(self._last, seen)
            torch.nn.functional.cross_entropy(outputs.T, torch.tensor(classes)).backward()
            with torch.no_grad():
                errors = outputs.softmax(dim=0)
                errors[torch.tensor(classes), torch.arange(len(classes))] -= 1
                signs = torch.randint(0, 2, seen.shape, dtype=torch.float32) * 2 - 1
                response = (_run(self._last, seen + self._mu * signs) - outputs) / self._mu
            predicted = _run(self._feedback, signs.requires_grad_(True)).reshape(len(errors), -1)
            (signal,) = torch.autograd.grad(predicted, signs, errors, retain_graph=True)
            predicted.backward(predicted.detach() - response)
            hidden.backward(signal)
            self._optimiser.step()
        return None


def twin_of(compiled: Compiled, loss: Loss) -> ProbesTwin | MirrorTwin:
    """Returns the twin of a training."""
    torch.set_num_threads(1)
    return MirrorTwin(compiled) if compiled.recipe.estimator == ("mirror", "exact") else ProbesTwin(compiled, loss)
