"""A device that shares the steps of a run: what its process does when the run asks.

The process keeps one device with the run's program and the training state of some step. A question
brings along whatever it takes to get from there to the step that it asks about: the numbers of the
steps between, which are applied, or a whole state. Data are the process's own; no sample travels.
They are the same for all, or, if the run says so, samples that only this process has: then it is
asked about its own part of each step's batch alone.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.device import DeviceError
from ..compiler import Compiled, CompileError, Exchange, SharedCommands
from ..devices import board_engine, build_device, is_line
from ..golden.probes import wrap_gradients
from ..tools.forms import COUNT
from ..train.experiment import Experiment
from ..train.own import content_digest, part_digest, read_part
from ..train.sampler import DataBatches, part_batches
from ..train.session import Session, state_digest, state_shapes, unpack_state
from ..train.task import TaskError, TrainingTask
from .answers import Answer, read_answer, write_answer
from .messages import MessageError, seal, unseal

__all__ = [
    "KINDS",
    "OWN_DATA",
    "OWN_PART",
    "Member",
    "MemberError",
    "add_answers",
    "answer",
    "device_of",
    "numerics_digest",
    "open_member",
]

KINDS = {"master": "i4", "moment1": "i4", "moment2": "u4"}
"""Types in which a state's arrays travel."""
OWN_DATA, OWN_PART = "DITHER_OWN_DATA", "DITHER_OWN_PART"
"""Variables by which a process is told of data of its own: their file, and the number of the run's
part that they are."""
_OPENING = {"run": str, "choices": dict, "exchange": str, "grain": COUNT, "parts": COUNT}
_QUESTION = {
    "run": str,
    "ask": COUNT,
    "version": COUNT,
    "phase": COUNT,
    "exchange": str,
    "step": COUNT,
    "pieces": [[COUNT]],
    "updates": [[COUNT]],
    "check": bool,
}


def numerics_digest(compiled: Compiled, task: TrainingTask) -> str:
    """Returns a digest of all that devices must agree on: number formats, rates, and data."""
    agreed = repr((compiled.formats, compiled.rates, content_digest(task)))
    return hashlib.sha256(agreed.encode()).hexdigest()


