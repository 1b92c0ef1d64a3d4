"""From a few choices to everything a run needs: task, model, programs, device, run folder."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from .activations import activation_ranges
from .compiler import Compiled, compile
from .describe import describe_memories, describe_plan, versions
from .devices import Status, Waves, build_device
from .engine import PRESETS, EngineConfig
from .models import Model
from .recipe import Recipe
from .runs import RunError, RunFolder
from .session import Session
from .tasks import Task, load_task
from .training import Trainer

__all__ = ["Experiment", "Prepared"]

_ROOMY = 1 << 15
"""Depth of the golden machine's memories: software has room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """All choices that make a training run."""

    task: str
    model: Model
    recipe: Recipe
    engine: EngineConfig
    device: str
    steps: int
    log_every: int
    checkpoint_every: int

    @classmethod
    def of_task(
        cls, task: str, *, device: str, engine: EngineConfig, steps: int | None = None, log_every: int = 50,
        checkpoint_every: int = 200, recipe: Mapping[str, Any],
    ) -> Experiment:  # fmt: skip
        """A task's model and recipe, with changes.

        :param recipe: fields of the recipe that differ from the task's; the rule by its name.
        :raises TaskError: if the task is unknown.
        :raises ValueError: if the changed recipe is none.
        """
        found = load_task(task)
        return cls(
            task=task, model=found.model, recipe=Recipe.from_dict(found.recipe.to_dict() | dict(recipe)), engine=engine,
            device=device, steps=steps or found.steps, log_every=log_every, checkpoint_every=checkpoint_every,
        )  # fmt: skip

    @classmethod
    def of_run(cls, run: RunFolder, steps: int | None = None) -> Experiment:
        """The experiment that a run folder holds.

        :param steps: another number of steps, if not None.
        :raises RunError: if ``run.json`` lacks something.
        """
        values = run.description
        try:
            return cls(
                task=values["task"], model=Model.from_dict(values["model"]), recipe=Recipe.from_dict(values["recipe"]),
                engine=EngineConfig.from_dict(values["engine"]), device=values["device"],
                steps=steps or values["steps"], log_every=values["log_every"],
                checkpoint_every=values["checkpoint_every"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{run.path / 'run.json'} does not describe a run: {error}") from None

    @property
    def machine(self) -> EngineConfig:
        """The geometry that the device runs."""
        return self.roomy if self.device == "golden" else self.engine

    @property
    def roomy(self) -> EngineConfig:
        """A geometry that golden machines are fast with: a whole tile in the lanes, memories to spare."""
        if self.recipe.tile > 4096:
            return self.engine
        return replace(
            self.engine, rows=8, lanes=self.recipe.tile, lanes_per_table=1, activation_depth=_ROOMY,
            parameter_depth=_ROOMY, program_depth=_ROOMY,
        )  # fmt: skip

    def compile(self, task: Task, engine: EngineConfig) -> Compiled:
        """The experiment's network, compiled for any engine; the results never depend on which.

        :raises CompileError: if it does not fit.
        """
        parameters = self.model.initial_parameters(self.recipe.seed)
        return compile(self.model, self.recipe, engine, parameters, task.train.inputs, task.train.labels)

    def prepare(self, waves: Waves | None = None, status: Status = lambda text: None) -> Prepared:
        """Loads the data, compiles, builds the device and loads it.

        :param waves: write these waveforms; each command then trains one step.
        :param status: told what is going on before it takes long.
        :raises TaskError: if the data cannot be used.
        :raises CompileError: if the network does not fit the engine.
        :raises DeviceError: if the device cannot be built.
        """
        task = load_task(self.task)
        reported = self.compile(task, self.engine)
        compiled = reported if self.machine == self.engine else self.compile(task, self.machine)
        device = build_device(self.device, self.machine, waves=waves, status=status)
        limit = {} if waves is None else {"longest": 1}
        return Prepared(self, task, Session(device, compiled, reported, **limit))

    @property
    def command(self) -> str:
        """The command line that makes the same run again."""
        presets = {config: name for name, config in PRESETS.items()}
        words = ["dither", "train", self.task, "--device", self.device,
                 "--engine", presets.get(self.engine, f"{self.engine.rows}x{self.engine.lanes}"),
                 "--steps", str(self.steps), "--log-every", str(self.log_every)]  # fmt: skip
        defaults = load_task(self.task).recipe.to_dict()
        for name, value in self.recipe.to_dict().items():
            if name == "seed" or value != defaults[name]:
                option = f"--{name.replace('_', '-')}"
                many = isinstance(value, (list, tuple))
                words += (
                    [option] if value is True else [option, ",".join(map(str, value)) if many else str(value).lower()]
                )
        return shlex.join(words)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment whose device is ready."""

    experiment: Experiment
    task: Task
    session: Session

    def describe(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        chosen, compiled = self.experiment, self.session.reported
        program = hashlib.sha256(np.array(compiled.program, "<u4").tobytes()).hexdigest()[:16]
        formats = {name: str(tensor.format) for name, tensor in compiled.tensors.items()}
        return {
            "task": chosen.task,
            "title": f"{self.task.name}: {self.task.title}",
            "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "command": chosen.command,
            "device": chosen.device,
            "steps": chosen.steps,
            "log_every": chosen.log_every,
            "checkpoint_every": chosen.checkpoint_every,
            "seed": chosen.recipe.seed,
            "engine": chosen.engine.to_dict(),
            "engine_digest": chosen.engine.digest(),
            "recipe": chosen.recipe.to_dict(),
            "model": chosen.model.to_dict(),
            "sizes": [chosen.model.inputs, *(layer.output_size for layer in chosen.model.layers)],
            "numerics": {"width": chosen.engine.width, "table_bits": chosen.engine.table_bits,
                         "loss_frac": compiled.formats.loss_frac, "formats": formats,
                         "gradient_shifts": dict(compiled.formats.gradient_shifts)},
            "samples": {"train": len(self.task.train), "test": len(self.task.test)},
            "tensors": [{"name": t.name, "shape": list(t.shape), "frac": t.frac} for t in self.session.tensors],
            "program": {"words": len(compiled.program), "digest": program},
            "plan": describe_plan(compiled),
            "memories": describe_memories(compiled),
            "versions": versions(),
            "progress": {"step": 0, "seconds": 0.0, "counters": dict(self.session.counters)},
        }  # fmt: skip

    def trainer(self, run: RunFolder) -> Trainer:
        """The loop that trains into a run folder."""
        chosen, compiled = self.experiment, self.session.compiled
        initial = compiled.initial_state(chosen.model.initial_parameters(chosen.recipe.seed))
        return Trainer(
            task=self.task, session=self.session, recipe=chosen.recipe, run=run, initial=initial, steps=chosen.steps,
            log_every=chosen.log_every, checkpoint_every=chosen.checkpoint_every,
        )  # fmt: skip

    def finish(self, run: RunFolder) -> None:
        """Adds the activations' ranges at the present state to ``run.json``."""
        chosen = self.experiment
        compiled = chosen.compile(self.task, chosen.roomy)
        ranges = activation_ranges(compiled, self.session.state(), self.task.test.inputs)
        run.update(activations=ranges)

    def summary(self) -> str:
        """One line for people."""
        chosen = self.experiment
        return (
            f"{chosen.model}; {chosen.engine.geometry} engine, {chosen.device}; {chosen.steps} steps of "
            f"{chosen.recipe.batch} samples, {self.session.forwards_per_step // chosen.recipe.batch} forwards each"
        )

    def close(self) -> None:
        """Gives the device back."""
        self.session.device.close()
