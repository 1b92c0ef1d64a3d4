"""``joint``: all tensors of the network are perturbed together."""

from __future__ import annotations

from .layerwise import Layerwise

__all__ = ["Joint"]


class Joint(Layerwise):
    """One group of probes for all layers, which it serves at once: fewest passes, most noise."""

    name = "joint"
