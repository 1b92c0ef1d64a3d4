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

A program for devices that share a step has other entries instead of ``train`` and ``gradients``,
which do the two halves of a step:

- ``share``: seed, step, number of groups, the tile's first probe, the first group's place in its
  tile; then these groups → with :attr:`Exchange.SCALARS` each group's loss differences, in any case
  the sum of base losses.
- ``collect`` (:attr:`Exchange.GRADIENTS`): → gradient accumulators, which stay as they are.
- ``apply``: seed, step, the rate's mantissa, then all that the step's gradients are made of: loss
  differences, tile by tile, or gradient accumulators.

So does a program whose steps the host solves for (:attr:`Recipe.solved`). ``share`` then sends, for
each group, its residuals and what each probe makes of them; ``apply`` takes a coefficient for each
probe, and may be run several times in a step. There is one more entry:

- ``residuals``: number of groups; per group its words → per group its residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ..arch.isa import Memory, Rule
from ..arch.isa.assembler import Assembler
from ..recipe import Recipe
from .code.perturbation import restore
from .code.registers import BASE, GROUPS, LOSS, OFFSET, RATE, SEED, STEP, STEPS, TILE, TOTAL, ZERO
from .gradients import GradientCode
from .gradients.probing import GroupProbes
from .layout.memory import Region
from .layout.tensors import Tensor
from .objectives.objective import ObjectiveCode

__all__ = ["STATE_MEMORIES", "Emitter", "Exchange"]

STATE_MEMORIES = (Memory.MASTER, Memory.MOMENT1, Memory.MOMENT2)


class Exchange(Enum):
    """What devices that share a step tell each other of their parts of it."""

    SCALARS = "seeds and scalars"
    """Loss differences of the probes of each tile: everyone makes the same probes from the same
    seed, and adds them up."""
    GRADIENTS = "gradient sums"
    """Gradient accumulators, which are exact sums over samples."""


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
    exchange: Exchange | None = None
    """What devices tell each other that share a step; None for a device that is alone."""

    def program(self) -> tuple[Assembler, dict[str, int]]:
        """Returns the whole program, and the word addresses of its entries by name."""
        asm = Assembler()
        self.objective.subroutines(asm)
        if self.exchange is None and not self.recipe.solved:
            asm.label("accumulate")
            self._accumulate(asm)
            asm.emit("RETURN")
        entries: dict[str, Callable[[Assembler], None]] = {
            "setup": self._setup,
            "load_state": self._load_state,
            "store_state": self._store_state,
            **self._steps(),
            "evaluate": self._evaluate,
            "measure": self._measure,
            "contract": self._contract,
        }
        for name, emit in entries.items():
            asm.label(name)
            emit(asm)
            asm.emit("HALT")
        return asm, {name: asm.labels[name] for name in entries}

    def _steps(self) -> dict[str, Callable[[Assembler], None]]:
        """The entries that make steps, or parts of them."""
        if self.recipe.solved:
            return {"share": self._share, "apply": self._apply, "residuals": self._residuals}
        match self.exchange:
            case None:
                return {"train": self._train, "gradients": self._gradients}
            case Exchange.SCALARS:
                return {"share": self._share, "apply": self._apply}
            case Exchange.GRADIENTS:
                return {"share": self._share, "collect": self._collect, "apply": self._apply}

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
        if self.exchange is Exchange.SCALARS or self.recipe.solved:
            for probes in self._probes:
                probes.send(asm)
            return
        for gradient in sorted(self.gradients, key=lambda code: code.start, reverse=True):
            gradient.emit(asm)

    @property
    def _probes(self) -> list[GroupProbes]:
        """The gradients that follow from loss differences alone, in the order of these."""
        found = [each for each in self.gradients if isinstance(each, GroupProbes) and each.differences is not None]
        return sorted(found, key=lambda code: code.start, reverse=True)

    @property
    def differences(self) -> int | None:
        """How many loss differences of a tile say all about its gradients; None if they need
        more.
        """
        probes = self._probes
        return sum(each.differences or 0 for each in probes) if len(probes) == len(self.gradients) else None

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

    def _share(self, asm: Assembler) -> None:
        for register in (SEED, STEP, GROUPS, TILE, OFFSET):
            asm.emit("PULL", target=register)
        asm.emit("SET", target=TOTAL, source=0, value=0)
        for gradient in self.gradients:
            gradient.prepare(asm)
        with asm.loop(register=GROUPS):
            self._group(asm)
            asm.emit("SET", target=OFFSET, source=OFFSET, value=self.lanes)
        asm.emit("EMIT", source=TOTAL)

    def _collect(self, asm: Assembler) -> None:
        asm.emit("STORE", memory=Memory.GRADIENT, base=0, count=self.words)

    def _residuals(self, asm: Assembler) -> None:
        assert self.objective.residual is not None
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self.objective.load(asm)
            self.objective.forward(asm)
            asm.emit("STORE", memory=Memory.ACTIVATION, base=self.objective.residual, count=1)

    def _apply(self, asm: Assembler) -> None:
        for register in (SEED, STEP, RATE):
            asm.emit("PULL", target=register)
        if self.exchange is Exchange.GRADIENTS:
            asm.emit("LOAD", memory=Memory.GRADIENT, base=0, count=self.words)
        else:
            tiles = self.recipe.probe_tiles
            asm.emit("SET", target=TILE, source=0, value=0)
            with asm.loop(tiles):
                for probes in self._probes:
                    probes.receive(asm)
                if tiles > 1:
                    asm.emit("SET", target=TILE, source=TILE, value=self.recipe.most_probes)
        self._update(asm, self.recipe.rule, RATE)
        restore(asm, 0, self.words)

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
