"""``layerwise``: all tensors of a layer are perturbed together."""

from __future__ import annotations

from .probing import ParameterProbes, ProbeGroup

__all__ = ["Layerwise"]


class Layerwise(ParameterProbes):
    """One group of probes a layer."""

    name = "layerwise"

    def groups(self) -> list[ProbeGroup]:
        return [ProbeGroup(tuple(self.names), self.probes, self.distribution)]
