"""Program emission: subroutines for the forward pass, and one entry point for each command of the
host.

Entries and their input streams (→ output streams):

- ``setup``: scalar tables, activation tables if any, bias constants if any.
- ``load_state``: masters, gradients, first moments, second moments; then working weights are
  written.
- ``store_state``: → masters, first moments, second moments.
- ``train``: seed, first step, number of steps; per step the rate's mantissa, then per lane group
  its words (input, label, targets) → per step the sum of base losses.
- ``gradients``: seed, step; then a step's lane groups → sum of base losses, gradient accumulators,
  which are cleared.
- ``evaluate``: number of groups; per group its words → per group the outputs, then the sum of
  losses, if they have any.
- ``measure``: number of groups; per group its words → per group the sum of losses.
- ``contract``: number of groups; per group its words: forward passes alone, for benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..arch.isa import Memory, Rule
from ..arch.isa.assembler import Assembler
from ..recipe import Recipe
from .code.perturbation import restore
from .code.registers import BASE, GROUPS, LOSS, OFFSET, RATE, SEED, STEP, STEPS, TILE, TOTAL, ZERO
from .gradients import GradientCode
from .layout.memory import Region
from .layout.tensors import Tensor
from .objectives.objective import ObjectiveCode

__all__ = ["ENTRIES", "STATE_MEMORIES", "Emitter"]

ENTRIES = ("setup", "load_state", "store_state", "train", "gradients", "evaluate", "measure", "contract")
"""Names of the programs' entry points."""
STATE_MEMORIES = (Memory.MASTER, Memory.MOMENT1, Memory.MOMENT2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """Everything that a program is made from."""

    recipe: Recipe
    lanes: int
    scalar_entries: int
    """Words of the scalar tables."""
    activation_entries: int
    """Words of the activation tables in use."""
    constants: Region
    objective: ObjectiveCode
    gradients: tuple[GradientCode, ...]
    """Code of all gradients, in any order."""
    tensors: tuple[Tensor, ...]
    """Those that steps change."""
    fixed: int = 0
    """Words of tensors that no step changes, behind the others."""
    zeroed: int = 0
    """Words behind them whose masters are zero."""

    def program(self) -> Assembler:
        """Returns the whole program."""
        asm = Assembler()
        self.objective.subroutines(asm)
        asm.label("accumulate")
        self._accumulate(asm)
        asm.emit("RETURN")
        for name, emit in (
            ("setup", self._setup),
            ("load_state", self._load_state),
            ("store_state", self._store_state),
            ("train", self._train),
            ("gradients", self._gradients),
            ("evaluate", self._evaluate),
            ("measure", self._measure),
            ("contract", self._contract),
        ):
            asm.label(name)
            emit(asm)
            asm.emit("HALT")
        return asm

    @property
    def words(self) -> int:
        """Words of the parameter memories in use."""
        return sum(tensor.words for tensor in self.tensors)

    def _setup(self, asm: Assembler) -> None:
        asm.emit("LOAD", memory=Memory.SCALAR_TABLE, base=0, count=self.scalar_entries)
        if self.activation_entries:
            asm.emit("LOAD", memory=Memory.ACTIVATION_TABLE, base=0, count=self.activation_entries)
        if self.constants.words:
            asm.emit("LOAD", memory=Memory.ACTIVATION, base=self.constants.base, count=self.constants.words)

    def _load_state(self, asm: Assembler) -> None:
        for memory in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2):
            words = self.words + (self.fixed + self.zeroed if memory is Memory.MASTER else 0)
            asm.emit("LOAD", memory=memory, base=0, count=words)
        restore(asm, 0, self.words + self.fixed)

    def _store_state(self, asm: Assembler) -> None:
        for memory in STATE_MEMORIES:
            asm.emit("STORE", memory=memory, base=0, count=self.words)

    def _evaluate(self, asm: Assembler) -> None:
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self.objective.load(asm)
            self.objective.evaluate(asm, LOSS)
            asm.emit("EMIT", source=LOSS)

    def _measure(self, asm: Assembler) -> None:
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self.objective.load(asm)
            self.objective.forward(asm)
            self.objective.loss(asm, LOSS)
            asm.emit("EMIT", source=LOSS)

    def _contract(self, asm: Assembler) -> None:
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self.objective.load(asm)
            self.objective.forward(asm)

    def _group(self, asm: Assembler) -> None:
        self.objective.load(asm)
        self.objective.forward(asm)
        self.objective.loss(asm, BASE)
        asm.emit("ADD", target=TOTAL, left=TOTAL, right=BASE)
        # Latest start first: what a start needs has then not been overwritten since the base pass.
        for gradient in sorted(self.gradients, key=lambda code: code.start, reverse=True):
            gradient.emit(asm)

    def _accumulate(self, asm: Assembler) -> None:
        """All lane groups of a step: gradients accumulate, base losses add up."""
        recipe = self.recipe
        asm.emit("SET", target=TOTAL, source=0, value=0)
        asm.emit("SET", target=TILE, source=0, value=0)
        for gradient in self.gradients:
            gradient.prepare(asm)
        with asm.loop(recipe.tiles):
            groups = recipe.tile // self.lanes
            asm.emit("SET", target=OFFSET, source=0, value=0)
            with asm.loop(groups):
                self._group(asm)
                if groups > 1:
                    asm.emit("SET", target=OFFSET, source=OFFSET, value=self.lanes)
            if recipe.tiles > 1 and not recipe.shared_probe:
                asm.emit("SET", target=TILE, source=TILE, value=recipe.most_probes)

    def _update(self, asm: Assembler, rule: Rule, rate: int) -> None:
        for tensor in self.tensors:
            asm.emit(
                "UPDATE",
                base=tensor.base,
                count=tensor.words,
                rule=rule,
                gradient_shift=tensor.gradient_shift,
                decay1=self.recipe.decay1,
                decay2=self.recipe.decay2,
                rate=rate,
                rate_shift=tensor.rate_shift,
            )

    def _train(self, asm: Assembler) -> None:
        for register in (SEED, STEP, STEPS):
            asm.emit("PULL", target=register)
        with asm.loop(register=STEPS):
            asm.emit("PULL", target=RATE)
            asm.call("accumulate")
            self._update(asm, self.recipe.rule, RATE)
            restore(asm, 0, self.words)
            asm.emit("EMIT", source=TOTAL)
            asm.emit("SET", target=STEP, source=STEP, value=1)

    def _gradients(self, asm: Assembler) -> None:
        for register in (SEED, STEP):
            asm.emit("PULL", target=register)
        asm.call("accumulate")
        asm.emit("EMIT", source=TOTAL)
        asm.emit("STORE", memory=Memory.GRADIENT, base=0, count=self.words)
        # A step of no size: all it does is clear the gradients, and write working weights as they
        # were.
        self._update(asm, Rule.SGD, ZERO)
        restore(asm, 0, self.words)
