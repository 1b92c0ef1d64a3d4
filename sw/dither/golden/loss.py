"""The loss unit in software: losses lane by lane in integers, differences and derivatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.fixedpoint import saturate, shift_round
from ..arch.isa import Instruction, LossKind, LossMode
from ..arch.tables import SCALAR_INPUT_BITS, ScalarTable, scalar_lookup

__all__ = [
    "EXP_FRAC",
    "EXP_ONE",
    "LN2",
    "LOSS_BITS",
    "MAX_FRAC",
    "LossPlan",
    "LossResult",
    "floor_log2",
    "loss",
    "no_tables",
]

LN2 = 45426
"""Natural logarithm of 2 with 16 fraction bits."""
LOSS_BITS = 24
"""Number of bits, unsigned, that a lane's loss is clipped to."""
MAX_FRAC = 16
"""Most fraction bits of outputs and of losses."""
EXP_FRAC = 12
"""Fraction bits of the exponential's input."""
EXP_ONE = 17
"""Binary logarithm of exp(0), in units of the exponential's output."""


def floor_log2(values: ArrayLike) -> NDArray[np.int64]:
    """Returns the position of the leading one of integers from 1 to 2**53 - 1, int64."""
    exponents: NDArray[np.int32] = np.frexp(np.asarray(values, dtype=np.float64))[1]
    return exponents.astype(np.int64) - 1


def no_tables() -> DeviceError:
    """Returns what to raise where a sum of exponentials is zero."""
    return DeviceError("LOSS: a sum of exponentials is zero; load the scalar tables first")


class LossResult(NamedTuple):
    """Losses of all lanes, and what else LOSS computes of them."""

    losses: NDArray[np.int64]
    """Each lane's loss, rounded and clipped, zero where masked; shape (L,)."""
    active: NDArray[np.bool_]
    """Whether each lane is not masked; shape (L,)."""
    derivatives: NDArray[np.int64] | None
    """Derivatives by each output, zero in masked lanes; shape (C, L).

    None if they were not asked for.
    """
    clips: int
    """Number of losses and derivatives that were clipped."""


