"""``tensorwise``: every tensor is perturbed by itself."""

from __future__ import annotations

from .probing import ParameterProbes, ProbeGroup

__all__ = ["Tensorwise"]


class Tensorwise(ParameterProbes):
    """One group of probes a tensor: little noise a probe, and short passes for late tensors."""

    name = "tensorwise"

    def groups(self) -> list[ProbeGroup]:
        return [ProbeGroup((name,), self.probes, self.distribution) for name in self.names]
