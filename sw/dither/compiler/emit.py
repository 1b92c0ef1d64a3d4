"""Program emission: subroutines for the forward pass, and one entry point for each command of the host.

Entries and their input streams (→ output streams):

- ``setup``: scalar tables, activation tables if any, bias constants if any.
- ``load_state``: masters, gradients, first moments, second moments; then working weights are written.
- ``store_state``: → masters, first moments, second moments.
- ``train``: seed, first step, number of steps; per step the rate's mantissa, then per lane group its words (input,
  label, targets) → per step the sum of base losses.
- ``evaluate``: number of groups; per group its words → per group the outputs, then the sum of losses.
- ``contract``: number of groups; per group its words: forward passes alone, for benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..isa import Instruction, LossKind, Memory
from ..models import Model
from ..recipe import ProbeGroup, Recipe
from .assembler import Assembler
from .formats import Formats
from .memory import ActivationMap
from .tensors import Tensor

__all__ = ["STATE_MEMORIES", "Emitter", "Table"]

STATE_MEMORIES = (Memory.MASTER, Memory.MOMENT1, Memory.MOMENT2)

SEED, STEP, STEPS, RATE, GROUPS, PROBE, TILE, BASE, LOSS, OTHER, DIFFERENCE, TOTAL = range(1, 13)
"""Registers."""


@dataclass(frozen=True, slots=True)
class Table:
    """An activation table: its function and the layers' formats that it serves."""

    function: str
    input_frac: int
    output_frac: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """Everything that a program is made from."""

    model: Model
    recipe: Recipe
    lanes: int
    scalar_entries: int
    """Words of the scalar tables."""
    activation_entries: int
    """Words of the activation tables in use."""
    memory: ActivationMap
    formats: Formats
    tensors: tuple[Tensor, ...]
    groups: tuple[ProbeGroup, ...]
    forward: tuple[tuple[tuple[Instruction, ...], ...], ...]
    """Per layer, per step that a forward pass may start at, the instructions up to the next such step."""

    def program(self) -> Assembler:
        """The whole program."""
        asm = Assembler()
        self._forward(asm)
        for name, emit in (
            ("setup", self._setup), ("load_state", self._load_state), ("store_state", self._store_state),
            ("train", self._train), ("evaluate", self._evaluate), ("contract", self._contract),
        ):  # fmt: skip
            asm.label(name)
            emit(asm)
            asm.emit("HALT")
        return asm

    @property
    def words(self) -> int:
        """Words of the parameter memories in use."""
        return sum(tensor.words for tensor in self.tensors)

    def _members(self, group: ProbeGroup) -> list[Tensor]:
        return [tensor for tensor in self.tensors if tensor.name in group.tensors]

    def start(self, group: ProbeGroup) -> tuple[int, int]:
        """Layer and step that a forward pass starts at when only these tensors have changed."""
        layer, step = min((tensor.layout.layer, tensor.layout.first_step) for tensor in self._members(group))
        return layer, step if self.memory.layers[layer].kept else 0

    @property
    def probing_order(self) -> tuple[ProbeGroup, ...]:
        """Latest start first: what a start needs has then not been overwritten since the base pass."""
        return tuple(sorted(self.groups, key=self.start, reverse=True))

    def _forward(self, asm: Assembler) -> None:
        for layer, steps in enumerate(self.forward):
            for number, instructions in enumerate(steps):
                asm.label(f"forward {layer}.{number}")
                for instruction in instructions:
                    asm.add(instruction)
        asm.emit("RETURN")

    def _call(self, asm: Assembler, layer: int = 0, step: int = 0) -> None:
        asm.call(f"forward {layer}.{step}")

    def _load_group(self, asm: Assembler) -> None:
        group = self.memory.group
        asm.emit("LOAD", memory=Memory.ACTIVATION, base=group.base, count=group.words)

    def _loss(self, asm: Assembler, target: int) -> None:
        memory, kind = self.memory, LossKind[self.model.loss.upper()]
        asm.emit(
            "LOSS", kind=kind, z_base=memory.layers[-1].target.base, z_step=1, count=self.model.outputs,
            label=memory.labels.base, t_base=memory.targets.base, t_step=1, z_frac=self.formats.output.frac,
            loss_frac=self.formats.loss_frac, target=target,
        )  # fmt: skip

    def _perturb(self, asm: Assembler, tensor: Tensor, amplitude: int) -> None:
        asm.emit(
            "PERTURB", base=tensor.base, inner=tensor.inner, tiles=tensor.tiles, block=tensor.block, seed=SEED,
            step=STEP, probe=PROBE, random=1, amplitude=amplitude,
        )  # fmt: skip

    def _restore(self, asm: Assembler, base: int, inner: int, tiles: int) -> None:
        asm.emit(
            "PERTURB", base=base, inner=inner, tiles=tiles, block=0, seed=SEED, step=STEP, probe=PROBE, random=0,
            amplitude=0,
        )  # fmt: skip

    def _setup(self, asm: Assembler) -> None:
        asm.emit("LOAD", memory=Memory.SCALAR_TABLE, base=0, count=self.scalar_entries)
        if self.activation_entries:
            asm.emit("LOAD", memory=Memory.ACTIVATION_TABLE, base=0, count=self.activation_entries)
        constants = self.memory.constants
        if constants.words:
            asm.emit("LOAD", memory=Memory.ACTIVATION, base=constants.base, count=constants.words)

    def _load_state(self, asm: Assembler) -> None:
        for memory in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2):
            asm.emit("LOAD", memory=memory, base=0, count=self.words)
        self._restore(asm, 0, self.words, 1)

    def _store_state(self, asm: Assembler) -> None:
        for memory in STATE_MEMORIES:
            asm.emit("STORE", memory=memory, base=0, count=self.words)

    def _evaluate(self, asm: Assembler) -> None:
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self._load_group(asm)
            self._call(asm)
            asm.emit("STORE", memory=Memory.ACTIVATION, base=self.memory.layers[-1].target.base,
                     count=self.model.outputs)  # fmt: skip
            self._loss(asm, LOSS)
            asm.emit("EMIT", source=LOSS)

    def _contract(self, asm: Assembler) -> None:
        asm.emit("PULL", target=GROUPS)
        with asm.loop(register=GROUPS):
            self._load_group(asm)
            self._call(asm)

    def _probe(self, asm: Assembler, group: ProbeGroup) -> None:
        """All probes of one group of tensors on the lane group at work."""
        tensors = self._members(group)
        layer, step = self.start(group)
        two = self.recipe.evaluations == 2
        asm.emit("SET", target=PROBE, source=TILE, value=0)
        with asm.loop(group.probes):
            for tensor in tensors:
                self._perturb(asm, tensor, tensor.amplitude)
            self._call(asm, layer, step)
            self._loss(asm, LOSS)
            if two:
                for tensor in tensors:
                    self._perturb(asm, tensor, -tensor.amplitude)
                self._call(asm, layer, step)
                self._loss(asm, OTHER)
            asm.emit("SUBTRACT", target=DIFFERENCE, left=LOSS, right=OTHER if two else BASE)
            for tensor in tensors:
                asm.emit("ACCUMULATE", base=tensor.base, inner=tensor.inner, tiles=tensor.tiles, block=tensor.block,
                         seed=SEED, step=STEP, probe=PROBE, difference=DIFFERENCE)  # fmt: skip
            if group.probes > 1:
                asm.emit("SET", target=PROBE, source=PROBE, value=1)
        # Tensors of a layer stand side by side, so one pass restores a whole group.
        first = tensors[0].base
        self._restore(asm, first, tensors[-1].base + tensors[-1].words - first, 1)

    def _group(self, asm: Assembler) -> None:
        self._load_group(asm)
        self._call(asm)
        self._loss(asm, BASE)
        asm.emit("ADD", target=TOTAL, left=TOTAL, right=BASE)
        for group in self.probing_order:
            self._probe(asm, group)

    def _train(self, asm: Assembler) -> None:
        recipe = self.recipe
        for register in (SEED, STEP, STEPS):
            asm.emit("PULL", target=register)
        with asm.loop(register=STEPS):
            asm.emit("PULL", target=RATE)
            asm.emit("SET", target=TOTAL, source=0, value=0)
            asm.emit("SET", target=TILE, source=0, value=0)
            with asm.loop(recipe.tiles):
                with asm.loop(recipe.tile // self.lanes):
                    self._group(asm)
                if recipe.tiles > 1 and not recipe.shared_probe:
                    asm.emit("SET", target=TILE, source=TILE, value=recipe.most_probes)
            for tensor in self.tensors:
                asm.emit("UPDATE", base=tensor.base, count=tensor.words, rule=recipe.rule,
                         gradient_shift=tensor.gradient_shift, decay1=recipe.decay1, decay2=recipe.decay2, rate=RATE,
                         rate_shift=tensor.rate_shift)  # fmt: skip
            self._restore(asm, 0, self.words, 1)
            asm.emit("EMIT", source=TOTAL)
            asm.emit("SET", target=STEP, source=STEP, value=1)
