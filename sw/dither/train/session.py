"""A compiled program on a device: its commands, and its counters summed over all of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.device import Device, DeviceError
from ..arch.regmap import COUNTERS
from ..compiler import Command, Compiled, Evaluation, SolvingCommands, State
from ..link.driver import LinkDevice
from ..runs import TensorRecord
from .solving import take_step

__all__ = ["Session", "StoppedError", "pack_state", "state_digest", "state_shapes", "unpack_state"]

COUNTER_LIMIT = (1 << 32) - 1
"""Largest value of an engine's 32-bit counter; the host adds them up after each command."""
_KINDS = {"master": np.dtype("<i4"), "moment1": np.dtype("<i4"), "moment2": np.dtype("<u4")}


def pack_state(state: State) -> dict[str, NDArray[Any]]:
    """Returns a state as arrays of 32 bits by name, such as ``master.0.core0``, for checkpoints."""
    return {
        f"{kind}.{name}": values.astype(dtype)
        for kind, dtype in _KINDS.items()
        for name, values in getattr(state, kind).items()
    }


def state_digest(state: State) -> str:
    """Returns the SHA-256 of a whole training state."""
    digest = hashlib.sha256()
    for name, values in sorted(pack_state(state).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def state_shapes(compiled: Compiled) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that :func:`pack_state` makes of a program's state."""
    return {f"{kind}.{name}": tensor.shape for kind in _KINDS for name, tensor in compiled.tensors.items()}


def unpack_state(arrays: Mapping[str, NDArray[Any]]) -> State:
    """Returns the state of which :func:`pack_state` made arrays."""
    kinds: dict[str, dict[str, NDArray[np.int64]]] = {kind: {} for kind in _KINDS}
    for name, values in arrays.items():
        kind, tensor = name.split(".", 1)
        kinds[kind][tensor] = values.astype(np.int64)
    return State(**kinds)


def _steps_within_counters(compiled: Compiled) -> int:
    """Returns how many steps of one command keep every counter within half its range."""
    counts = compiled.figures.training_counters(1)
    return max(1, COUNTER_LIMIT // (2 * sum(counts.values())))


class StoppedError(Exception):
    """A step cannot be done for now, and somebody has asked for an end: nothing of it was done."""


class Session:
    """One device with one program loaded.

    :param device: any machine with the geometry that ``compiled`` was made for.
    :param compiled: the program.
    :param reported: the same network compiled for the geometry whose cycles :attr:`counters` should
        hold, if that is another one than the device's: they are then predicted, exactly, rather
        than counted. Saturations are the device's own.
    :param longest: most steps of one command, where fewer are wanted than the counters allow.
    :raises DeviceError: if the program does not fit the device.
    """

    def __init__(
        self, device: Device, compiled: Compiled, reported: Compiled | None = None, longest: int = COUNTER_LIMIT
    ) -> None:
        if device.config != compiled.engine:
            raise DeviceError(
                f"the program is for a {compiled.engine.geometry} engine, the device is {device.config.geometry}"
            )
        self.device = device
        self.compiled = compiled
        self.reported = reported or compiled
        self.longest = longest
        self.counters: dict[str, int] = {counter.name: 0 for counter in COUNTERS}
        """Counters summed over all training steps, as in :data:`dither.arch.regmap.COUNTERS`.

        What it takes to begin and end a command is left out, so that sums do not depend on how
        steps are divided into commands.
        """
        trains = [each for each in (compiled, self.reported) if "train" in each.entries]
        # A command of n steps costs n times one step, and a little to begin and end.
        one = self.reported.figures.training_counters(1) if trains else {}
        solved = compiled.recipe.solved
        self._step = self.reported.figures.step_counters() if trains or solved else {}
        self._overhead = {name: value - self._step[name] for name, value in one.items()}
        self.steps_per_command = min([longest, *map(_steps_within_counters, trains)])
        """Greatest number of steps that :meth:`train` should be given at once."""
        self.stop: Callable[[], bool] = lambda: False
        """Asked while a step has to wait: True ends that with :class:`StoppedError`."""
        device.write_program(compiled.program)
        self.run(compiled.commands.setup())

    def successor(self, compiled: Compiled, reported: Compiled, phase: int) -> Session:
        """Returns the session of another phase's program on the same device."""
        return Session(self.device, compiled, reported, longest=self.longest)

    def facts(self) -> dict[str, Any]:
        """Returns what ``run.json`` says of how steps were shared; nothing, for a device alone."""
        return {}

    def close(self) -> None:
        """Gives the device back, which cannot be used afterwards."""
        self.device.close()

    def run(self, command: Command) -> tuple[list[NDArray[np.int64]], Mapping[str, int]]:
        """Runs one command and returns its outputs and its counters."""
        result = self.device.run(command.entry, command.inputs, command.expects)
        return result.outputs, result.counters

    @property
    def tensors(self) -> list[TensorRecord]:
        """Tensors of the model's parameters, in the order of :meth:`masters`."""
        found = (self.compiled.tensors[name] for name in self.compiled.model.parameter_shapes())
        return [TensorRecord(t.name, t.shape, t.master.frac) for t in found]

    def masters(self) -> NDArray[np.int32]:
        """Returns all masters of the model's parameters, shape (parameters,).

        They come tensor by tensor, each in row-major order of its shape.
        """
        held = self.state().master
        return np.concatenate([held[tensor.name].ravel() for tensor in self.tensors]).astype(np.int32)

    @property
    def forwards_per_step(self) -> int:
        """Number of samples that one training step sends through the network.

        Partial passes count in full.
        """
        return self.compiled.figures.step_evaluations

    def load(self, state: State) -> None:
        """Replaces masters and moments, and the working weights with them."""
        self.run(self.compiled.commands.load_state(state))

    def state(self) -> State:
        """Returns masters and moments as they are in the device."""
        outputs, _ = self.run(self.compiled.commands.store_state())
        return self.compiled.commands.read_state(outputs)

    def keep(
        self,
        inputs: NDArray[np.floating[Any]],
        targets: NDArray[Any],
        status: Callable[[str], None] = lambda text: None,
    ) -> bool:
        """Puts samples into the device's memory, where it has one; then training only names them.

        Nothing depends on it but time: samples that are not kept are sent, with the same results.

        :param inputs: shape (samples, features).
        :param targets: shape (samples,) or (samples, outputs).
        :param status: called with what is going on, as it takes long.
        :returns: whether the device keeps them.
        :raises DeviceError: if its memory does not work.
        """
        if not isinstance(self.device, LinkDevice) or not self.device.store_bytes:
            return False
        rows = self.compiled.samples.words(inputs, targets)
        # Lanes that are left over in a step's last group hold a sample without a label.
        idle = np.zeros((1, rows.shape[1]), np.int64)
        idle[:, self.compiled.samples.label] = -1

        def tell(done: int, total: int) -> None:
            status(f"sending the data set to the board: {done / 1e6:.1f} of {total / 1e6:.1f} MB")

        return self.device.keep(np.concatenate([rows, idle]), tell)

    def train(
        self, first_step: int, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None, begun: int = 0
    ) -> list[float]:
        """Trains one step for each batch and returns the steps' mean losses, before each step.

        :param first_step: number of the first step, from 0.
        :param begun: number of the step that schedules count from.
        :param inputs: shape (steps, batch, features).
        :param targets: shape (steps, batch) for classes, (steps, batch, outputs) for values; None
            without any.
        """
        sums = self.train_sums(first_step, inputs, targets, begun)
        return [self.mean_loss(total, self.compiled.recipe.batch) for total in sums]

    def train_sums(
        self, first_step: int, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None, begun: int = 0
    ) -> list[int]:
        """Trains as :meth:`train` and returns each step's sum of losses as the engine holds it.

        These are exact integers; :meth:`mean_loss` makes means of sums of them.
        """
        if self.compiled.recipe.solved:
            return [self._solve(step, points, begun) for step, points in enumerate(inputs, first_step)]
        batches = list(zip(inputs, [None] * len(inputs) if targets is None else targets, strict=True))
        outputs, counted = self.run(self.compiled.commands.train(first_step, batches, begun=begun))
        self._count(len(batches), counted)
        return self.compiled.commands.read_train(outputs)

    def _solve(self, step: int, points: NDArray[np.floating[Any]], begun: int) -> int:
        """Takes one step of a recipe whose steps the host solves for; its sum of losses."""
        commands = SolvingCommands(self.compiled)
        total, counted = take_step(commands, self.run, step, points.astype(np.float64), begun)
        self._count(1, counted)
        return total

    def _count(self, steps: int, counted: Mapping[str, int]) -> None:
        """Adds the counters of some steps."""
        for name, value in counted.items():
            if self.reported is not self.compiled and name in self._step:
                self.counters[name] += steps * self._step[name]
            else:
                self.counters[name] += value - self._overhead.get(name, 0)

    def mean_loss(self, total: int, samples: int) -> float:
        """Returns the mean of losses that add up to the integer ``total``."""
        return math.ldexp(total, -self.compiled.formats.loss_frac) / samples

    def evaluate(self, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None = None) -> Evaluation:
        """Runs samples forward and returns their outputs and, with targets, the loss.

        :param inputs: shape (samples, features).
        :param targets: shape (samples,) or (samples, outputs), for the loss.
        """
        outputs, _ = self.run(self.compiled.commands.evaluate(inputs, targets))
        return self.compiled.commands.read_evaluate(outputs, len(inputs))

    def measure(self, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None = None) -> float:
        """Returns the mean loss of samples, as a training step sees it.

        :param inputs: shape (samples, features).
        :param targets: shape (samples,) or (samples, outputs); None without any.
        """
        outputs, _ = self.run(self.compiled.commands.measure(inputs, targets))
        return self.compiled.commands.read_measure(outputs, len(inputs))
