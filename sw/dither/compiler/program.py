"""A compiled program as data: its words, and everything that there is to know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.isa import Instruction
from ..nn.models import Model
from ..recipe import Recipe
from .code.network import Table
from .emitter import Emitter
from .formats.forward import Formats
from .layout.memory import ActivationMap
from .layout.tensors import Tensor
from .plan.planner import LayerPlan
from .plan.samples import Samples
from .rates import RateFormat

__all__ = ["Program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program for one model, recipe and engine."""

    model: Model
    recipe: Recipe
    engine: EngineConfig
    emitter: Emitter = field(repr=False)
    """What the words are made from."""
    program: tuple[int, ...]
    """32-bit words, from word 0."""
    entries: Mapping[str, int]
    """Word addresses of the entries that :mod:`dither.compiler.emitter` lists."""
    plans: tuple[LayerPlan, ...]
    memory: ActivationMap
    formats: Formats
    tensors: Mapping[str, Tensor]
    rates: RateFormat
    activation_tables: tuple[Table, ...]
    constants: tuple[int, ...]
    """Bias constants and, with recurrent layers, zeros for their first states, in address order."""
    forward: tuple[tuple[tuple[Instruction, ...], ...], ...]
    """Per layer, per step, the CONTRACTs (all of a chunked layer's in its first step)."""
    probe_passes: tuple[tuple[int, int, int], ...]
    """Forward passes of every lane group besides its base pass: the layer and step that they start
    at, and how many; an entry for each group of tensors perturbed together, or layer of perturbed
    activities."""
    samples: Samples
    """How samples become words."""
    fixed: tuple[tuple[Tensor, NDArray[np.int64]], ...] = ()
    """Tensors that no step changes, behind the others, with their working weights; no part of a
    state.
    """
    zeroed: int = 0
    """Words behind all tensors whose masters are zero."""
    parameter_words: int = 0
    """Words of the weight memory: all tensors, what is zeroed, transposes and signs."""
    initial: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Initial values of tensors that are no parameters of the model; the others begin at zero."""
    gradient_macs: int = 0
    """Useful multiply-accumulates per sample and step that gradients take besides forward
    passes."""
    evaluations_per_sample: int = 1
    """How often a forward pass runs the network: more than once where a loss is made of several
    evaluations.
    """
    objective_macs: int = 0
    """Useful multiply-accumulates per sample and forward pass besides the network's."""

    @property
    def words(self) -> int:
        """Words of the parameter memories that hold the state."""
        return sum(tensor.words for tensor in self.tensors.values())
