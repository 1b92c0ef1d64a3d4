"""A trial: the experiment that it stands for, what it would cost, and what came out.

Accuracy does not depend on geometry: trials that differ in nothing else share one *training*.
Cycles and memory come from the cycle model and the compiler, without training anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..arch.config import engine
from ..arch.regmap import all_cycles
from ..arch.streams import memory_bits
from ..compiler import CompileError
from ..runs import CurveRow
from ..runs.metrics import Metric
from ..train.experiment import Experiment
from ..train.task import TrainingTask
from .plan import RECIPE, Plan, Values

__all__ = ["Cost", "Trial", "assess", "experiment_of", "training_key"]


def experiment_of(plan: Plan, values: Values, task: TrainingTask | None = None) -> Experiment:
    """Returns the experiment of a trial.

    :param values: what it has chosen.
    :param task: the plan's, if it has been loaded already.
    :raises ValueError: if the choices do not go together.
    """
    recipe = {name: value for name, value in values.items() if name in RECIPE}
    config = engine(str(values["engine"])) if "engine" in values else None
    changes = {name.removeprefix("engine."): value for name, value in values.items() if name.startswith("engine.")}
    stencil = values.get("stencil")
    chosen = Experiment.of_task(
        task if task is not None and stencil is None else plan.task,
        device="golden",
        engine=config,
        steps=plan.steps,
        log_every=plan.log_every,
        recipe=recipe,
        data=plan.data,
        network=values.get("model"),
        ranks=values.get("ranks"),
        stencil=stencil,
    )
    if chosen.recipe.schedule != "constant" and "schedule_steps" not in recipe:
        chosen = replace(chosen, recipe=replace(chosen.recipe, schedule_steps=plan.steps))
    if changes:
        chosen = replace(chosen, engine=replace(chosen.engine, **changes))
    return replace(chosen, task=plan.task)


def training_key(chosen: Experiment) -> str:
    """Returns a digest of all that a training's bits depend on: not of the engine's geometry."""
    said = chosen.choices()
    kept = {name: said[name] for name in ("task", "model", "recipe", "phases", "stencil", "log_every")}
    kept |= {"width": chosen.engine.width, "table_bits": chosen.engine.table_bits}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a trial costs, known before any training."""

    trouble: str | None = None
    """Why it cannot be; None if it can."""
    key: str = ""
    """Digest of its training."""
    cycles: int = 0
    """Engine cycles of one step, exact."""
    evaluations: int = 0
    """Network evaluations of one step."""
    multipliers: int = 0
    memory: int = 0
    parameters: int = 0
    command: str = ""
    """The command line that makes it."""


def assess(plan: Plan, values: Values, task: TrainingTask | None = None) -> Cost:
    """Compiles a trial's program and returns what it costs."""
    try:
        chosen = experiment_of(plan, values, task)
        chosen.recipe.check_engine(chosen.engine)
        loaded = chosen.load()
        compiled = chosen.compile(loaded, chosen.engine)
    except (CompileError, ValueError, TypeError) as error:
        return Cost(trouble=str(error))
    return Cost(
        None,
        training_key(chosen),
        all_cycles(compiled.figures.step_counters()),
        compiled.figures.step_evaluations,
        chosen.engine.multipliers,
        sum(memory_bits(chosen.engine).values()),
        chosen.model.parameter_count,
        chosen.command(),
    )


@dataclass(slots=True)
class Trial:
    """One trial of a sweep."""

    number: int
    values: Values
    cost: Cost
    state: str = "waiting"
    """``does not fit``, ``dominated``, ``waiting``, ``stopped`` (by halving or budget) or
    ``done``."""
    reason: str = ""
    rows: Sequence[CurveRow] = field(default=(), repr=False)
    """Logged steps of its training so far."""

    def figures(self, plan: Plan, metric: Metric) -> dict[str, float | None]:
        """Returns all objectives by name; None for what is not known or was not reached."""
        last = self.rows[-1] if self.rows else None
        reached = plan.target is not None and next(
            (row for row in self.rows if row.metric == plan.target or metric.better(row.metric, plan.target)), None
        )
        steps = reached.step if reached else None
        cycles = None if steps is None else steps * self.cost.cycles
        merit = None if last is None else (-last.metric if metric.lower else last.metric)
        return {
            "merit": merit,
            "loss": last.loss if last else None,
            "steps": steps,
            "cycles": cycles,
            "seconds": None if cycles is None else cycles / plan.clock,
            "evaluations": None if steps is None else steps * self.cost.evaluations,
            "multipliers": self.cost.multipliers,
            "memory": self.cost.memory,
            "parameters": self.cost.parameters,
        }
