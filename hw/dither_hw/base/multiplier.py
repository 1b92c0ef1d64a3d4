"""A multiplier with registers: the one place in the gateware where a product is formed.

It is on its own so that a board's primitive can take its place: only the latency is promised.
"""

from __future__ import annotations

from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.timing import MULTIPLIER_LATENCY

from .. import vendor
from ..vendor import ecp5

__all__ = ["MAX_OPERAND_WIDTH", "Multiplier"]

MAX_OPERAND_WIDTH = 18
"""Most bits of a multiplier's operand.

Next to a signed operand, an unsigned one needs one of these bits for a zero sign.
"""

assert MULTIPLIER_LATENCY == 2, "operand registers and a product register"


class Multiplier(wiring.Component):
    """Multiplies two numbers exactly: ``product = a * b``.

    Latency: :data:`~dither.arch.timing.MULTIPLIER_LATENCY` cycles (operand registers, product
    register); throughput: one product a cycle. The pipeline never pauses. Resources: one 18x18
    multiplier, on ECP5 with its own registers; elsewhere also one flip-flop for every bit of
    operands and product.

    :param a: shape of the first operand.
    :param b: shape of the second operand.
    :raises ValueError: if an operand is wider than :data:`MAX_OPERAND_WIDTH`.
    """

    def __init__(self, *, a: Shape, b: Shape) -> None:
        is_signed = a.signed or b.signed
        for name, shape in (("a", a), ("b", b)):
            width = shape.width + (is_signed and not shape.signed)
            if not 1 <= width <= MAX_OPERAND_WIDTH:
                raise ValueError(f"operand {name} must have from 1 to {MAX_OPERAND_WIDTH} bits, not {width}")
        product = signed(a.width + b.width) if is_signed else unsigned(a.width + b.width)
        super().__init__({"a": In(a), "b": In(b), "product": Out(product)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if vendor.family(platform) == vendor.ECP5:
            ecp5.multiplier(m, a=self.a, b=self.b, product=self.product)
            return m
        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        product = Signal.like(self.product, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
        m.d.comb += self.product.eq(product)
        return m
