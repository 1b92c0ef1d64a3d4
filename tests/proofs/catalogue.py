"""All proofs there are."""

from __future__ import annotations

from . import (
    bridge,
    buffers,
    cobs,
    drain,
    generator,
    intake,
    interpolator,
    judge,
    loops,
    loss,
    packing,
    requantiser,
    sequencer,
    serial,
    streams,
    transfer,
    update,
)

__all__ = ["PROOFS"]

PROOFS = tuple(
    proof
    for module in (
        requantiser,
        interpolator,
        generator,
        loops,
        drain,
        sequencer,
        transfer,
        streams,
        bridge,
        packing,
        cobs,
        intake,
        judge,
        buffers,
        serial,
        update,
        loss,
    )
    for proof in module.PROOFS
)
"""Every proof, in the order of the page about them."""
