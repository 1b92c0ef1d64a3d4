"""Loop nests as instructions: strides become steps, and tiles are made to last as long as they
must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...arch.config import EngineConfig
from ...arch.isa import LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Activation, Instruction, Operand
from ...arch.timing import CORRELATE_DISTANCE, drain_cycles_per_row
from ..errors import CompileError

__all__ = ["Access", "Drain", "Nest", "contract_nest", "correlate_nest", "signed_address"]

_INNER = len(REDUCTION_LOOPS)


@dataclass(frozen=True, slots=True)
class Drain:
    """What happens to a contraction's accumulators."""

    shift: int
    activation: Activation = Activation.NONE
    table: int = 0


@dataclass(frozen=True, slots=True)
class Access:
    """Where one operand of a nest stands: ``base + sum(loop * stride)``.

    ``strides`` begin with the innermost loop that moves the operand: for outputs and biases, loop
    o0; missing ones are zero. ``row`` is the distance of a tile's rows. ``index`` is a register
    that is added to the base.
    """

    base: int
    strides: tuple[int, ...] = ()
    row: int = 0
    index: int = 0


def signed_address(value: int) -> int:
    """Modulo 2**16, as addresses are, in a signed field."""
    return ((value + (1 << 15)) & 0xFFFF) - (1 << 15)


def _steps(counts: Sequence[int], strides: Sequence[int]) -> list[int]:
    """From strides to steps that include the way back of all loops within."""
    steps, back = [], 0
    for count, stride in zip(counts, [*strides, *[0] * (len(counts) - len(strides))], strict=True):
        steps.append(signed_address(stride - back) if count > 1 else 0)
        back += (count - 1) * stride
    return steps


def _fields(counts: Sequence[int], kind: str, access: Access, outer_only: bool) -> dict[str, int]:
    loops, counted = (OUTER_LOOPS, counts[_INNER:]) if outer_only else (LOOPS, counts)
    steps = zip(loops, _steps(counted, access.strides), strict=True)
    return {f"{kind}_base": access.base & 0xFFFF, f"{kind}_index": access.index} | {
        f"{kind}_{loop}": step for loop, step in steps
    }


def _counts(inner: Sequence[int], outer: Sequence[int]) -> list[int]:
    return [*inner, *[1] * (_INNER - len(inner)), *outer, *[1] * (len(OUTER_LOOPS) - len(outer))]


@dataclass(frozen=True, slots=True)
class Nest:
    """A contraction as loops and operands: read one way it is a CONTRACT, the other way its
    gradient, a CORRELATE.
    """

    tensor: str
    inner: tuple[int, ...]
    """Iterations of the reduction loops, innermost first."""
    outer: tuple[int, ...]
    """Iterations of the outer loops, innermost first, row tiles ahead."""
    w: Access
    x: Access
    y: Access
    last_rows: int

    def contract(self, engine: EngineConfig, drain: Drain, bias: Access | None = None, one: int = 0) -> Instruction:
        """The outputs, from weights and inputs; see :func:`contract_nest`."""
        return contract_nest(
            engine,
            self.tensor,
            inner=self.inner,
            outer=self.outer,
            w=self.w,
            x=self.x,
            y=self.y,
            drain=drain,
            last_rows=self.last_rows,
            bias=bias,
            one=one,
        )

    def correlate(self, engine: EngineConfig, left: Access) -> Instruction:
        """Returns the CORRELATE that makes the gradient of the weights.

        :param left: where the first of the derivatives by the outputs stands; without strides they
            stand as the outputs do.
        """
        return correlate_nest(
            engine,
            inner=self.inner,
            outer=self.outer,
            left=replace(self.y, base=left.base, strides=left.strides or self.y.strides, index=left.index),
            right=self.x,
            gradient=self.w,
            last_rows=self.last_rows,
        )


def contract_nest(
    engine: EngineConfig,
    what: str,
    *,
    inner: Sequence[int],
    outer: Sequence[int],
    w: Access,
    x: Access,
    y: Access,
    drain: Drain,
    last_rows: int = 1,
    bias: Access | None = None,
    one: int = 0,
    operand: Operand = Operand.WEIGHT,
) -> Instruction:
    """Returns the CONTRACT of a loop nest.

    :param what: whose contraction it is, for messages.
    :param inner: iterations of the reduction loops, innermost first.
    :param outer: iterations of the outer loops, innermost first, row tiles ahead.
    :param bias: the bias words, if there are any; ``one`` is the word that they are multiplied by.
    :raises CompileError: if a tile cannot be made to last as long as its drain.
    """
    counts = _counts(inner, outer)
    terms = counts[0] * counts[1] * counts[2] + (bias is not None)
    lane_wise = operand is not Operand.WEIGHT
    rows = 1 if lane_wise else engine.rows
    idle = max(0, rows * drain_cycles_per_row(engine, drain.activation) - terms * (2 if lane_wise else 1))
    if idle > 255:
        raise CompileError(
            f"{what}: {idle} idle cycles a tile needed, 255 available; use smaller lanes_per_table or fewer rows"
        )
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    fields |= _fields(counts, "w", w, False) | _fields(counts, "x", x, False)
    fields |= _fields(counts, "y", y, True) | _fields(counts, "b", bias or Access(0), True)
    return Instruction.make(
        "CONTRACT",
        **fields,
        y_row=signed_address(y.row),
        last_rows=last_rows,
        bias=bias is not None,
        one=one,
        idle=idle,
        shift=drain.shift,
        activation=drain.activation,
        table=drain.table,
        operand=operand,
    )


def correlate_nest(
    engine: EngineConfig,
    *,
    inner: Sequence[int],
    outer: Sequence[int],
    left: Access,
    right: Access,
    gradient: Access,
    last_rows: int,
) -> Instruction:
    """A CORRELATE; ``left`` has strides of outer loops only."""
    counts = _counts(inner, outer)
    terms = counts[0] * counts[1] * counts[2]
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    fields |= _fields(counts, "d", left, True) | _fields(counts, "x", right, False)
    fields |= _fields(counts, "g", gradient, False)
    return Instruction.make(
        "CORRELATE",
        **fields,
        d_row=signed_address(left.row),
        last_rows=last_rows,
        idle=max(0, CORRELATE_DISTANCE - engine.rows - terms),
    )
