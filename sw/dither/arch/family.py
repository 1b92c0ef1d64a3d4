"""The two families of engines, and what sets them apart.

Engines of both execute the same instructions with the same results. ``FULL`` ones have parallel
units for a large FPGA; ``COMPACT`` ones do one thing after the other in a fraction of the logic.
What is only a number or a yes stands here; cycles are in :mod:`dither.arch.timing`, gateware in
``dither_hw.engines``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["COMPACT", "FULL", "Family"]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What all engines of one family have in common.

    Each family is one object, which tables may have as a key.
    """

    name: str
    """What people call engines of this family."""
    headroom: int
    """Bits of CONTRACT's accumulators above those of a product: log2 of the terms of any size."""
    beat_bits: int | None
    """Bits of a stream's beat, into which words are cut; None: a beat is a word or a part of it."""
    host_read_cycles: int
    """Cycles from a register's address at the host port to its content."""
    least_weights: int
    """The fewest words of a weight memory, which its block RAMs hold in any case."""
    bridged: bool
    """Whether registers stand between the link and the engine.

    An engine that fills half a chip is far away from its link; a small one has no room for them.
    """
    fixed: Mapping[str, int] = field(default_factory=dict)
    """Parameters of the configuration that have one possible value."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """The largest values of parameters, where they are smaller than for all engines."""


FULL = Family("full", headroom=12, beat_bits=None, host_read_cycles=2, least_weights=1024, bridged=True)
COMPACT = Family(
    "compact",
    headroom=8,
    beat_bits=16,
    host_read_cycles=1,
    least_weights=0,
    bridged=False,
    fixed={"rows": 1, "width": 16, "activation_tables": 0, "wide_probes": 0, "local_learning": 0},
    # Lanes: the next tile's addresses take as long as the drain of eight lanes. Depths: the address
    # fields that follow CONTRACT's single bits have eleven bits.
    limits={"lanes": 8, "activation_depth": 2048, "parameter_depth": 2048, "program_depth": 1 << 14},
)
