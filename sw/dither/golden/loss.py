"""The loss unit's twin: per-lane losses in integers, summed into a register."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..device import DeviceError
from ..fixedpoint import shift_round
from ..isa import LossKind
from ..tables import SCALAR_INPUT_BITS, ScalarTable, scalar_lookup

__all__ = ["LN2", "LOSS_BITS", "MAX_FRAC", "cross_entropy", "floor_log2", "loss", "squared_error"]

LN2 = 45426
"""ln 2 with 16 fraction bits."""
LOSS_BITS = 24
"""A lane's loss is clipped to so many bits, unsigned."""
MAX_FRAC = 16
"""Most fraction bits of outputs and of losses."""
_EXP_FRAC = 12  # fraction bits of the exponential's input
_ONE = 17  # log2 of exp(0) in units of the exponential's output


def floor_log2(values: ArrayLike) -> NDArray[np.int64]:
    """Position of the leading one of integers from 1 to 2**53 - 1, int64."""
    exponents: NDArray[np.int32] = np.frexp(np.asarray(values, dtype=np.float64))[1]
    return exponents.astype(np.int64) - 1


def cross_entropy(
    outputs: ArrayLike, labels: ArrayLike, *, z_frac: int, values: ArrayLike, slopes: ArrayLike
) -> NDArray[np.int64]:
    """Softmax cross-entropy of every lane: ``ln(sum exp(z_c - max z)) + max z - z_label``.

    :param outputs: integers with ``z_frac`` fraction bits, shape (C, L).
    :param labels: class of each lane, shape (L,), each from 0 to C - 1.
    :param values: the scalar-table memory, see :func:`dither.tables.scalar_tables`.
    :param slopes: the same.
    :returns: int64 of shape (L,), 16 fraction bits, neither rounded nor clipped.
    :raises DeviceError: if a sum of exponentials is zero, which only tables that nobody loaded give.
    """
    z = np.asarray(outputs, dtype=np.int64)
    chosen = np.asarray(labels, dtype=np.int64)
    distance = z.max(axis=0) - z
    exponent = np.minimum(shift_round(distance, z_frac - _EXP_FRAC), (1 << SCALAR_INPUT_BITS) - 1)
    total = scalar_lookup(values, slopes, ScalarTable.EXP, exponent).sum(axis=0)
    if not total.all():
        raise DeviceError("LOSS: a sum of exponentials is zero; load the scalar tables first")
    e = floor_log2(total)
    mantissa = np.where(e < 16, total << np.maximum(16 - e, 0), total >> np.maximum(e - 16, 0)) & 0xFFFF
    logarithm = scalar_lookup(values, slopes, ScalarTable.LOG, mantissa) + (e - _ONE) * LN2
    result: NDArray[np.int64] = logarithm + (distance[chosen, np.arange(z.shape[1])] << (16 - z_frac))
    return result


def squared_error(outputs: ArrayLike, targets: ArrayLike) -> NDArray[np.int64]:
    """Sum of squares of the differences of every lane.

    :param outputs: integers, shape (C, L).
    :param targets: integers with as many fraction bits, shape (C, L).
    :returns: int64 of shape (L,) with twice as many fraction bits, neither rounded nor clipped.
    """
    difference = np.asarray(outputs, dtype=np.int64) - np.asarray(targets, dtype=np.int64)
    result: NDArray[np.int64] = np.square(difference).sum(axis=0)
    return result


def loss(
    kind: LossKind,
    outputs: ArrayLike,
    labels: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    z_frac: int,
    loss_frac: int,
    values: ArrayLike = (),
    slopes: ArrayLike = (),
) -> tuple[NDArray[np.int64], int]:
    """What LOSS computes: each lane's loss, rounded half-up to ``loss_frac`` bits and clipped to 24 bits.

    :param outputs: the network's outputs, integers of shape (C, L).
    :param labels: integers of shape (L,); a negative one masks its lane, for CROSS_ENTROPY one from C on too.
    :param targets: integers of shape (C, L), for SQUARED_ERROR.
    :param z_frac: fraction bits of outputs and targets, 0 to 16.
    :param loss_frac: fraction bits of a lane's loss, 0 to 16.
    :param values: the scalar-table memory, for CROSS_ENTROPY.
    :param slopes: the same.
    :returns: the lanes' losses, int64 of shape (L,), zero where masked (their sum modulo 2**32 goes to the register),
        and the number of clips.
    :raises DeviceError: if ``z_frac`` or ``loss_frac`` is out of range.
    """
    for name, frac in (("z_frac", z_frac), ("loss_frac", loss_frac)):
        if not 0 <= frac <= MAX_FRAC:
            raise DeviceError(f"LOSS: {name} must be from 0 to {MAX_FRAC}, not {frac}")
    z = np.asarray(outputs, dtype=np.int64)
    chosen = np.asarray(labels, dtype=np.int64)
    active = chosen >= 0
    if kind is LossKind.CROSS_ENTROPY:
        active &= chosen < len(z)
    lanes = np.flatnonzero(active)
    result = np.zeros(z.shape[1], np.int64)
    if not len(lanes):
        return result, 0
    if kind is LossKind.CROSS_ENTROPY:
        raw = cross_entropy(z[:, lanes], chosen[lanes], z_frac=z_frac, values=values, slopes=slopes)
        frac = 16
    else:
        raw = squared_error(z[:, lanes], np.asarray(targets, dtype=np.int64)[:, lanes])
        frac = 2 * z_frac
    highest = (1 << LOSS_BITS) - 1
    # A left shift could leave 64 bits; whatever is beyond 24 bits before it is clipped behind it all the same.
    scaled = shift_round(raw if frac >= loss_frac else np.minimum(raw, highest + 1), frac - loss_frac)
    result[lanes] = np.minimum(scaled, highest)
    return result, int(np.count_nonzero(scaled > highest))
