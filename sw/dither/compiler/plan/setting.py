"""What is compiled: the facts that every part of the compiler starts from."""

from __future__ import annotations

from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...nn.models import Model
from ...recipe import Recipe
from .planner import LayerPlan

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A model with the contraction orders of its layers, a training recipe and an engine."""

    model: Model
    recipe: Recipe
    engine: EngineConfig
    plans: tuple[LayerPlan, ...]
    """One a layer, in order."""
