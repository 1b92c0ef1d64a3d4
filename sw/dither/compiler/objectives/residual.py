"""The residual of a differential equation, as code: the network at every node of a stencil, then
few contractions.

Lanes are points. For each node the point is shifted (a product with the identity matrix, whose bias
is the node's offset), the network is run, and its output's difference to the central node's goes to
the node's slot; a loop over the nodes does it, with a register that is added to addresses. One
contraction of all slots with a constant matrix makes all derivatives, lane-wise ones multiply them
with each other and with coefficients that the host sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...arch.isa import LossKind, LossMode, Memory, Operand
from ...arch.isa.assembler import Assembler
from ..code.nests import Access, Drain, contract_nest
from ..code.network import NetworkCode
from ..code.registers import INDEX, ZERO
from ..formats.residual import ResidualFormats
from ..layout.memory import Region
from ..layout.tensors import Tensor
from ..plan.lowering import Lowered, Run
from .objective import ObjectiveCode, Start
from .points import Points

__all__ = ["Residual", "ResidualRegions"]

_ENTRY = "residual"


@dataclass(frozen=True, slots=True)
class ResidualRegions:
    """Activation words of a residual. ``group`` is what one LOAD fills: coordinates, coefficients,
    label, source.
    """

    group: Region
    slots: Region
    inner: Region
    """Sums of products that further sums use."""
    words: Region
    """Columns, then the sums that terms use."""
    residual: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual(ObjectiveCode):
    """Code of the mean squared residual of a differential equation: an
    :class:`~dither.compiler.objectives.objective.ObjectiveCode`.
    """

    network: NetworkCode
    lowered: Lowered
    formats: ResidualFormats
    loss_frac: int
    """Fraction bits of a loss; LOSS is told other binary points, which amount to the same shift."""
    samples: Points
    regions: ResidualRegions
    identity: Tensor
    offsets: Tensor
    """A position for each node."""
    functionals: Tensor
    one: int
    """Activation word of the integer 1."""
    minus_one: int

    @property
    def residual(self) -> int:
        return self.regions.residual.base

    def subroutines(self, asm: Assembler) -> None:
        self.network.subroutines(asm)
        asm.label(_ENTRY)
        self._residual(asm)
        asm.emit("RETURN")

    def load(self, asm: Assembler) -> None:
        group = self.regions.group
        asm.emit("LOAD", memory=Memory.ACTIVATION, base=group.base, count=group.words)

    def forward(self, asm: Assembler, start: Start = (0, 0)) -> None:
        # All of it, whatever the start.
        asm.call(_ENTRY)

    def loss(
        self,
        asm: Assembler,
        target: int,
        mode: LossMode = LossMode.SUM,
        place: tuple[int, int] = (0, 0),
        loss_frac: int | None = None,
    ) -> None:
        # Only the shift between squares and losses counts, so that losses may have more than LOSS's
        # 16 bits.
        shift = 2 * self.formats.residual.frac - (self.loss_frac if loss_frac is None else loss_frac)
        z_frac = -(-shift // 2)
        label = self.regions.group.base + self.samples.label
        asm.emit(
            "LOSS",
            kind=LossKind.SQUARED_ERROR,
            z_base=self.regions.residual.base,
            z_step=1,
            count=1,
            label=label,
            t_base=label + 1,
            t_step=1,
            z_frac=z_frac,
            loss_frac=2 * z_frac - shift,
            mode=mode,
            d_base=place[0],
            d_step=place[1],
            target=target,
        )

    def evaluate(self, asm: Assembler, target: int) -> None:
        # The network's outputs at the points themselves.
        asm.emit("SET", target=INDEX, source=ZERO, value=0)
        self._node(asm)
        asm.emit("STORE", memory=Memory.ACTIVATION, base=self._output, count=1)
        asm.emit("SET", target=target, source=ZERO, value=0)

    def start(self, tensors: Sequence[Tensor]) -> Start:
        # Every node needs all of the network.
        return 0, 0

    @property
    def _output(self) -> int:
        return self.network.output.base

    def _node(self, asm: Assembler) -> None:
        """The network at the node that register INDEX names."""
        size, R = self.samples.dimensions, self.network.engine.rows
        tiles = -(-size // R)
        asm.add(
            contract_nest(
                self.network.engine,
                "a stencil's node",
                inner=(size,),
                outer=(tiles,),
                w=Access(self.identity.base, (1, 0, 0, size)),
                x=Access(self.regions.group.base, (1,)),
                y=Access(self.network.memory.input.base, (R,), row=1),
                drain=Drain(0),
                last_rows=size - (tiles - 1) * R,
                bias=Access(self.offsets.base, (self.offsets.inner,), index=INDEX),
                one=self.one,
            )
        )
        self.network.forward(asm)

    def _residual(self, asm: Assembler) -> None:
        slots = self.regions.slots
        asm.emit("SET", target=INDEX, source=ZERO, value=0)
        self._node(asm)
        self._store(asm, Access(slots.base), None)
        with asm.loop(slots.words - 1):
            asm.emit("SET", target=INDEX, source=INDEX, value=1)
            self._node(asm)
            self._store(asm, Access(slots.base, index=INDEX), Access(slots.base))
        self._columns(asm)
        for number, entry in enumerate(self.lowered.sums):
            self._products(
                asm,
                entry.left.count,
                self._address(entry.left),
                self._address(entry.right),
                self._sum(number),
                self.formats.sum_shifts[number],
            )
        terms = len(self.lowered.terms)
        coefficients = self.regions.group.base + self.samples.dimensions
        self._products(
            asm, terms, coefficients, self.regions.words.end - terms, self.regions.residual.base, self.formats.shift
        )

    def _store(self, asm: Assembler, slot: Access, less: Access | None) -> None:
        """The network's output, less what stands in a word, to a slot; exact but for saturation."""
        asm.add(
            contract_nest(
                self.network.engine,
                "a stencil's slot",
                inner=(),
                outer=(),
                w=Access(self.one),
                x=Access(self._output),
                y=slot,
                drain=Drain(0),
                operand=Operand.LANE,
                bias=less,
                one=self.minus_one if less else 0,
            )
        )

    def _columns(self, asm: Assembler) -> None:
        """All functionals of the slots."""
        nodes, columns = self.lowered.matrix.shape
        R = self.network.engine.rows
        tiles = -(-columns // R)
        asm.add(
            contract_nest(
                self.network.engine,
                "a stencil's functionals",
                inner=(nodes,),
                outer=(tiles,),
                w=Access(self.functionals.base, (1, 0, 0, nodes)),
                x=Access(self.regions.slots.base, (1,)),
                y=Access(self.regions.words.base, (R,), row=1),
                drain=Drain(self.formats.column_shift),
                last_rows=columns - (tiles - 1) * R,
            )
        )

    def _products(self, asm: Assembler, count: int, left: int, right: int, target: int, shift: int) -> None:
        """A sum of products of words."""
        asm.add(
            contract_nest(
                self.network.engine,
                "a residual's products",
                inner=(count,),
                outer=(),
                w=Access(left, (1,)),
                x=Access(right, (1,)),
                y=Access(target),
                drain=Drain(shift),
                operand=Operand.LANE,
            )
        )

    def _sum(self, number: int) -> int:
        inner, outer = self.regions.inner, self.regions.words.end - len(self.lowered.sums)
        return inner.base + number if number < inner.words else outer + number

    def _address(self, run: Run) -> int:
        return self.regions.words.base + run.first if run.linear else self._sum(run.first)
