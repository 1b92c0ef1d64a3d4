"""A run's session whose steps are computed by many devices, and whose parameters are its own.

The run keeps the training state on a golden machine, which applies every step by itself: it is what
devices are compared with, what is evaluated and saved, and what is still there when all devices are
gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.device import Device, DeviceError
from ..compiler import NUMBER_BYTES, Compiled, Exchange, SharedCommands, State, fewest_bytes
from ..devices import Status, build_device
from ..golden.probes import wrap_gradients
from ..train.config import WORKER
from ..train.experiment import Experiment
from ..train.prepared import Prepared
from ..train.session import Session, pack_state, state_digest
from ..train.task import Task
from .crew import Crew, Standing, Update
from .division import grain
from .member import numerics_digest
from .places import LOOPBACK

__all__ = ["SharedSession", "prepare_shared"]

_UNKNOWN = 8
"""How many devices are expected where all are yet to come."""
_FLOAT_BYTES = 4
"""Bytes of a gradient in float, for comparison."""


class SharedSession(Session):
    """A session whose training steps a crew computes.

    :param device: the machine that keeps the training state.
    :param compiled: the program that is shared, by :meth:`~dither.compiler.Compiled.sharing`.
    :param reported: the program of a device alone, whose cycles are reported.
    :param crew: the devices that compute.
    """

    def __init__(self, device: Device, compiled: Compiled, reported: Compiled, crew: Crew) -> None:
        super().__init__(device, compiled, reported, longest=1)
        self.shared = SharedCommands(compiled)
        self.phase = 0
        self._updates: dict[int, Update] = {}
        self._checked = -1
        self._state_bytes = sum(12 * tensor.size for tensor in compiled.tensors.values())
        self.crew = crew

    def successor(self, compiled: Compiled, reported: Compiled, phase: int) -> SharedSession:
        chosen, _ = fewest_bytes(compiled, max(1, len(self.crew.peers)))
        found = SharedSession(self.device, compiled.sharing(chosen), reported, self.crew)
        found.phase = phase
        return found

    def close(self) -> None:
        self.crew.close()
        super().close()

    @property
    def standing(self) -> Standing:
        """Which parameters the run has."""
        return Standing(
            self.crew.version,
            self.phase,
            self.shared.exchange,
            self._updates,
            lambda: pack_state(super(SharedSession, self).state()),
            self._state_bytes,
        )

    def load(self, state: State) -> None:
        super().load(state)
        self.crew.version += 1
        self._updates = {}

    def state(self) -> State:
        """Returns masters and moments, once all devices have shown that theirs are the same.

        :raises DeviceError: if a device has others.
        """
        found = super().state()
        if self._checked != self.crew.version and self.crew.steps:
            self.crew.check(self.standing, state_digest(found))
            self._checked = self.crew.version
        return found

    def train_sums(
        self, first_step: int, inputs: NDArray[np.floating[Any]], targets: NDArray[Any] | None, begun: int = 0
    ) -> list[int]:
        """Trains one step and returns its loss sum; devices take its samples from their own data.

        :raises StoppedError: if no device is there and :attr:`stop` says so.
        """
        recipe, shape = self.compiled.recipe, self.shared.shape
        found = self.crew.compute(first_step, recipe.batch, recipe.tile, shape, self.standing, self.stop)
        numbers = np.zeros(shape, np.int64)
        clips = dict.fromkeys(("requantise", "loss"), 0)
        weights: dict[int, int] = {}
        for each in found:
            for place in clips:
                clips[place] += each.clips[place]
            weights |= each.weights
            if self.shared.exchange is Exchange.GRADIENTS:
                numbers = numbers + each.numbers
                continue
            for (first, _), differences in zip(each.pieces, each.numbers, strict=True):
                numbers[0 if recipe.shared_probe else first // recipe.tile] += differences
        if self.shared.exchange is Exchange.GRADIENTS:
            numbers = wrap_gradients(numbers)
        elif np.abs(numbers).max(initial=0) >= 1 << 31:
            raise DeviceError(
                "the devices' loss differences are larger than losses can be; go on with: dither train --resume RUN"
            )
        _, counted = self.run(self.shared.apply(first_step, numbers, begun))
        clips["weight"] = counted["saturations_weight"] + sum(weights.values())
        clips["update"] = counted["saturations_update"]
        self._count(1, {**dict.fromkeys(self._step, 0), **{f"saturations_{place}": n for place, n in clips.items()}})
        self.crew.version += 1
        self.crew.steps += 1
        self._remember(Update(first_step, begun, numbers))
        return [sum(each.total for each in found)]

    def _remember(self, update: Update) -> None:
        """Keeps updates for devices that are behind, as long as a whole state is not shorter."""
        self._updates[self.crew.version] = update
        size = update.numbers.size * NUMBER_BYTES[self.shared.exchange]
        self._updates.pop(self.crew.version - max(1, self._state_bytes // max(1, size)), None)

    def facts(self) -> dict[str, Any]:
        tallies = self.crew.tallies
        _, sizes = fewest_bytes(self.compiled, max(1, len(tallies)))
        parameters = sum(tensor.size for tensor in self.compiled.tensors.values())
        devices = [{"name": name, **asdict(tally)} for name, tally in sorted(tallies.items())]
        return {
            "shared": {
                "exchange": self.shared.exchange.value,
                "steps": self.crew.steps,
                "lost": self.crew.lost,
                "devices": devices,
                "payloads": {exchange.value: size for exchange, size in sizes.items()},
                "data": {str(part): dict(said) for part, said in sorted(self.crew.data.items())},
                "float": 2 * _FLOAT_BYTES * parameters * max(1, len(tallies)),
            }
        }


def prepare_shared(
    experiment: Experiment,
    *,
    address: str = LOOPBACK,
    tls: Path | None = None,
    known: Mapping[int, Mapping[str, Any]] | None = None,
    dashboard: bool = False,
    status: Status = lambda text: None,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Loads data, compiles, and starts the devices that share an experiment's steps.

    :param address: where other devices may join.
    :param tls: folder of certificates; without it, only devices of this computer may.
    :param known: of a run that goes on: what it has said of data that only workers have, by the
        number of the part; see :attr:`~dither.cluster.crew.Crew.data`.
    :param dashboard: whether Dask shows pages about itself, to this computer alone.
    :param status: called with what is going on before it takes long.
    :param say: called with what people should know: devices that come, go or fail.
    :raises DeviceError: if a device cannot be used, or the address is refused.
    """
    experiment = replace(experiment, device="golden")
    parts = len(experiment.data_of)
    if parts and not experiment.distant:
        raise DeviceError(f"files of several owners are for one device; give --data-of {WORKER}:{parts}")
    if parts and experiment.devices:
        raise DeviceError(
            "devices that the run starts have no data of their own; leave --devices out, and start workers where the "
            "data are: dither worker --part K --own FILE"
        )
    batch, tile = experiment.recipe.batch, experiment.recipe.tile
    if parts and batch % parts:
        raise DeviceError(f"a batch of {batch} samples cannot be divided among {parts} workers; give another --batch")
    task = experiment.load()
    if parts and not isinstance(task, Task):
        raise DeviceError(f"{task.name} has no samples that could come from workers; leave --data-of out")
    reported = experiment.compile(task, experiment.engine)
    for phase in range(1, len(experiment.course)):
        experiment.compile(task, experiment.engine, phase)
    own = experiment.compile(task, experiment.machine)
    chosen, _ = fewest_bytes(own, len(experiment.devices) or _UNKNOWN)

    def crew() -> Crew:
        def opening() -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
            head = {
                "choices": experiment.choices(),
                "exchange": chosen.value,
                "grain": grain(
                    batch, tile, batch // max(1, parts), 1 if parts else len(experiment.devices) or _UNKNOWN
                ),
                "parts": parts,
            }
            return head, {name: np.asarray(values) for name, values in (experiment.parameters or {}).items()}

        status("starting the devices")
        return Crew(
            experiment.devices,
            opening,
            numerics_digest(own, task),
            say,
            parts=parts,
            known=known,
            address=address,
            tls=tls,
            data=experiment.data,
            dashboard=dashboard,
        )

    session = SharedSession(build_device(experiment.device, experiment.machine), own.sharing(chosen), reported, crew())
    if dashboard:
        say(f"dashboard: {session.crew.office.dashboard}")
    try:
        status("waiting for the devices to get ready")
        session.crew.gather()
    except BaseException:
        session.close()
        raise
    return Prepared(experiment, task, session)