class Member:
    """A device with the program of a run.

    :param key: with which the run seals its messages.
    :param name: of the device.
    :param head: what the run says when it opens a member.
    :param initial: the initial parameters that the run was given, if any.
    :raises DeviceError: if there is no such device, or it cannot give the run's bits.
    :raises TaskError: if there are no data.
    """

    def __init__(self, key: bytes, name: str, head: Mapping[str, Any], initial: Mapping[str, NDArray[Any]]) -> None:
        self.key, self.run = key, head["run"]
        chosen = Experiment.of_choices(head["choices"], dict(initial) or None)
        chosen = replace(chosen, device=name, devices=(), board=board_engine(name) if is_line(name) else None)
        chosen.require_numerics()
        self.experiment, self.machine = chosen, chosen.machine
        if chosen.machine == chosen.roomy:
            # Software takes as many samples at once as it is asked to.
            self.machine = replace(chosen.roomy, lanes=head["grain"])
        self.task: TrainingTask = chosen.load()
        self.batches, self.first = self.task.batches(chosen.recipe), 0
        self.part, self.data = 0, {"samples": 0, "digest": ""}
        self._take_own(head["parts"])
        self.device = build_device(name, self.machine)
        self.version: int | None = None
        """Number of the parameters that the device has, counted by the run; None for none."""
        self._held: NDArray[np.int64] | None = None
        self._open_phase(0, head["exchange"])
        self.digest = numerics_digest(self.session.compiled, self.task)
        if isinstance(self.batches, DataBatches):
            self.session.keep(self.batches.inputs, self.batches.labels)

    def _take_own(self, parts: int) -> None:
        """Takes the data that only this process has, if the run wants that.

        :param parts: of how many owners data are; 0 if all have the same.
        """
        path, part = os.environ.get(OWN_DATA), int(os.environ.get(OWN_PART, "0"))
        if not parts and path is None:
            return
        if not parts:
            raise DeviceError("the run does not train on data of its workers; leave --part and --own out")
        if path is None or not 1 <= part <= parts:
            raise DeviceError(f"the run trains on data of its {parts} workers; give one of them: --part K --own FILE")
        recipe = self.experiment.recipe
        own, share = read_part(path, self.task), recipe.batch // parts
        if math.gcd(share, recipe.tile) % self.machine.lanes:
            raise DeviceError(
                f"each worker's part of a step is {share} samples in tiles of {recipe.tile}, which are no whole groups "
                f"of {self.machine.lanes} lanes; give another --batch or --tile, or an engine of fewer lanes"
            )
        self.batches = part_batches(own.inputs, own.labels, parts, recipe.batch, recipe.seed)
        self.first = (part - 1) * share
        self.part, self.data = part, {"samples": len(own), "digest": part_digest(own)}

    def _open_phase(self, number: int, exchange: str) -> None:
        self.phase = number
        compiled = self.experiment.compile(self.task, self.machine, number).sharing(Exchange(exchange))
        self.session = Session(self.device, compiled)
        self.commands = SharedCommands(compiled)

    def close(self) -> None:
        """Gives the device back."""
        self.device.close()

    def answer(self, message: bytes) -> bytes:
        """Returns the answer to a question of the run.

        :raises MessageError: if the question was altered, or cannot be answered.
        :raises DeviceError: if the device fails; its state is then unknown.
        """
        head, arrays = unseal(self.key, message, _QUESTION)
        if head["run"] != self.run:
            raise MessageError("it is from another run")
        known, self.version = self.version, None
        self._follow(known, head, arrays)
        self.version = head["version"]
        if head["check"]:
            return seal(
                self.key, {"run": self.run, "ask": head["ask"], "digest": state_digest(self.session.state())}, {}
            )
        return write_answer(self.key, self.run, self.commands.exchange, self._share(head))

    def _follow(self, known: int | None, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Brings the device to the version of the parameters that is asked about."""
        updates = head["updates"]
        if any(name.startswith("master.") for name in arrays):
            if head["phase"] != self.phase:
                self._open_phase(head["phase"], head["exchange"])
            if {name: values.shape for name, values in arrays.items()} != state_shapes(self.session.compiled):
                raise MessageError("its state is not that of this network")
            self.session.load(unpack_state(arrays))
            self._held = None
        elif known is None or known + len(updates) != head["version"] or head["phase"] != self.phase:
            raise MessageError("it is about parameters that this device does not have")
        else:
            for number, (step, begun) in enumerate(updates):
                self.session.run(self.commands.apply(step, arrays[f"update.{number}"], begun))
                self._held = None

    def _share(self, head: Mapping[str, Any]) -> Answer:
        """Computes pieces of a step."""
        step, commands, recipe = head["step"], self.commands, self.experiment.course[self.phase].recipe
        inputs, targets = self.batches.take(step, 1)
        if any(
            not self.first <= first <= first + count <= self.first + len(inputs[0]) for first, count in head["pieces"]
        ):
            raise MessageError("it is about samples that this device does not have")
        total, clips, weights, rows = 0, {"requantise": 0, "loss": 0}, {}, []
        for first, count in head["pieces"]:
            chosen = slice(first - self.first, first - self.first + count)
            wanted = None if targets is None else targets[0, chosen]
            outputs, counted = self.session.run(commands.share(step, first, inputs[0, chosen], wanted))
            loss, differences = commands.read_share(outputs)
            total += loss
            rows.append(differences)
            for place in clips:
                clips[place] += counted[f"saturations_{place}"]
            weights[first // recipe.tile] = counted["saturations_weight"] // (count // self.machine.lanes)
        numbers = np.stack(rows)
        if commands.exchange is Exchange.GRADIENTS:
            numbers = self._collected()
        return Answer((head["ask"],), step, tuple(map(tuple, head["pieces"])), total, clips, weights, numbers)

    def _collected(self) -> NDArray[np.int64]:
        """What the device has added to its gradients since it was asked last."""
        outputs, _ = self.session.run(self.commands.collect())
        now = self.commands.read_collect(outputs)
        before, self._held = self._held, now
        return now if before is None else wrap_gradients(now - before)


class MemberError(RuntimeError):
    """A device cannot do its part; the message is one line."""


_members: dict[str, Member] = {}
"""The member of this process, by its device: one at most."""


def open_member(key: bytes, message: bytes, device: str | None = None) -> bytes:
    """Makes this process' device a member of a run, and returns what it says of itself.

    :param key: with which the run seals its messages.
    :param device: the device's name; that of the process' Dask worker if None.
    :raises MemberError: if the device cannot be used, or not for this run.
    """
    name = device or device_of(_worker_name())
    with _complaints():
        _give_back()
        head, initial = unseal(key, message, _OPENING)
        member = _members[name] = Member(key, name, head, initial)
    said = {
        "run": member.run,
        "lanes": member.machine.lanes,
        "digest": member.digest,
        "part": member.part,
        "data": member.data,
    }
    return seal(key, said, {})


def answer(message: bytes) -> bytes:
    """Returns the answer of this process' device to a question.

    :raises MemberError: if there is none, or it fails; it has then to be opened again.
    """
    with _complaints():
        try:
            return _only().answer(message)
        except DeviceError:
            _give_back()
            raise


def add_answers(left: bytes, right: bytes) -> bytes:
    """Returns the sum of two answers, on the way to the run.

    :raises MemberError: if one of them was altered, or they cannot be added.
    """
    with _complaints():
        member = _only()
        found = (read_answer(member.key, member.run, each) for each in (left, right))
        return write_answer(member.key, member.run, Exchange.GRADIENTS, next(found) + next(found))


def device_of(worker: str) -> str:
    """Returns the device that a Dask worker is named after, such as ``golden#2``."""
    return worker.rpartition("#")[0]


def _worker_name() -> str:
    from distributed import get_worker

    return str(get_worker().name)


def _give_back() -> None:
    for name in [*_members]:
        _members.pop(name).close()


def _only() -> Member:
    for member in _members.values():
        return member
    raise MemberError("no run has opened this device")


@contextmanager
def _complaints() -> Iterator[None]:
    """Turns what may go wrong into something that every process can read."""
    try:
        yield
    except (DeviceError, TaskError, CompileError, ValueError, LookupError, OSError) as error:
        raise MemberError(f"{error}" or type(error).__name__) from None
