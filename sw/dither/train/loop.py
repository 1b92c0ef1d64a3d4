"""The training loop: chunks of steps on a device, evaluation, and an up-to-date run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arch.regmap import COUNTERS
from ..compiler import State
from ..recipe.phases import Phase, Plateau
from ..runs import CurveRow, RunFolder, parameter_digest
from ..runs.metrics import ACCURACY, Metric
from ..tools.forms import COUNT, misfit
from .session import Session, StoppedError, pack_state, state_shapes, unpack_state
from .tasks import TrainingTask

__all__ = ["Progress", "Trainer"]

CHUNK_SECONDS = 1.0
"""Seconds that one device command should take.

They are long enough to be cheap and short enough for a lively display.
"""
_POSITION = {
    "rows": COUNT,
    "seconds": float,
    "pending_loss": int,
    "pending_steps": COUNT,
    "counters": {counter.name: COUNT for counter in COUNTERS},
    "phase": {"number": COUNT, "begun": [COUNT], "plateau": [float]},
}
"""What a checkpoint says besides the state, in the terms of :func:`~dither.tools.forms.misfit`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a training run, for displays."""

    step: int
    """Number of optimiser steps done."""
    steps: int
    """Number of optimiser steps in all."""
    forwards: int
    """Number of samples that went through the network so far, in training."""
    train_loss: float
    """Mean unperturbed loss of the last chunk; NaN before the first."""
    row: CurveRow
    """The last logged step."""
    seconds: float
    """Wall time spent so far in seconds, that before a resumption included."""
    metric: Metric = ACCURACY
    """Metric that the row has a value of."""


class Trainer:
    """Trains one run to its end or to an interruption.

    The bits do not depend on where chunks end, on interruptions or on the device.

    :param task: what to learn.
    :param session: the device and the compiled program of the first phase.
    :param phases: recipes and when each of them ends.
    :param change: makes the session of another phase, by its number from 0.
    :param run: the folder, already created.
    :param initial: masters and moments of step 0.
    :param steps: number of optimiser steps in all.
    :param log_every: steps between evaluations; step 0 and the last step are logged too.
    :param checkpoint_every: steps between checkpoints; the last step is saved too.
    """

    def __init__(
        self,
        *,
        task: TrainingTask,
        session: Session,
        phases: Sequence[Phase],
        change: Callable[[int], Session],
        run: RunFolder,
        initial: State,
        steps: int,
        log_every: int,
        checkpoint_every: int,
    ) -> None:
        self.task = task
        self.session = session
        self.phases = phases
        self.change = change
        self.run = run
        self.initial = initial
        self.steps = steps
        self.log_every = log_every
        self.checkpoint_every = checkpoint_every
        self.batches = task.batches(phases[0].recipe)
        self.batch = phases[0].recipe.batch
        self.step = 0
        self.phase = 0
        # Step, samples forwarded and multiply-accumulates when the phase began.
        self._begun = (0, 0, 0)
        self._plateau = Plateau()
        self._seconds = 0.0
        # Sum of integer losses since the last logged step, and how many steps they are of.
        self._pending = (0, 0)
        self._rows = 0
        self._row: CurveRow | None = None
        # What run.json says of the last logged step besides the curve.
        self._seen: dict[str, Any] = {}

    def start(self) -> None:
        """Loads initial parameters, logs step 0 and writes the first checkpoint.

        :raises DeviceError: if the device fails.
        :raises RunError: if the folder cannot be written.
        """
        self.session.load(self.initial)
        self._log()
        self._checkpoint()

    def resume(self) -> None:
        """Goes back to the newest checkpoint that goes with curve and history; the device gets it.

        Curve and history are cut back to it, unless it is of the last step.

        :raises CheckpointError: if it cannot be trusted.
        :raises RunError: if the folder's files do not go with it, or it is beyond the last step.
        """
        checkpoint = self.run.take_up(self.steps)
        meta = checkpoint.meta
        checkpoint.require(misfit(meta, _POSITION))
        number, begun, plateau = (meta["phase"][name] for name in ("number", "begun", "plateau"))
        checkpoint.require(None if number < len(self.phases) else f"there is no phase {number + 1}")
        checkpoint.require(None if (len(begun), len(plateau)) == (3, 2) else "its phase's place is incomplete")
        if number:
            self.phase = number
            self.session = self.change(number)
        shapes = {name: values.shape for name, values in checkpoint.arrays.items()}
        same = shapes == state_shapes(self.session.compiled)
        checkpoint.require(None if same else "its arrays are not those of this network")
        self._row = self.run.curve()[-1]
        self.step, self._rows, self._seconds = checkpoint.step, meta["rows"], meta["seconds"]
        self._pending = (meta["pending_loss"], meta["pending_steps"])
        self._begun = (begun[0], begun[1], begun[2])
        self._plateau = Plateau(*plateau)
        self.session.load(unpack_state(checkpoint.arrays))
        self.session.counters = dict(meta["counters"])
        self._publish()

    def train(self, *, report: Callable[[Progress], None], stop: Callable[[], bool]) -> bool:
        """Trains on to the last step and returns whether that was reached.

        :param report: called after each chunk.
        :param stop: called after each chunk, and while a step has to wait; True ends the run early,
            with a checkpoint.
        :raises DeviceError: if the device fails.
        :raises RunError: if the folder cannot be written.
        """
        size = 1
        while self.step < self.steps:
            boundary = min(self._next(self.log_every), self._next(self.checkpoint_every), self._end_of_phase())
            count = min(size, boundary - self.step, self.session.steps_per_command)
            begun = time.monotonic()
            self.session.stop = stop
            try:
                losses = self._chunk(count)
            except StoppedError:
                self._checkpoint()
                break
            taken = time.monotonic() - begun
            size = max(1, min(2 * size, int(count * CHUNK_SECONDS / max(taken, 1e-3))))
            if self.step % self.log_every == 0 or self.step == self.steps:
                self._log()
            if self._phase_is_over():
                self._change_phase()
            self._seconds += time.monotonic() - begun
            stopping = stop()
            if self.step % self.checkpoint_every == 0 or self.step == self.steps or stopping:
                self._checkpoint()
            report(self._progress(self.session.mean_loss(sum(losses), len(losses) * self.batch)))
            if stopping:
                break
        return self.step == self.steps

    def _chunk(self, count: int) -> list[int]:
        losses = self.session.train_sums(self.step, *self.batches.take(self.step, count), begun=self._begun[0])
        total, steps = self._pending
        self._pending = (total + sum(losses), steps + count)
        self.step += count
        return losses

    def _next(self, every: int) -> int:
        """Returns the next multiple of ``every`` behind the current step, at most the last step."""
        return min((self.step // every + 1) * every, self.steps)

    def _end_of_phase(self) -> int:
        length = self.phases[self.phase].steps
        return self.steps if length is None else min(self.steps, self._begun[0] + length)

    def _phase_is_over(self) -> bool:
        phase = self.phases[self.phase]
        if self.phase + 1 == len(self.phases):
            return False
        if phase.plateau is not None:
            return self._plateau.stale >= phase.plateau
        return self.step == self._end_of_phase() < self.steps

    def _change_phase(self) -> None:
        """Goes on with the next phase's program: the parameters stay, moments begin at zero."""
        before, counters = self.session.state(), self.session.counters
        self._begun, self._plateau = (self.step, self.forwards, self.macs), Plateau()
        self.phase += 1
        self.session = self.change(self.phase)
        self.session.counters = counters
        tensors = self.session.compiled.tensors
        zeros = {name: np.zeros(tensor.shape, np.int64) for name, tensor in tensors.items()}
        kept = {name: before.master.get(name, zero) for name, zero in zeros.items()}
        self.session.load(State(kept, zeros, zeros))
        self._pending = (0, 0)  # Losses of another phase may have other fraction bits.

    @property
    def forwards(self) -> int:
        """Number of samples that went through the network so far, in training."""
        step, done, _ = self._begun
        return done + (self.step - step) * self.session.forwards_per_step

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates of training so far."""
        step, _, done = self._begun
        return done + (self.step - step) * self.session.reported.figures.step_macs

    def _log(self) -> None:
        total, steps = self._pending
        scores = self.task.score(self.session)
        parameters = self.session.masters()
        self._row = CurveRow(
            step=self.step,
            forwards=self.forwards,
            macs=self.macs,
            train_loss=self.session.mean_loss(total, steps * self.batch) if steps else float("nan"),
            loss=scores.loss,
            metric=scores.metric,
            digest=parameter_digest(parameters),
        )
        self.run.append(self._row, parameters)
        if scores.confusion is not None:
            self._seen = {"confusion": {"step": self.step, "counts": scores.confusion}}
        # A last step that is no multiple of log_every is logged, but does not count: a longer run
        # would not have that line, and a run resumed with more steps must get what the longer run
        # would have got.
        if self.step % self.log_every == 0:
            if steps:
                self._plateau.see(self._row.train_loss)
            self._rows += 1
            self._pending = (0, 0)

    def _checkpoint(self) -> None:
        total, steps = self._pending
        counters = dict(self.session.counters)
        meta = {
            "rows": self._rows,
            "seconds": self._seconds,
            "pending_loss": total,
            "pending_steps": steps,
            "counters": counters,
            "phase": {
                "number": self.phase,
                "begun": list(self._begun),
                "plateau": [self._plateau.best, self._plateau.stale],
            },
        }
        self.run.save_checkpoint(self.step, pack_state(self.session.state()), meta)
        self._publish()

    def _publish(self) -> None:
        progress = {"step": self.step, "seconds": self._seconds, "counters": dict(self.session.counters)}
        self.run.update(progress=progress, **self._seen, **self.session.facts())

    def _progress(self, train_loss: float) -> Progress:
        assert self._row is not None
        return Progress(
            self.step,
            self.steps,
            self.forwards,
            train_loss,
            self._row,
            self._seconds,
            self.task.metric,
        )
