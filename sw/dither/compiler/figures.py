"""What a compiled program costs: multiply-accumulates, forward passes, cycles, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from ..arch.fixedpoint import FixedPoint
from ..arch.timing import execution_cycles
from ..golden import predict
from ..nn.models import RNN
from .gradients import DAMPINGS
from .plan.planner import Step
from .program import Program

__all__ = ["Figures", "StepReport"]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One contraction step, for reports."""

    layer: int
    step: Step
    chunks: int
    macs: int
    """Useful multiply-accumulates per sample, without bias."""
    cycles: int
    """Exact execution cycles per lane group."""
    occupancy: float
    """Useful multiply-accumulates over what all multipliers could have done in these cycles."""
    shift: int
    format: FixedPoint


@dataclass(frozen=True, slots=True)
class Figures:
    """What a program costs, for reports."""

    program: Program

    @property
    def forward_macs(self) -> int:
        """Useful multiply-accumulates of one sample's forward pass, without bias."""
        return sum(plan.macs for plan in self.program.plans)

    def passes(self) -> list[tuple[int, int, int]]:
        """Forward passes per lane group and training step: (start layer, start step, how many)."""
        return [(0, 0, 1), *self.program.probe_passes]

    @property
    def step_macs(self) -> int:
        """Useful multiply-accumulates of one training step, over all samples, probes and passes."""
        program, total = self.program, self.program.gradient_macs
        for layer, start, count in self.passes():
            if layer < len(program.plans):
                macs = sum(step.macs for step in program.plans[layer].steps[start:])
                network = macs + sum(plan.macs for plan in program.plans[layer + 1 :])
                total += count * (network * program.evaluations_per_sample + program.objective_macs)
        return total * program.recipe.batch

    @property
    def step_evaluations(self) -> int:
        """Evaluations of the network, one a sample, in one training step; partial ones are counted
        in full.
        """
        passes = sum(count for _, _, count in self.passes())
        return passes * self.program.recipe.batch * self.program.evaluations_per_sample

    def training_counters(self, steps: int) -> dict[str, int]:
        """Exact counters of a command that trains so many steps, but waiting and saturations."""
        program = self.program
        scalars = [0, 0, steps] + [0] * steps
        return predict(program.engine, program.program, program.entries["train"], scalars)

    def step_counters(self) -> dict[str, int]:
        """Exact counters of one step in the middle of a training command, or of all commands of a
        step that the host solves for.
        """
        if self.program.recipe.solved:
            return self._solved_counters()
        one, two = (self.training_counters(steps) for steps in (1, 2))
        return {name: two[name] - one[name] for name in one}

    def _solved_counters(self) -> dict[str, int]:
        program, trials = self.program, len(DAMPINGS)
        groups = program.recipe.batch // program.engine.lanes
        commands = (
            ("share", [0, 0, groups, 0, 0], 1),
            ("residuals", [groups], trials),
            ("apply", [0] * (3 + program.recipe.most_probes), trials + 1),
        )
        found: dict[str, int] = {}
        for entry, scalars, times in commands:
            for name, value in predict(program.engine, program.program, program.entries[entry], scalars).items():
                found[name] = found.get(name, 0) + times * value
        return found

    def steps(self) -> list[StepReport]:
        """Every contraction step with its exact cycles."""
        reports, program = [], self.program
        for plan, buffers, formats, code in zip(
            program.plans, program.memory.layers, program.formats.layers, program.forward, strict=True
        ):
            flat = [instruction for part in code for instruction in part if instruction.name == "CONTRACT"]
            rounds = plan.layer.steps if isinstance(plan.layer, RNN) else buffers.chunks
            for number, step in enumerate(plan.steps):
                mine = flat[number :: len(plan.steps)]
                cycles = rounds * sum(execution_cycles(program.engine, instruction) for instruction in mine)
                occupancy = step.macs / (cycles * program.engine.rows)
                reports.append(
                    StepReport(
                        plan.position,
                        step,
                        buffers.chunks,
                        step.macs,
                        cycles,
                        occupancy,
                        formats.shifts[number],
                        formats.sums[number],
                    )
                )
        return reports
