"""Experiments: from a few choices to task, model, programs and device."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.config import EngineConfig, engine, engine_name, preset
from ..arch.device import DeviceError
from ..compiler import Compiled, CompileError
from ..data import Samples
from ..devices import SOFTWARE
from ..nn.models import MODELS, Model, Parameters, named_model, with_ranks
from ..nn.network import Network
from ..recipe import Recipe
from ..recipe.phases import Phase, parse_phases, phase_text
from ..runs import RunError, RunFolder
from ..tools.files import AnyPath
from .config import CONFIG, WORKER
from .own import classifier, classifier_recipe, content_digest, part_digest, read_part
from .source import Source
from .task import Task, TaskError, TrainingTask
from .tasks import load_task, task_names

__all__ = ["INITIAL", "SAMPLES", "Experiment", "initial_digest", "owners_of", "roomy"]

INITIAL = "initial.npz"
"""Name of the file, in a run folder, that holds the initial parameters that a run was given."""
SAMPLES = "data.npz"
"""Name of the file, in a run folder, that holds the samples of a run that was given arrays."""
_PRESETS = ("2x16", "4x32", "8x32-deep")
"""Engines that a program is tried on, in this order, where neither task nor user names one."""
_ROOMY = 1 << 15
"""Depth of memories in words where machines are software, which has room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """All choices that make a training run."""

    task: str
    """Name of the task, or its file, as :func:`dither.train.tasks.load_task` takes it."""
    model: Model
    """Model that is trained."""
    recipe: Recipe
    """Recipe by which it is trained; of several phases, the first one's."""
    engine: EngineConfig
    """Engine that decides the number formats and whose cycles are reported."""
    device: str
    """Machine that trains: one of :data:`dither.devices.DEVICES`, or a line to a board."""
    steps: int
    """Number of optimiser steps."""
    log_every: int
    """Number of optimiser steps between evaluations."""
    checkpoint_every: int
    """Number of optimiser steps between checkpoints."""
    phases: tuple[Phase, ...] = ()
    """All phases, the first of which has :attr:`recipe`; empty if there is only one."""
    stencil: str | None = None
    """Name of the stencil by which derivatives are taken; the task's own if None."""
    data: Path | None = None
    """Folder of the task's files; :func:`dither.data.data_folder` finds another if None."""
    network: str | None = None
    """Name or file of :attr:`model`; None for the task's own."""
    parameters: Parameters | None = None
    """Initial parameters; random ones, drawn from the recipe's seed, if None."""
    board: EngineConfig | None = None
    """Engine of the board that is the device; None for others or before the board is asked."""
    engine_of: str | None = None
    """Name or file of the board that :attr:`engine` was taken from; None if from none."""
    ranks: int | None = None
    """Largest inner ranks that :attr:`model` was cut down to; None if it was not."""
    devices: tuple[str, ...] = ()
    """Names of the devices that share each step, next to :attr:`device`; none if that is alone."""
    data_of: tuple[str, ...] = ()
    """Samples of several owners, of which each step takes equal parts: their files, or
    :data:`~dither.train.config.WORKER` for each; empty if the task's own are trained on."""
    loaded: TrainingTask | None = field(default=None, compare=False, repr=False)
    """Task itself, if it has been loaded already."""
    samples: Samples | None = field(default=None, compare=False, repr=False)
    """Samples that the run folder must keep, as nothing else does; None if the task has a file."""

    @classmethod
    def of_task(
        cls,
        task: str | TrainingTask,
        *,
        device: str,
        engine: EngineConfig | None = None,
        steps: int | None = None,
        log_every: int | None = None,
        checkpoint_every: int = 200,
        recipe: Mapping[str, Any],
        then: Sequence[str] = (),
        stencil: str | None = None,
        data: AnyPath | None = None,
        network: AnyPath | None = None,
        model: Model | None = None,
        parameters: Parameters | None = None,
        engine_of: str | None = None,
        ranks: int | None = None,
        samples: Samples | None = None,
    ) -> Experiment:
        """Makes an experiment from a task's model and recipe, with changes.

        :param task: what :func:`~dither.train.tasks.load_task` takes, or a task itself.
        :param recipe: fields of the recipe that differ from the task's; the rule by its name.
        :param then: further phases, as :func:`~dither.recipe.phases.parse_phase` takes them.
        :param stencil: how derivatives are taken, if other than the task does, for a differential
            equation.
        :param data: the folder of the task's files, for a task that has any.
        :param network: instead of the task's model, one of :data:`~dither.nn.models.MODELS`, or a
            file of :meth:`dither.nn.network.Network.save`, whose parameters are then the initial
            ones; or sizes of plain hidden layers, such as ``64,32``.
        :param model: instead of the task's model, without a name.
        :param parameters: initial parameters; random ones if None.
        :param engine_of: name or file of the board that has ``engine``, if it is one's.
        :param ranks: largest inner ranks of the model's tensor trains, if it shall be smaller.
        :param samples: what the run folder must keep of a task that has no file.
        :raises TaskError: if the task or the stencil is unknown, or data cannot be read.
        :raises ValueError: if the changed recipe is invalid, or there is no such network.
        """
        found = load_task(task, stencil, data) if isinstance(task, str) else task
        if network is not None:
            network = os.fspath(network)
            model, parameters = _network(network, parameters, found)
        model = model or found.model
        if ranks is not None:
            if parameters is not None:
                raise ValueError("ranks cannot be given for a network whose parameters are")
            model = with_ranks(model, ranks)
        first = _recipe(found, model, network, recipe)
        chosen = cls(
            task=task if isinstance(task, str) else found.name,
            model=model,
            recipe=first,
            engine=engine or preset(found.engine or _PRESETS[-1]),
            device=device,
            steps=steps or found.steps,
            log_every=log_every or found.log_every,
            checkpoint_every=checkpoint_every,
            phases=parse_phases(first, then),
            stencil=stencil,
            data=None if data is None else Path(data),
            network=network,
            parameters=parameters,
            engine_of=engine_of,
            ranks=ranks,
            loaded=found,
            samples=samples,
        )
        return chosen if engine or found.engine else replace(chosen, engine=chosen.smallest_engine())

    @classmethod
    def of_run(
        cls,
        run: RunFolder,
        steps: int | None = None,
        data: AnyPath | None = None,
        device: str | None = None,
        task: str | None = None,
    ) -> Experiment:
        """Makes the experiment that a run folder holds.

        :param task: where the run's task is now, if it is one of one's own and has moved.
        :param steps: another number of steps, if not None.
        :param device: another device, if not None.
        :param data: the folder of the task's files, for a task that has any.
        :raises RunError: if ``run.json`` lacks something.
        :raises TaskError: if the task has moved or changed.
        """
        try:
            name, loaded = _own_task(run, task)
            found = cls.of_choices({**run.description, "task": name}, _initial(run))
        except TaskError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(f"{run.path / 'run.json'} does not describe a run: {error}") from None
        found = replace(
            found,
            steps=steps or found.steps,
            data=None if data is None else Path(data),
            device=device or found.device,
            devices=() if device else found.devices,
            loaded=loaded,
        )
        if (owners := run.description.get("owners")) and owners != owners_of(found.load()):
            raise TaskError(
                f"data of owners have changed since {run.path} began ({', '.join(found.data_of)}); train them in a "
                "new run"
            )
        return found

    @classmethod
    def of_choices(cls, values: Mapping[str, Any], parameters: Parameters | None) -> Experiment:
        """Makes an experiment from what :meth:`choices` returned, or a ``run.json`` that has it.

        :param parameters: the initial parameters that the run was given, if any.
        :raises LookupError: if something is missing; ValueError, TypeError or another of their kind
            if it makes no sense.
        """
        return cls(
            task=values["task"],
            model=Model.from_dict(values["model"]),
            recipe=Recipe.from_dict(values["recipe"]),
            engine=EngineConfig.from_dict(values["engine"]),
            device=values["device"],
            steps=values["steps"],
            log_every=values["log_every"],
            checkpoint_every=values["checkpoint_every"],
            stencil=values.get("stencil"),
            phases=tuple(Phase.from_dict(phase) for phase in values.get("phases", ())),
            network=values.get("network"),
            parameters=parameters,
            engine_of=values.get("engine_of"),
            ranks=values.get("ranks"),
            devices=tuple(values.get("devices", ())),
            data_of=tuple(values.get("data_of", ())),
        )

    def choices(self) -> dict[str, Any]:
        """Returns all choices but the data's folder and parameters, as JSON data."""
        source = None if self.task in task_names() else Source.of(self.task)
        return {
            "task": self.task if source is None else str(replace(source, path=source.path.resolve())),
            "device": self.device,
            **({"devices": list(self.devices)} if self.devices else {}),
            **({"data_of": [_absolute(each) for each in self.data_of]} if self.data_of else {}),
            "steps": self.steps,
            "log_every": self.log_every,
            "checkpoint_every": self.checkpoint_every,
            "engine": self.engine.to_dict(),
            "engine_of": self.engine_of,
            "recipe": self.recipe.to_dict(),
            "phases": [phase.to_dict() for phase in self.phases],
            "model": self.model.to_dict(),
            "ranks": self.ranks,
            "stencil": self.stencil,
            "network": self.network,
        }

    @property
    def machine(self) -> EngineConfig:
        """Engine configuration that the device has.

        Machines in software have :attr:`roomy`, a board its own, and simulated RTL :attr:`engine`.
        """
        return self.roomy if self.device in SOFTWARE else self.board or self.engine

    @property
    def roomy(self) -> EngineConfig:
        """Engine configuration that golden and native machines are fast with.

        A whole tile fits into its lanes, and its memories are large.
        """
        if self.recipe.tile > 4096:
            return self.engine
        return roomy(self.engine, self.recipe.tile)

    @property
    def name(self) -> str:
        """Name of the task, which run folders begin with."""
        return self.task if self.task in task_names() else self.load().name

    def load(self) -> TrainingTask:
        """Returns the task with its data.

        :raises TaskError: if they cannot be used.
        """
        task = self.loaded or load_task(self.task, self.stencil, self.data)
        if not self.data_of or self.distant:
            return task
        parts = tuple(read_part(path, task) for path in self.data_of)
        assert isinstance(task, Task)
        return replace(task, parts=parts)

    @property
    def distant(self) -> bool:
        """Whether the samples that are trained on stay with workers."""
        return WORKER in self.data_of

    def smallest_engine(self) -> EngineConfig:
        """Returns the first of a few presets that the program fits; the largest if none does."""
        for name in _PRESETS[:-1]:
            try:
                self.recipe.check_engine(preset(name))
                self.compile(self.load(), preset(name))
            except ValueError:
                continue
            return preset(name)
        return preset(_PRESETS[-1])

    @property
    def initial_parameters(self) -> Parameters:
        """Parameters that training begins with."""
        return self.parameters or self.model.initial_parameters(self.recipe.seed)

    @property
    def course(self) -> tuple[Phase, ...]:
        """All phases in their order, at least one."""
        return self.phases or (Phase(self.recipe),)

    def compile(self, task: TrainingTask, engine: EngineConfig, phase: int = 0) -> Compiled:
        """Compiles the experiment's network for any engine; the results do not depend on which.

        :param phase: number of the phase whose program is wanted, from 0.
        :raises CompileError: if it does not fit, or its number formats are not those of the first
            phase.
        """
        parameters = self.initial_parameters
        compiled = task.compile(self.model, self.course[phase].recipe, engine, parameters)
        if phase:
            first = task.compile(self.model, self.recipe, engine, parameters).formats.tensors
            for name, form in compiled.formats.tensors.items():
                if form != first[name]:
                    raise CompileError(
                        f"{name}: phase {phase + 1} would need format {form}, phase 1 has {first[name]}; use the same "
                        "mu and hidden_headroom in all phases"
                    )
        return compiled

    @property
    def _optional(self) -> bool:
        """Whether options alone say everything: arrays and networks of programs have no name."""
        if self.samples is not None or (self.parameters is not None and self.network is None):
            return False
        try:
            named = self.board is not None or engine(engine_name(self.engine)) == self.engine
            if self.network is not None and Path(self.network).suffix:
                return named
            task = self.load()
            model = task.model if self.network is None else _network(self.network, None, task)[0]
        except ValueError:
            return False
        return named and model == self.model

    def require_numerics(self) -> None:
        """Makes sure that the device can give the experiment's bits.

        :raises DeviceError: if its numbers have other widths.
        """
        machine = self.machine
        for name in ("width", "table_bits"):
            ours, theirs = getattr(self.engine, name), getattr(machine, name)
            if ours != theirs:
                raise DeviceError(
                    f"the run has {name} {ours} (engine {self.engine.digest()}), {self.device} has {theirs} (engine "
                    f"{machine.digest()}): it could not give the same bits"
                )

    def command(self, folder: AnyPath | None = None) -> str:
        """Returns the command line that makes the same run again.

        :param folder: the run's folder, whose configuration file it names where options cannot say
            everything.
        """
        if folder is not None and not self._optional:
            return shlex.join(["dither", "train", str(Path(folder, CONFIG))])
        named = [] if self.board is not None else ["--engine", engine_name(self.engine)]
        if self.engine_of is not None:
            named = ["--board", self.engine_of]
        words = [
            "dither",
            "train",
            self.task,
            *(["--devices", ",".join(self.devices)] if self.devices else ["--device", self.device]),
            *named,
            "--steps",
            str(self.steps),
            "--log-every",
            str(self.log_every),
        ]
        if self.data_of:
            words += ["--data-of", f"{WORKER}:{len(self.data_of)}" if self.distant else ",".join(self.data_of)]
        if self.stencil is not None:
            words += ["--stencil", self.stencil]
        if self.network is not None:
            words += ["--model", self.network]
        if self.ranks is not None:
            words += ["--ranks", str(self.ranks)]
        task, estimator = self.load(), self.recipe.estimator
        defaults = _suited(task, self.model, self.network, estimator).to_dict()
        defaults["estimator"] = _suited(task, self.model, self.network).estimator
        for name, value in self.recipe.to_dict().items():
            if name == "seed" or value != defaults[name]:
                option = f"--{name.replace('_', '-')}"
                many = isinstance(value, (list, tuple))
                words += (
                    [option] if value is True else [option, ",".join(map(str, value)) if many else str(value).lower()]
                )
        for before, phase in itertools.pairwise(self.course):
            words += ["--then", phase_text(before, phase)]
        return shlex.join(words)


