"""Whole training steps on the golden and native machine, and of their twins in PyTorch."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..arch.config import preset
from ..arch.device import Device
from ..compiler import Compiled
from ..golden import GoldenMachine
from ..native import NativeMachine
from ..recipe import Recipe
from ..train.equations import EquationTask
from ..train.experiment import Experiment
from ..train.session import Session
from .contractions import REPEATS, SECONDS, mnist_work

__all__ = ["steps"]


@dataclass(frozen=True, slots=True)
class _Training:
    """A training whose steps are timed."""

    compiled: Compiled
    take: Callable[[int, int], tuple[NDArray[Any], NDArray[Any] | None]]
    """Returns the samples of some steps, from the number of the first and how many there are."""
    equation: EquationTask | None = None
    """The task, where it is a differential equation."""

    @classmethod
    def of_task(cls, name: str) -> _Training:
        experiment = Experiment.of_task(name, device="numpy", recipe={})
        task = experiment.load()
        equation = task if isinstance(task, EquationTask) else None
        return cls(experiment.compile(task, experiment.machine), task.batches(experiment.recipe).take, equation)

    @classmethod
    def of_mnist(cls, recipe: Recipe) -> _Training:
        engine = replace(preset("8x32-deep"), lanes=recipe.tile, program_depth=1 << 15, activation_depth=1 << 15)
        compiled, inputs, labels = mnist_work(engine, recipe)
        return cls(compiled, lambda step, count: (np.stack([inputs] * count), np.stack([labels] * count)))

    def twin(self) -> _Trains:
        """Returns the training in PyTorch.

        :raises ImportError: if it is not installed.
        """
        from ..baselines.objectives import Residuals
        from .twins import class_loss, twin_of

        loss = class_loss if self.equation is None else Residuals(self.equation, autograd=False).loss
        return twin_of(self.compiled, loss)


_TRAININGS: dict[str, Callable[[], _Training]] = {
    "digits, layer-wise": lambda: _Training.of_task("digits"),
    "MNIST, tensor-wise": lambda: _Training.of_mnist(Recipe(batch=128, tile=64, probes=10)),
    "MNIST, mirror": lambda: _Training.of_mnist(Recipe(batch=128, tile=128, estimator=("mirror", "exact"))),
    "HJB, central": lambda: _Training.of_task("hjb"),
}


class _Trains(Protocol):
    """What trains a step for each batch."""

    def train(self, first_step: int, inputs: NDArray[Any], targets: NDArray[Any] | None) -> object: ...


_TWO_THREADS = "native, two threads"


def steps() -> dict[str, Any]:
    """Measures whole training steps: golden and native machine, and the same estimator in PyTorch.

    All run one thread and take turns, so that whatever else the computer does slows all of them
    down; PyTorch is left out where it is not installed.

    :returns: ``steps``, for every training by machine the samples trained in a second of processor
        time; ``two_threads``, for every training how many times as fast two threads of the native
        machine are by the clock, which means something on two idle cores only; ``load``, the number
        of processes that wanted a core.
    """
    speeds, gains = {}, {}
    for name, make in _TRAININGS.items():
        training = make()
        engine = training.compiled.engine
        machines: dict[str, Device] = {
            "golden": GoldenMachine(engine),
            "native": NativeMachine(engine),
            _TWO_THREADS: NativeMachine(engine, threads=2),
        }
        sessions: dict[str, _Trains] = {}
        state = training.compiled.commands.initial_state(training.compiled.model.initial_parameters(1))
        for key, machine in machines.items():
            session = sessions[key] = Session(machine, training.compiled)
            session.load(state)
        with suppress(ImportError):
            sessions["PyTorch, same estimator"] = training.twin()
        by_clock, by_processor = _speeds(training, sessions)
        gains[name] = by_clock[_TWO_THREADS] / by_clock["native"]
        speeds[name] = {key: speed for key, speed in by_processor.items() if key != _TWO_THREADS}
        for machine in machines.values():
            machine.close()
    return {"steps": speeds, "two_threads": gains, "load": round(os.getloadavg()[0], 1)}


def _speeds(training: _Training, sessions: dict[str, _Trains]) -> tuple[dict[str, float], dict[str, float]]:
    """Returns each session's samples a second, by the clock and by processor time."""
    batch = training.compiled.recipe.batch
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in sessions}
    position, size = dict.fromkeys(sessions, 0), dict.fromkeys(sessions, 1)
    for _ in range(REPEATS):
        for key, session in sessions.items():
            done, begin, before = 0, time.perf_counter(), time.process_time()
            while (spent := time.perf_counter() - begin) < SECONDS:
                session.train(position[key], *training.take(position[key], size[key]))
                position[key] += size[key]
                done += size[key]
            found[key].append((done * batch / spent, done * batch / (time.process_time() - before)))
            size[key] = max(1, min(64, int(SECONDS / 4 * done / spent)))
    by_clock = {key: statistics.median(speed for speed, _ in speeds[1:]) for key, speeds in found.items()}
    return by_clock, {key: statistics.median(speed for _, speed in speeds[1:]) for key, speeds in found.items()}
