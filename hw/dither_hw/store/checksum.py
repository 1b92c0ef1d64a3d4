"""The CRC-32 of Ethernet and zip, several bits at a time, for registers that change hands."""

from __future__ import annotations

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Value

__all__ = ["CRC_BITS", "CRC_RESIDUE", "crc32_next"]

CRC_BITS = 32
"""Width of the register."""
CRC_RESIDUE = 0xDEBB20E3
"""What the register holds behind any data and their own CRC, whatever it began with."""
_POLYNOMIAL = 0xEDB88320


def crc32_next(state: Value, data: Value) -> Value:
    """Returns the register behind ``data``, the lowest bit first.

    It begins with ones, or with the complement of what zlib.crc32 calls its second argument; the
    CRC is its complement. Each bit of the result is the exclusive or of some bits of both.

    :param state: the register before, :data:`CRC_BITS` bits.
    :param data: any number of bits.
    """
    # A set of inputs for each bit: bit i of a mask for bit i of the state, data above.
    bits = [1 << place for place in range(CRC_BITS)]
    for place in range(len(data)):
        fed = bits[0] ^ 1 << (CRC_BITS + place)
        bits = [following ^ (fed if _POLYNOMIAL >> i & 1 else 0) for i, following in enumerate([*bits[1:], 0])]
    inputs = [*state, *data]
    return Cat(reduce(xor, [value for i, value in enumerate(inputs) if mask >> i & 1]) for mask in bits)