def owners_of(task: TrainingTask) -> list[str]:
    """Returns a digest of each owner's samples, where a task has samples of several owners."""
    return [part_digest(part) for part in task.parts] if isinstance(task, Task) else []


def _absolute(owner: str) -> str:
    return owner if owner == WORKER else str(Path(owner).resolve())


def roomy(engine: EngineConfig, lanes: int) -> EngineConfig:
    """Returns an engine of the same numerics with large memories, which golden machines are fast
    with.

    :param lanes: number of lanes.
    """
    return replace(
        engine,
        rows=8,
        lanes=lanes,
        lanes_per_table=1,
        activation_depth=_ROOMY,
        parameter_depth=_ROOMY,
        program_depth=_ROOMY,
        word_parts=1,
        compact=0,
    )


def _network(name: str, parameters: Parameters | None, task: TrainingTask) -> tuple[Model, Parameters | None]:
    """Returns the model of a name, of sizes or a file, and its parameters if it is a file."""
    if re.fullmatch(r"\d+(,\d+)*", name):
        hidden = [int(size) for size in name.split(",")]
        if not isinstance(task, Task):
            raise ValueError(f"--model {name}: sizes of hidden layers make a network for classes, not for {task.name}")
        return classifier(task.features, task.classes, hidden), parameters
    if name in MODELS or not Path(name).suffix:
        return named_model(name), parameters
    found = Network.load(name)
    return found.model, found.parameters if parameters is None else parameters


