"""The sum behind a multiplier: an accumulator takes its next product, or begins with it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed

from .. import vendor
from ..vendor import ecp5

__all__ = ["next_sum"]


def next_sum(m: Module, platform: object, product: Value, total: Signal, begin: Value, name: str) -> Value:
    """``product + (0 if begin else total)``, of ``total``'s width.

    Resources: an adder of that width. On ECP5 its own carry cells choose; elsewhere a LUT for each
    bit does.
    """
    addend = Signal(signed(len(total)), name=f"{name}_addend")
    m.d.comb += addend.eq(product)
    result = Signal(signed(len(total)), name=name)
    if vendor.family(platform) == vendor.ECP5:
        ecp5.masked_adder(m, a=addend, b=total, mask=begin, total=result)
    else:
        m.d.comb += result.eq(addend + Mux(begin, 0, total))
    return result
