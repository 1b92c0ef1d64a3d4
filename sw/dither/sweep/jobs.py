"""What a sweep's workers do: find out what trials cost, and train."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arch.device import DeviceError
from ..report.records import write_record
from ..runs import RunError, RunFolder
from ..runs.checkpoint import CheckpointError
from ..runs.lock import FolderLock
from ..train.experiment import Experiment
from ..train.prepared import prepare
from ..train.task import TaskError
from ..train.tasks import load_task
from .plan import Plan, Values
from .trial import Cost, assess

__all__ = ["costs", "train"]

_PATIENCE_SECONDS = 60.0
"""How long a job waits for a run folder that is in use."""


def costs(plan: Plan, trials: Sequence[Values]) -> list[Cost]:
    """Returns what some trials would cost."""
    task = load_task(plan.task, None, plan.data)
    return [assess(plan, values, task) for values in trials]


def train(choices: Mapping[str, Any], folder: Path, data: Path | None, steps: int, record: Path | None) -> str | None:
    """Trains up to a step, from wherever the run folder is; the bits do not depend on that.

    :param choices: those of the experiment.
    :param record: where the finished run is kept, so that anybody can repeat its first steps.
    :returns: what went wrong, in one line; None if nothing.
    """
    chosen = replace(Experiment.of_choices(choices, None), steps=steps, data=data)
    try:
        run = _taken_up(folder, steps)
        prepared = prepare(chosen)
        try:
            if run is None:
                run = RunFolder.create(folder, prepared.describe(folder))
                trainer = prepared.trainer(run)
                trainer.start()
            else:
                trainer = prepared.trainer(run)
                trainer.resume()
                run.update(steps=steps, command=chosen.command(run.path))
            trainer.train(report=lambda progress: None, stop=lambda: False)
        finally:
            prepared.close()
            if run is not None:
                run.close()
        if record is not None and not (record / "result.json").exists():
            write_record(RunFolder.open(folder), record, f"{chosen.task}, {folder.name}", "sweep", data)
    except (DeviceError, RunError, TaskError, ValueError, OSError) as error:
        return str(error)
    return None


def _taken_up(folder: Path, steps: int) -> RunFolder | None:
    """A run that was begun; what somebody left behind before its first checkpoint is removed."""
    if not folder.exists():
        return None
    # A worker whose sweep was killed may still be in its last step.
    lock, until = FolderLock(folder), time.monotonic() + _PATIENCE_SECONDS
    while not lock.take() and time.monotonic() < until:
        time.sleep(0.5)
    lock.release()
    run = None
    try:
        run = RunFolder.open(folder, writing=True)
        run.load_checkpoint()
    except (RunError, CheckpointError) as error:
        if run is not None:
            run.close()
        if "in use" in str(error):
            raise
        shutil.rmtree(folder)
        return None
    return run
