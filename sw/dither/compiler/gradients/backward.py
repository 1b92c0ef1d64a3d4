"""The gradients of one layer's tensors, from derivatives by its outputs: contractions read
backwards.

A step's weight gradient is the correlation, over samples and positions, of the derivatives by its
outputs with its inputs; the derivatives by its inputs are a contraction with the transposed
weights. They replace the inputs, which nothing needs any more once they are correlated. Nothing is
carried beyond the layer: what stands at its outputs is a local error signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa.assembler import Assembler
from ..code.contraction import bias_nest, step_nests
from ..code.nests import Access, Drain, Nest
from ..code.registers import ZERO
from ..layout.memory import LayerBuffers
from ..layout.tensors import Tensor
from ..plan.planner import LayerPlan

__all__ = ["Backward", "Transposed"]


@dataclass(frozen=True, slots=True)
class Transposed:
    """The transposed weights of one contraction step, behind the tensors in the weight memory."""

    source: Tensor
    base: int

    @staticmethod
    def size(source: Tensor) -> int:
        """Returns how many words are needed."""
        return -(-source.inner // source.rows) * source.layout.columns

    def write(self, asm: Assembler) -> None:
        """Emits what writes them, from the working weights as they are."""
        asm.emit(
            "TRANSPOSE",
            base=self.source.base,
            inner=self.source.inner,
            columns=self.source.layout.columns,
            target=self.base,
        )

    def nest(self, source: int, target: int, P: int = 1, S: int = 1, index: int = ZERO) -> Nest:
        """``[P, M, S] -> [P, K, S]``.

        :param source: first activation word of the input.
        :param target: of the output.
        :param index: the register that is added to the former.
        """
        K, M, R = self.source.inner, self.source.layout.columns, self.source.rows
        tiles = -(-K // R)
        return Nest(
            self.source.name,
            inner=(M,),
            outer=(tiles, 1, S, P),
            w=Access(self.base, (1, 0, 0, M)),
            x=Access(source, (S, 0, 0, 0, 0, 1, M * S), index=index),
            y=Access(target, (R * S, 0, 1, K * S), row=S),
            last_rows=K - (tiles - 1) * R,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backward:
    """Code from the derivatives by a layer's outputs, before the activation function, to
    gradients: those of the chunk at hand, if the layer runs in chunks.
    """

    engine: EngineConfig
    plan: LayerPlan
    buffers: LayerBuffers
    tensors: Mapping[str, Tensor]
    outputs: int
    """First word of the layer's outputs (of a recurrent layer's, the first time step's)."""
    delta: Access
    """The derivatives: where the first one stands; they stand as the layer's outputs do unless it
    has strides of its own."""
    formats: tuple[FixedPoint, ...]
    """Formats of the derivatives behind each step; the last one is that of ``delta``."""
    transposed: tuple[Transposed, ...]
    """Transposed weights of every step but the first."""
    one: int
    """Activation word of the number 1."""

    def emit(self, asm: Assembler) -> None:
        """Emits the layer's gradients for the lane group at work."""
        if self.plan.bias:
            nest = bias_nest(self.plan, self.buffers, self.tensors[self.plan.bias], self.one)
            asm.add(nest.correlate(self.engine, self._moved(nest)))
        for number in reversed(range(len(self.plan.steps))):
            self.correlate(asm, number)
            if number:
                self.carry(asm, number)

    def _moved(self, nest: Nest) -> Access:
        """The derivatives by the outputs of one of the last step's nests."""
        return replace(self.delta, base=self.delta.base + nest.y.base - self.outputs)

    def _left(self, number: int) -> Access:
        """The derivatives by the outputs of a step but the last: in the outputs' place."""
        return Access(self.buffers.intermediates[number].base)

    def correlate(self, asm: Assembler, number: int) -> None:
        """Emits the gradient of one step's weights."""
        last = number == len(self.plan.steps) - 1
        weights = self.tensors[self.plan.steps[number].tensor]
        for nest in step_nests(self.plan, number, self.buffers, weights):
            asm.add(nest.correlate(self.engine, self._moved(nest) if last else self._left(number)))

    def carry(self, asm: Assembler, number: int) -> None:
        """Emits the derivatives by one step's inputs, in their place."""
        step, last = self.plan.steps[number], number == len(self.plan.steps) - 1
        weights, left = self.tensors[step.tensor], self.delta if last else self._left(number)
        shift = weights.format.frac + self.formats[number].frac - self.formats[number - 1].frac
        target, P = self.buffers.intermediates[number - 1].base, step.P // self.buffers.chunks
        nest = self.transposed[number - 1].nest(left.base, target, P, step.S, left.index)
        asm.add(nest.contract(self.engine, Drain(shift)))

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates per sample."""
        steps = self.plan.steps
        bias = self.plan.layer.output_size if self.plan.bias else 0
        return bias + sum(step.macs for step in steps) + sum(step.macs for step in steps[1:])