def _cross_entropy(
    z: NDArray[np.int64],
    labels: NDArray[np.int64],
    active: NDArray[np.bool_],
    z_frac: int,
    tables: tuple[ArrayLike, ArrayLike],
    width: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Returns softmax cross-entropies with 16 fraction bits and, if there is a width, derivatives.

    The loss is ``ln(sum exp(z_c - max z)) + max z - z_label``; derivatives are not yet clipped.

    Masked lanes are computed with the rest, which is cheaper than leaving them out; their labels
    must exist too.
    """
    highest = (1 << SCALAR_INPUT_BITS) - 1
    distance = z.max(axis=0) - z
    exponent = np.minimum(shift_round(distance, z_frac - EXP_FRAC), highest)
    total = scalar_lookup(*tables, ScalarTable.EXP, exponent).sum(axis=0)
    if not total.all() and not total[active].all():
        raise no_tables()
    e = floor_log2(total)
    mantissa = np.where(e < 16, total << np.maximum(16 - e, 0), total >> np.maximum(e - 16, 0)) & 0xFFFF
    logarithm = scalar_lookup(*tables, ScalarTable.LOG, mantissa) + (e - EXP_ONE) * LN2
    lanes = np.arange(z.shape[1])
    losses: NDArray[np.int64] = logarithm + (distance[labels, lanes] << (16 - z_frac))
    if width is None:
        return losses, None
    probability = np.minimum(exponent + shift_round(logarithm, 16 - EXP_FRAC), highest)
    derivatives = scalar_lookup(*tables, ScalarTable.EXP, probability)
    derivatives[labels, lanes] -= 1 << EXP_ONE
    shift = EXP_ONE + 2 - width
    # Halves go up or down with the lowest bit of the exponent, which is as good as random. Half-up
    # would add half a unit every 2**shift times.
    return losses, (derivatives + ((1 << (shift - 1)) - 1) + (probability & 1)) >> shift


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
    derivative_bits: int | None = None,
) -> LossResult:
    """Computes each lane's loss, rounded half-up to ``loss_frac`` bits and clipped to 24 bits.

    :param outputs: the network's outputs, integers of shape (C, L).
    :param labels: integers of shape (L,); a negative one masks its lane, for CROSS_ENTROPY one from
        C on too.
    :param targets: integers of shape (C, L), for SQUARED_ERROR.
    :param z_frac: fraction bits of outputs and targets, 0 to 16.
    :param loss_frac: fraction bits of a lane's loss, 0 to 16.
    :param values: values in the scalar-table memory, for CROSS_ENTROPY, as from
        :func:`dither.arch.tables.scalar_tables`.
    :param slopes: slopes in the scalar-table memory.
    :param derivative_bits: W, if derivatives are wanted, as LOSS writes them in mode ERROR: with W
        - 2 fraction bits for CROSS_ENTROPY, with ``z_frac`` (and without the factor 2) for
        SQUARED_ERROR; clipped to W bits.
    :raises DeviceError: if ``z_frac`` or ``loss_frac`` is out of range, or a sum of exponentials is
        zero, which happens only before the tables are loaded.
    """
    _check_fractions(z_frac=z_frac, loss_frac=loss_frac)
    z = np.asarray(outputs, dtype=np.int64)
    chosen = np.asarray(labels, dtype=np.int64)
    active = chosen >= 0
    if kind is LossKind.CROSS_ENTROPY:
        active &= chosen < len(z)
        existing = np.where(active, chosen, 0)
        raw, errors = _cross_entropy(z, existing, active, z_frac, (values, slopes), derivative_bits)
        frac = 16
    else:
        errors = z - np.asarray(targets, dtype=np.int64)
        raw, frac = np.square(errors).sum(axis=0), 2 * z_frac
    highest = (1 << LOSS_BITS) - 1
    # A left shift could leave 64 bits. What is beyond 24 bits before the shift is so behind it too,
    # and clipped in any case.
    scaled = shift_round(raw if frac >= loss_frac else np.minimum(raw, highest + 1), frac - loss_frac) * active
    clips = int(np.count_nonzero(scaled > highest))
    derivatives = None
    if derivative_bits is not None and errors is not None:
        derivatives, more = saturate(errors * active, derivative_bits)
        clips += more
    return LossResult(np.minimum(scaled, highest), active, derivatives, clips)


def _check_fractions(**fractions: int) -> None:
    for name, frac in fractions.items():
        if not 0 <= frac <= MAX_FRAC:
            raise DeviceError(f"LOSS: {name} must be from 0 to {MAX_FRAC}, not {frac}")


class LossPlan:
    """One LOSS, checked, with the addresses of the words that it reads and writes.

    :raises DeviceError: if the instruction breaks a rule of the instruction set, leaves the
        activation memory, or has a mode that the engine lacks.
    """

    def __init__(self, config: EngineConfig, instruction: Instruction) -> None:
        self._config = config
        self._kind, self._mode = LossKind(instruction["kind"]), LossMode(instruction["mode"])
        if self._mode is not LossMode.SUM and not config.local_learning:
            raise DeviceError(f"LOSS: mode {self._mode.name} needs an engine with local_learning")
        self._fractions = {name: instruction[name] for name in ("z_frac", "loss_frac")}
        _check_fractions(**self._fractions)
        count = instruction["count"]
        if count < 1:
            raise DeviceError("LOSS: count must be at least 1")
        self._outputs = self._words(instruction["z_base"], instruction["z_step"], count)
        self._label = self._words(instruction["label"], 0, 1)[0]
        self._targets = None
        read = {*self._outputs.tolist(), int(self._label)}
        if self._kind is LossKind.SQUARED_ERROR:
            self._targets = self._words(instruction["t_base"], instruction["t_step"], count)
            read.update(self._targets.tolist())
        self._results = self._words(0, 0, 0)
        if self._mode is LossMode.DIFFER:
            self._results = self._words(instruction["d_base"], 0, 1)
        elif self._mode is LossMode.ERROR:
            self._results = self._words(instruction["d_base"], instruction["d_step"], count)
        if both := read.intersection(self._results.tolist()):
            raise DeviceError(f"LOSS: word {min(both)} is both read and written")

    def _words(self, base: int, step: int, count: int) -> NDArray[np.intp]:
        addresses = (base + np.arange(count, dtype=np.intp) * step) % (1 << 16)
        depth = self._config.activation_depth
        if count and addresses.max() >= depth:
            raise DeviceError(f"LOSS: word {addresses.max()} is beyond the {depth} of ACTIVATION")
        return addresses

    def run(
        self, activation: NDArray[np.float64], kept: NDArray[np.int64], values: ArrayLike, slopes: ArrayLike
    ) -> tuple[int, int]:
        """Executes the instruction once on given memories.

        :param activation: the activation memory, integers of shape (activation_depth, L); results
            are written to it.
        :param kept: the losses that KEEP keeps and DIFFER takes, shape (L,); written by KEEP.
        :param values: values in the scalar-table memory.
        :param slopes: slopes in the scalar-table memory.
        :returns: the sum of the lanes' losses, and the number of clips.
        :raises DeviceError: as :func:`loss`.
        """
        width = self._config.width
        result = loss(
            self._kind,
            activation[self._outputs],
            activation[self._label],
            None if self._targets is None else activation[self._targets],
            values=values,
            slopes=slopes,
            derivative_bits=width if self._mode is LossMode.ERROR else None,
            **self._fractions,
        )
        clips = result.clips
        match self._mode:
            case LossMode.KEEP:
                kept[:] = result.losses
            case LossMode.DIFFER:
                differences, more = saturate((result.losses - kept) * result.active, width)
                activation[self._results] = differences
                clips += more
            case LossMode.ERROR:
                activation[self._results] = result.derivatives
        return int(result.losses.sum()), clips
