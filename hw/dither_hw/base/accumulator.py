"""The sum behind a multiplier: an accumulator adds the next product, or begins with it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed

from .. import vendor
from ..vendor import ecp5

__all__ = ["next_sum"]


def next_sum(m: Module, platform: object, product: Value, total: Signal, begin: Value, name: str) -> Value:
    """Returns ``product + (0 if begin else total)``, as wide as ``total``.

    It is combinational: the caller registers it. Resources: an adder of that width. On ECP5 the
    adder's own carry cells choose between the two; elsewhere that takes a LUT for each bit.

    :param platform: what the gateware is built for; decides whether there are ECP5's carry cells.
    :param product: the next product, signed.
    :param total: the accumulator, signed.
    :param begin: 1 if the sum begins with this product.
    :param name: name of the signal returned.
    """
    addend = Signal(signed(len(total)), name=f"{name}_addend")
    m.d.comb += addend.eq(product)
    result = Signal(signed(len(total)), name=name)
    if vendor.family(platform) == vendor.ECP5:
        ecp5.masked_adder(m, a=addend, b=total, mask=begin, total=result)
    else:
        m.d.comb += result.eq(addend + Mux(begin, 0, total))
    return result
