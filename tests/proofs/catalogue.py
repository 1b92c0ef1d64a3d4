"""All proofs there are."""

from __future__ import annotations

from . import bridge, cobs, generator, interpolator, loops, packing, requantiser, serial, streams, transfer

__all__ = ["PROOFS"]

PROOFS = tuple(
    proof
    for module in (requantiser, interpolator, generator, loops, transfer, streams, bridge, packing, cobs, serial)
    for proof in module.PROOFS
)
"""Every proof, in the order of the page about them."""
