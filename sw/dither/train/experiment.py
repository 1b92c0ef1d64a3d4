"""Experiments: from a few choices to task, model, programs, device and run folder."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.config import ARITHMETIC, EngineConfig, engine, engine_name, preset
from ..arch.device import DeviceError
from ..compiler import Compiled, CompileError, State, formats_to_dict
from ..data import Samples, write_samples
from ..devices import SOFTWARE, Status, Waves, board_engine, build_device, is_line, require_device
from ..link.protocol import Identity
from ..nn.models import MODELS, Model, Parameters, named_model, with_ranks
from ..nn.network import Network
from ..recipe import Recipe
from ..recipe.phases import Phase, parse_phases, phase_text
from ..runs import RunError, RunFolder
from ..tools.files import AnyPath, write_atomically
from .activations import activation_ranges
from .config import CONFIG, config_text
from .describe import describe_memories, describe_plan, versions
from .loop import Trainer
from .own import classifier, classifier_recipe, content_digest
from .sampler import DataBatches
from .session import Session, unpack_state
from .source import Source
from .task import Task, TaskError, TrainingTask
from .tasks import load_task, task_names

__all__ = ["Experiment", "Prepared", "roomy"]

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
        return replace(
            found,
            steps=steps or found.steps,
            data=None if data is None else Path(data),
            device=device or found.device,
            devices=() if device else found.devices,
            loaded=loaded,
        )

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
        )

    def choices(self) -> dict[str, Any]:
        """Returns all choices but the data's folder and parameters, as JSON data."""
        source = None if self.task in task_names() else Source.of(self.task)
        return {
            "task": self.task if source is None else str(replace(source, path=source.path.resolve())),
            "device": self.device,
            **({"devices": list(self.devices)} if self.devices else {}),
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
        return self.loaded or load_task(self.task, self.stencil, self.data)

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

    def prepare(self, waves: Waves | None = None, status: Status = lambda text: None) -> Prepared:
        """Loads the data, compiles the program, builds the device and loads the program into it.

        :param waves: write these waveforms; each command then trains one step.
        :param status: called with what is going on before it takes long.
        :raises TaskError: if the data cannot be used.
        :raises CompileError: if the network does not fit the engine.
        :raises DeviceError: if the device cannot be built, or is a board with other number formats.
        """
        if self.board is None and is_line(self.device):
            return replace(self, board=board_engine(self.device)).prepare(waves, status)
        require_device(self.device, waves)
        self.require_numerics()
        task = self.load()
        reported = self.compile(task, self.engine)
        compiled = reported if self.machine == self.engine else self.compile(task, self.machine)
        device = build_device(self.device, self.machine, waves=waves, status=status)
        limit = {} if waves is None else {"longest": 1}
        for phase in range(1, len(self.course)):
            # What cannot be compiled is refused now rather than in the middle of the run.
            self.compile(task, self.engine, phase)
        session = Session(device, compiled, reported, **limit)
        batches = task.batches(self.recipe)
        if isinstance(batches, DataBatches):
            session.keep(batches.inputs, batches.labels, status)
        return Prepared(self, task, session)

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
        if self.stencil is not None:
            words += ["--stencil", self.stencil]
        if self.network is not None:
            words += ["--model", self.network]
        if self.ranks is not None:
            words += ["--ranks", str(self.ranks)]
        defaults = _recipe(self.load(), self.model, self.network, {}).to_dict()
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
    chosen = task.recipe_for(network)
    if task.engine is None and isinstance(chosen.estimator, tuple) and len(chosen.estimator) != len(model.layers):
        suited = classifier_recipe(len(model.layers), task.steps)
        chosen = replace(chosen, estimator=suited.estimator, rate=suited.rate)
    return Recipe.from_dict(chosen.to_dict() | dict(changes))


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


def _digest(model: Model, parameters: Parameters) -> str:
    content = b"".join(np.asarray(parameters[name], "<f8").tobytes() for name in model.parameter_shapes())
    return hashlib.sha256(content).hexdigest()[:16]


def _initial(run: RunFolder) -> Parameters | None:
    """Returns the initial parameters that a run was given, if it was given any."""
    if (wanted := run.description.get("initial")) is None:
        return None
    found = Network.load(run.path / INITIAL)
    run.require(_digest(found.model, found.parameters) == wanted, f"began with other parameters than {INITIAL} holds")
    return found.parameters


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment whose data are loaded and whose device is ready."""

    experiment: Experiment
    """Choices that the run is made of."""
    task: TrainingTask
    """Task with its data loaded."""
    session: Session
    """Device with the program of the first phase loaded."""

    def describe(self, folder: AnyPath | None = None) -> dict[str, Any]:
        """Returns the content of ``run.json`` for a new run.

        :param folder: the run's folder; None for one that has none.
        """
        chosen, compiled = self.experiment, self.session.reported
        program = hashlib.sha256(np.array(compiled.program, "<u4").tobytes()).hexdigest()[:16]
        formats = {name: str(tensor.format) for name, tensor in compiled.tensors.items()}
        return {
            "title": f"{self.task.name}: {self.task.title}",
            "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "command": chosen.command(folder),
            **chosen.choices(),
            "task": chosen.name,
            "source": self.source,
            "board": self.board,
            "seed": chosen.recipe.seed,
            "engine_digest": chosen.engine.digest(),
            "sizes": [chosen.model.inputs, *(layer.output_size for layer in chosen.model.layers)],
            "numerics": {
                "arithmetic": ARITHMETIC,
                "width": chosen.engine.width,
                "table_bits": chosen.engine.table_bits,
                "loss_frac": compiled.formats.loss_frac,
                "formats": formats,
                "gradient_shifts": dict(compiled.formats.gradient_shifts),
            },
            "forward": formats_to_dict(compiled.formats),
            "samples": dict(self.task.samples),
            "scaling": self.task.scaling.to_dict() if isinstance(self.task, Task) else None,
            "classes": list(self.task.names) if isinstance(self.task, Task) and self.task.names else None,
            "metric": self.task.metric.name,
            "initial": None if chosen.parameters is None else _digest(chosen.model, chosen.parameters),
            "tensors": [{"name": t.name, "shape": list(t.shape), "frac": t.frac} for t in self.session.tensors],
            "program": {"words": len(compiled.program), "digest": program},
            "plan": describe_plan(compiled),
            "memories": describe_memories(compiled),
            "versions": versions(),
            "progress": {"step": 0, "seconds": 0.0, "counters": dict(self.session.counters)},
            **self.session.facts(),
        }

    def _config(self) -> str:
        """Returns the content of ``run.toml``."""
        chosen, source = self.experiment, self.source
        task = chosen.task
        if source is not None:
            path = source["path"] or f"{chosen.name}.py"  # A program's object: there will be a file, or there won't.
            task = str(Source(Path(path), source["part"]))
        return config_text(
            task=task,
            device=chosen.device,
            config=chosen.engine,
            steps=chosen.steps,
            log_every=chosen.log_every,
            checkpoint_every=chosen.checkpoint_every,
            model=chosen.model,
            course=chosen.course,
            stencil=chosen.stencil,
            data=chosen.data,
            network=None if chosen.parameters is None else INITIAL,
        )

    @property
    def source(self) -> dict[str, str | None] | None:
        """Returns where a task of one's own comes from; None for the project's own."""
        chosen = self.experiment
        if chosen.task in task_names():
            return None
        digest = content_digest(self.task)
        if chosen.samples is not None:
            # In the run folder, and found there wherever that is.
            return {"path": SAMPLES, "part": None, "digest": digest}
        if (source := Source.of(chosen.task)) is None:
            return {"path": None, "part": None, "digest": digest}
        return {"path": str(source.path.resolve()), "part": source.part, "digest": digest}

    @property
    def board(self) -> dict[str, Any] | None:
        """Facts about the board that the run trains on; None if it trains on another device."""
        identity = getattr(self.session.device, "identity", None)
        if not isinstance(identity, Identity):
            return None
        return {
            "name": identity.board,
            "build": f"{identity.build:016x}",
            "clock": identity.clock,
            "baud": identity.baud,
            "engine": self.session.device.config.to_dict(),
        }

    @property
    def initial(self) -> State:
        """Master parameters and moments of step 0."""
        chosen = self.experiment
        return self.session.compiled.commands.initial_state(chosen.initial_parameters)

    def trainer(self, run: RunFolder) -> Trainer:
        """Returns the loop that trains into a run folder.

        Initial parameters that the run was given are written into the folder.
        """
        chosen = self.experiment
        if chosen.parameters is not None and not (run.path / INITIAL).exists():
            Network(chosen.model, chosen.parameters).save(run.path / INITIAL)
        if chosen.samples is not None:
            write_samples(run.path / SAMPLES, chosen.samples)
        if not (run.path / CONFIG).exists():
            text = self._config()
            write_atomically(run.path / CONFIG, lambda file: file.write(text.encode()))
        return Trainer(
            task=self.task,
            session=self.session,
            phases=chosen.course,
            change=self.phase,
            run=run,
            initial=self.initial,
            steps=chosen.steps,
            log_every=chosen.log_every,
            checkpoint_every=chosen.checkpoint_every,
        )

    def phase(self, number: int) -> Session:
        """Returns a session for another phase on the same device.

        :param number: number of the phase, from 0.
        """
        chosen, now = self.experiment, self.session
        reported = chosen.compile(self.task, chosen.engine, number)
        own = reported if chosen.machine == chosen.engine else chosen.compile(self.task, chosen.machine, number)
        return now.successor(own, reported, number)

    def finish(self, run: RunFolder) -> None:
        """Adds the activations' ranges at the newest checkpoint's state to ``run.json``."""
        chosen = self.experiment
        checkpoint = run.load_checkpoint()
        compiled = chosen.compile(self.task, chosen.roomy, checkpoint.meta["phase"]["number"])
        ranges = activation_ranges(compiled, unpack_state(checkpoint.arrays), self.task.range_inputs)
        run.update(activations=ranges)

    def summary(self) -> str:
        """Returns one line for people: model, engine, device and amount of work."""
        chosen = self.experiment
        return (
            f"{chosen.model}; {chosen.engine.geometry} engine, {', '.join(chosen.devices) or chosen.device}; "
            f"{chosen.steps} steps of "
            f"{chosen.recipe.batch} samples, {self.session.forwards_per_step // chosen.recipe.batch} forwards each"
        )

    def close(self) -> None:
        """Gives the device back, which cannot be used afterwards."""
        self.session.close()
