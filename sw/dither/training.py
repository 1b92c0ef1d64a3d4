"""The training loop: chunks of steps on a device, evaluation, the run folder kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .compiler import State
from .recipe import Recipe
from .runs import CurveRow, RunFolder, parameter_digest
from .sampler import Sampler
from .session import Session, flat_masters, pack_state, unpack_state
from .tasks import Task

__all__ = ["Progress", "Trainer"]

CHUNK_SECONDS = 1.0
"""Aim for the time of one device command: long enough to be cheap, short enough for a lively display."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands, for displays."""

    step: int
    steps: int
    forwards: int
    train_loss: float
    """Mean unperturbed loss of the last chunk; NaN before the first."""
    row: CurveRow
    """The last logged step."""
    seconds: float
    """Wall time spent so far, earlier sessions of a resumed run included."""


class Trainer:
    """Trains one run to its end or to an interruption.

    The bits do not depend on where chunks end, on interruptions or on the device.

    :param task: what to learn.
    :param session: the device and the compiled program.
    :param recipe: batch size and seed are taken from it.
    :param run: the folder, already created.
    :param initial: masters and moments of step 0.
    :param steps: optimiser steps in all.
    :param log_every: steps between evaluations; step 0 and the last step are logged too.
    :param checkpoint_every: steps between checkpoints; the last step is saved too.
    """

    def __init__(
        self, *, task: Task, session: Session, recipe: Recipe, run: RunFolder, initial: State, steps: int,
        log_every: int, checkpoint_every: int,
    ) -> None:  # fmt: skip
        self.task = task
        self.session = session
        self.recipe = recipe
        self.run = run
        self.initial = initial
        self.steps = steps
        self.log_every = log_every
        self.checkpoint_every = checkpoint_every
        self.sampler = Sampler(samples=len(task.train), batch=recipe.batch, seed=recipe.seed)
        self.step = 0
        self._seconds = 0.0
        self._pending = (0, 0)  # sum of integer losses since the last logged step, and how many steps they are of
        self._rows = 0
        self._row: CurveRow | None = None

    def start(self) -> None:
        """Loads initial parameters, logs step 0 and writes the first checkpoint.

        :raises DeviceError: if the device fails.
        :raises RunError: if the folder cannot be written.
        """
        self.session.load(self.initial)
        self._log()
        self._checkpoint()

    def resume(self) -> None:
        """Takes up the newest checkpoint: curve and history are cut back to it, the device gets its state.

        :raises CheckpointError: if it cannot be trusted.
        :raises RunError: if the folder's files do not go with it, or it is beyond the last step.
        """
        checkpoint = self.run.load_checkpoint()
        meta = checkpoint.meta
        self.run.require(checkpoint.step <= self.steps, f"is at step {checkpoint.step} already; ask for more --steps")
        if checkpoint.step < self.steps:
            self.run.truncate(meta["rows"])
        self._row = self.run.curve()[-1]
        self.step, self._rows, self._seconds = checkpoint.step, meta["rows"], meta["seconds"]
        self._pending = (meta["pending_loss"], meta["pending_steps"])
        self.session.load(unpack_state(checkpoint.arrays))
        self.session.counters = dict(meta["counters"])
        self._publish()

    def train(self, *, report: Callable[[Progress], None], stop: Callable[[], bool]) -> bool:
        """Goes on to the last step.

        :param report: called after each chunk.
        :param stop: asked after each chunk; True ends the run early, with a checkpoint.
        :returns: whether the last step was reached.
        :raises DeviceError: if the device fails.
        :raises RunError: if the folder cannot be written.
        """
        size = 1
        while self.step < self.steps:
            boundary = min(self._next(self.log_every), self._next(self.checkpoint_every))
            count = min(size, boundary - self.step, self.session.steps_per_command)
            begun = time.monotonic()
            losses = self._chunk(count)
            taken = time.monotonic() - begun
            size = max(1, min(2 * size, int(count * CHUNK_SECONDS / max(taken, 1e-3))))
            if self.step % self.log_every == 0 or self.step == self.steps:
                self._log()
            self._seconds += time.monotonic() - begun
            stopping = stop()
            if self.step % self.checkpoint_every == 0 or self.step == self.steps or stopping:
                self._checkpoint()
            report(self._progress(self.session.mean_loss(sum(losses), len(losses) * self.recipe.batch)))
            if stopping:
                break
        return self.step == self.steps

    def _chunk(self, count: int) -> list[int]:
        chosen = self.sampler.indices(self.step, count)
        data = self.task.train
        losses = self.session.train(self.step, data.inputs[chosen], data.labels[chosen])
        total, steps = self._pending
        self._pending = (total + sum(losses), steps + count)
        self.step += count
        return losses

    def _next(self, every: int) -> int:
        """The first multiple of ``every`` behind the current step, or the last step if that comes first."""
        return min((self.step // every + 1) * every, self.steps)

    def _log(self) -> None:
        total, steps = self._pending
        evaluation = self.session.evaluate(self.task.test.inputs, self.task.test.labels)
        parameters = flat_masters(self.session.state())
        self._row = CurveRow(
            step=self.step,
            forwards=self.step * self.session.forwards_per_step,
            train_loss=self.session.mean_loss(total, steps * self.recipe.batch) if steps else float("nan"),
            loss=evaluation.loss,
            accuracy=evaluation.accuracy,
            digest=parameter_digest(parameters),
        )
        self.run.append(self._row, parameters)
        # A last step off the grid is logged for this run's sake only: a longer run would not have that line, and
        # whoever resumes with more steps must get what the longer run would have got.
        if self.step % self.log_every == 0:
            self._rows += 1
            self._pending = (0, 0)

    def _checkpoint(self) -> None:
        total, steps = self._pending
        counters = dict(self.session.counters)
        meta = {"rows": self._rows, "seconds": self._seconds, "pending_loss": total, "pending_steps": steps,
                "counters": counters}  # fmt: skip
        self.run.save_checkpoint(self.step, pack_state(self.session.state()), meta)
        self._publish()

    def _publish(self) -> None:
        self.run.update(progress={"step": self.step, "seconds": self._seconds, "counters": dict(self.session.counters)})

    def _progress(self, train_loss: float) -> Progress:
        assert self._row is not None
        return Progress(
            self.step, self.steps, self.step * self.session.forwards_per_step, train_loss, self._row, self._seconds
        )