def _recipe(task: TrainingTask, model: Model, network: str | None, changes: Mapping[str, Any]) -> Recipe:
    """Returns a task's recipe for a model, with changes."""
    return Recipe.from_dict(_suited(task, model, network, changes.get("estimator")).to_dict() | dict(changes))


def _suited(task: TrainingTask, model: Model, network: str | None, estimator: Any = None) -> Recipe:
    """Returns a task's recipe for a model and, if one is asked for, an estimator."""
    chosen = task.recipe_for(network, estimator)
    if task.engine is None and isinstance(chosen.estimator, tuple) and len(chosen.estimator) != len(model.layers):
        suited = classifier_recipe(len(model.layers), task.steps)
        chosen = replace(chosen, estimator=suited.estimator, rate=suited.rate)
    return chosen


def _own_task(run: RunFolder, given: str | None) -> tuple[str, TrainingTask | None]:
    """Returns the name of a run's task and, if it is one of one's own, the task.

    :param given: where it is now, if somebody says so.
    :raises TaskError: if it has moved, or is another one than the run began with.
    """
    values = run.description
    if (source := values.get("source")) is None:
        if given not in (None, values["task"]):
            raise TaskError(f"{run.path} trains {values['task']}, not {given}; leave {given} out")
        return values["task"], None
    if given is None and source["path"] is None:
        raise TaskError(
            f"the task of {run.path} was made by a program; put it into a file and give that too: CODE.py:NAME"
        )
    if given is None and not (path := run.path / source["path"]).exists():
        raise TaskError(
            f"the task of {run.path} came from {path}, which is not there now; give its new place: "
            f"dither train PLACE --resume {run.path}"
        )
    name = given or str(Source(path, source["part"]))
    task = load_task(name, values.get("stencil"))
    if content_digest(task) != source["digest"]:
        raise TaskError(f"{name} has changed since {run.path} began: it is another task now; train it in a new run")
    return name, task


def initial_digest(model: Model, parameters: Parameters) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of initial parameters, as float64."""
    content = b"".join(np.asarray(parameters[name], "<f8").tobytes() for name in model.parameter_shapes())
    return hashlib.sha256(content).hexdigest()[:16]


def _initial(run: RunFolder) -> Parameters | None:
    """Returns the initial parameters that a run was given, if it was given any."""
    if (wanted := run.description.get("initial")) is None:
        return None
    found = Network.load(run.path / INITIAL)
    run.require(
        initial_digest(found.model, found.parameters) == wanted, f"began with other parameters than {INITIAL} holds"
    )
    return found.parameters
