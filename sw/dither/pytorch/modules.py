"""Layers that PyTorch itself does not have; importing this module imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..nn.models import TensorTrain
from ..nn.reference import Contraction

__all__ = ["AllStates", "LastState", "Sine", "TrainLinear"]


class Sine(nn.Module):
    """An activation function: the sine of every element."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the sine of every element, in the shape of ``inputs``."""
        return torch.sin(inputs)


class LastState(nn.Module):
    """A recurrent layer that returns the last time step's hidden state.

    :param rnn: the layer, with ``batch_first=True``.
    """

    def __init__(self, rnn: nn.RNN) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the last hidden states, shape (samples, hidden).

        :param inputs: shape (samples, steps, features).
        """
        states, _ = self.rnn(inputs)
        return states[:, -1]


class AllStates(LastState):
    """A recurrent layer that returns the hidden states of all time steps, side by side."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns all hidden states, shape (samples, steps * hidden).

        :param inputs: shape (samples, steps, features).
        """
        states, _ = self.rnn(inputs)
        return states.flatten(1)


class TrainLinear(nn.Module):
    """A linear layer held as a tensor train, contracted with its input as the engine does it.

    :param layer: the train's sizes.
    :param steps: the order of contractions; see :func:`dither.compiler.plan.planner.plan_layers`.
    :param cores: cores of shape (r_k, n_k, m_k, r_{k+1}), by the names in ``steps``.
    :param bias: shape (outputs,), or None.
    """

    def __init__(
        self,
        layer: TensorTrain,
        steps: Sequence[Contraction],
        cores: Mapping[str, torch.Tensor],
        bias: torch.Tensor | None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.steps = [(step, sorted(cores).index(step.tensor)) for step in steps]
        self.cores = nn.ParameterList(nn.Parameter(cores[name].clone()) for name in sorted(cores))
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        # Samples in the last index make every step one batched matrix product, without a
        # transposition.
        """Returns the layer's outputs, shape (samples, outputs).

        :param inputs: shape (samples, inputs).
        """
        state = inputs.T
        for step, number in self.steps:
            matrix = self.cores[number].permute(step.axes).reshape(step.K, step.M)
            state = torch.matmul(matrix.T, state.reshape(step.P, step.K, -1))
        found = state.reshape(self.layer.output_size, -1).T
        return found if self.bias is None else found + self.bias
