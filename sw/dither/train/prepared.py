"""Prepared experiments: with data and device ready, they describe, begin and end run folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.config import ARITHMETIC
from ..arch.device import DeviceError
from ..compiler import State, formats_to_dict
from ..data import write_samples
from ..devices import Status, Waves, board_engine, build_device, is_line, require_device
from ..link.protocol import Identity
from ..nn.network import Network
from ..runs import RunFolder
from ..tools.files import AnyPath, write_atomically
from .activations import activation_ranges
from .config import CONFIG, WORKER, config_text
from .describe import describe_memories, describe_plan, versions
from .experiment import INITIAL, SAMPLES, Experiment, initial_digest, owners_of
from .loop import Trainer
from .own import content_digest
from .sampler import DataBatches
from .session import Session, unpack_state
from .source import Source
from .task import Task, TrainingTask
from .tasks import task_names

__all__ = ["Prepared", "prepare"]


def prepare(experiment: Experiment, waves: Waves | None = None, status: Status = lambda text: None) -> Prepared:
    """Loads the data, compiles the program, builds the device and loads the program into it.

    :param waves: write these waveforms; each command then trains one step.
    :param status: called with what is going on before it takes long.
    :raises TaskError: if the data cannot be used.
    :raises CompileError: if the network does not fit the engine.
    :raises DeviceError: if the device cannot be built, or is a board with other number formats.
    """
    if experiment.board is None and is_line(experiment.device):
        return prepare(replace(experiment, board=board_engine(experiment.device)), waves, status)
    if experiment.distant:
        raise DeviceError(
            f"the run trains on data that only its workers have; give --cluster ADDRESS, and the {WORKER}s join it"
        )
    require_device(experiment.device, waves)
    experiment.require_numerics()
    task = experiment.load()
    reported = experiment.compile(task, experiment.engine)
    compiled = reported if experiment.machine == experiment.engine else experiment.compile(task, experiment.machine)
    device = build_device(experiment.device, experiment.machine, waves=waves, status=status)
    limit = {} if waves is None else {"longest": 1}
    for phase in range(1, len(experiment.course)):
        # What cannot be compiled is refused now rather than in the middle of the run.
        experiment.compile(task, experiment.engine, phase)
    session = Session(device, compiled, reported, **limit)
    batches = task.batches(experiment.recipe)
    if isinstance(batches, DataBatches):
        session.keep(batches.inputs, batches.labels, status)
    return Prepared(experiment, task, session)


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
            **({"owners": owners} if (owners := owners_of(self.task)) else {}),
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
            "initial": None if chosen.parameters is None else initial_digest(chosen.model, chosen.parameters),
            "tensors": [{"name": t.name, "shape": list(t.shape), "frac": t.frac} for t in self.session.tensors],
            "program": {"words": len(compiled.program), "digest": program},
            "plan": describe_plan(compiled),
            "memories": describe_memories(compiled),
            "versions": versions(),
            "progress": {"step": 0, "seconds": 0.0, "counters": dict(self.session.counters)},
            **self.session.facts(),
        }

    def _config(self, source: Mapping[str, Any] | None) -> str:
        """Returns the content of ``run.toml``.

        :param source: where a task of one's own comes from, as :attr:`source` says it.
        """
        chosen = self.experiment
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
            data_of=chosen.data_of,
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
            text = self._config(run.description.get("source"))
            write_atomically(run.path / CONFIG, text.encode())
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
