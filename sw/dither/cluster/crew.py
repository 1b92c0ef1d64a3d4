"""The devices that share a run's steps, as the run sees them: who has what, who does what.

A step's samples are divided among the devices that have nothing to do. What a device does not
deliver, because it is gone or says that it cannot, is divided again. Each question brings along
what its device needs to have the parameters of the step: those are counted by *versions*, one for
every step that was applied and for every state that was loaded.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.device import DeviceError
from ..compiler import Exchange
from ..tools.forms import COUNT
from ..train.session import StoppedError
from .answers import Answer, read_answer
from .division import Piece, Worker, covers, divide, pieces_of
from .member import KINDS, MemberError, add_answers, answer, device_of, open_member
from .messages import MessageError, seal, unseal
from .office import Office

__all__ = ["Crew", "Peer", "Standing", "Tally", "Update"]

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 2.0
"""How long there may be nobody before people are told."""
_RETRY_SECONDS = 5.0
"""How long a device rests that has failed."""
_FORGIVENESS = 1.05
_INERTIA = 0.5
"""Weight of what was known of a device's speed, against the newest measurement."""


_WELCOME = {
    "run": str,
    "lanes": range(1, 4097),
    "digest": str,
    "part": COUNT,
    "data": {"samples": COUNT, "digest": str},
}


@dataclass(frozen=True, slots=True)
class Update:
    """What turns the parameters of one version into those of the next: a step, and its numbers."""

    step: int
    begun: int
    numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Which parameters the run has, and how others may get them."""

    version: int
    phase: int
    exchange: Exchange
    updates: Mapping[int, Update]
    """Updates that led to the newest versions, by these."""
    state: Callable[[], dict[str, NDArray[Any]]]
    """Makes the arrays of the whole state."""
    state_bytes: int
    """Bytes that these arrays take on the way."""


@dataclass(slots=True)
class Peer:
    """A device, as the run knows it."""

    worker: str
    """Address of its Dask worker."""
    name: str
    ready: bool = False
    """Whether it has the run's program."""
    lanes: int = 0
    part: int = 0
    """Number of the part of the data that is its own; 0 if it has the task's, as all others."""
    version: int | None = None
    """Version of the parameters that it has; None if it needs a state."""
    speed: float | None = None
    """Measured samples a second."""
    rests: float = 0.0
    """Until when it is left alone, by the clock; infinite for one that can be no member."""
    job: _Job | None = None


@dataclass(slots=True)
class Tally:
    """What all workers of one name, one after the other, have done for the run."""

    samples: int = 0
    """Samples that were computed."""
    sent: int = 0
    """Bytes that came from there."""
    received: int = 0
    """Bytes that went there."""


@dataclass(slots=True)
class _Job:
    task: Any
    kind: str
    ask: int = 0
    pieces: Sequence[Piece] = ()
    version: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def samples(self) -> int:
        return sum(count for _, count in self.pieces)


@dataclass(slots=True)
class _Done:
    """A job that is over, whose answer may still be with its worker."""

    peer: Peer
    job: _Job
    answer: Answer | None = None


class Crew:
    """All devices that share a run's steps.

    :param devices: names of those of this computer, which are started.
    :param opening: what devices are told when they join: head and arrays of a message.
    :param digest: what they must answer, so that all mean the same by the same numbers.
    :param parts: how many workers have data of their own, of which each step takes equal parts; 0
        if all have the task's.
    :param known: what is known already of those data, by the number of the part: see :attr:`data`.
    :param say: tells people what happens.
    """

    def __init__(
        self,
        devices: Sequence[str],
        opening: Callable[[], tuple[dict[str, Any], dict[str, NDArray[Any]]]],
        digest: str,
        say: Callable[[str], None],
        *,
        parts: int = 0,
        known: Mapping[int, Mapping[str, Any]] | None = None,
        address: str,
        tls: Path | None = None,
        data: Path | None = None,
        dashboard: bool = False,
    ) -> None:
        self.key = secrets.token_bytes(32)
        self.run = secrets.token_hex(8)
        self.peers: dict[str, Peer] = {}
        self.tallies: dict[str, Tally] = {}
        self.parts = parts
        self.data: dict[int, Mapping[str, Any]] = dict(known or {})
        """How many samples there are in each part of the data, and a digest of them."""
        self.lost = 0
        """Devices that were lost so far."""
        self.version = 0
        """Number of the parameters that the run has now, in whichever phase it is."""
        self.steps = 0
        """Steps that were shared so far."""
        self._opening, self._digest, self._say = opening, digest, say
        self._asks = 0
        self._wanted = len(devices)
        self._alone_since: float | None = None
        self._told = False
        self._complaints: dict[str, str] = {}
        self.office = Office(devices, address, tls, data, dashboard)

    # Who is there

    def gather(self) -> None:
        """Waits until all devices of this computer have the program.

        :raises DeviceError: if one of them cannot.
        """
        while True:
            self._greet()
            ready = [peer for peer in self.peers.values() if peer.ready]
            if len(ready) >= self._wanted:
                return
            self._handle(self.office.next(_POLL_SECONDS))

    def _greet(self) -> None:
        """Takes note of who has come and gone, and opens whoever may be opened."""
        there, now = self.office.workers(), time.monotonic()
        for worker in [worker for worker in self.peers if worker not in there]:
            self.lost += 1
            self.peers.pop(worker)
        for worker, name in there.items():
            peer = self.peers.setdefault(worker, Peer(worker, name))
            self.tallies.setdefault(name, Tally())
            if not peer.ready and peer.job is None and peer.rests <= now:
                head, arrays = self._opening()
                message = seal(self.key, {"run": self.run, **head}, {n: ("f8", values) for n, values in arrays.items()})
                self._give(peer, "open", (), 0, message, open_member, self.key, message)

    def _give(
        self,
        peer: Peer,
        kind: str,
        pieces: Sequence[Piece],
        version: int,
        message: bytes,
        function: Any,
        *values: object,
    ) -> None:
        self.tallies[peer.name].received += len(message)
        peer.job = _Job(self.office.submit(peer.worker, function, *values), kind, self._asks, pieces, version)

    def _handle(self, task: Any) -> _Done | None:
        """Takes note of a task that is over; a share that is done well comes back."""
        peer = next((peer for peer in self.peers.values() if peer.job and peer.job.task is task), None)
        if peer is None or peer.job is None:
            return None
        job, peer.job = peer.job, None
        if task.status != "finished":
            self._fail(peer, job, self._complaint(task))
            return None
        if job.kind == "open":
            self._welcome(peer, job)
            return None
        seconds = max(time.monotonic() - job.begun, 1e-6)
        peer.version = job.version
        if job.kind == "share":
            speed = job.samples / seconds
            peer.speed = speed if peer.speed is None else _INERTIA * peer.speed + (1 - _INERTIA) * speed
        return _Done(peer, job)

    def _complaint(self, task: Any) -> str | None:
        """What a device says that it could not do; None if it is gone."""
        if task.status != "error":
            return None
        try:
            error = task.exception(timeout=_PATIENCE_SECONDS)
        except TimeoutError:
            return None
        return str(error) if isinstance(error, MemberError) else None

    def _fail(self, peer: Peer, job: _Job, complaint: str | None) -> None:
        peer.ready, peer.version = False, None
        peer.rests = time.monotonic() + _RETRY_SECONDS
        if complaint is None:
            return
        if job.kind == "open":
            self._complain(peer, f"{device_of(peer.name)}: {complaint}")
        self._tell(peer, f"{peer.name} rests: {complaint}")

    def _complain(self, peer: Peer, complaint: str) -> None:
        """Ends a run that has not begun yet if one of its own devices cannot be used: that is the
        user's to mend. Whoever comes from elsewhere is no reason to end anything.

        :raises DeviceError: then.
        """
        if not self._asks and peer.name in self.office.own:
            raise DeviceError(complaint)

    def _tell(self, peer: Peer, complaint: str) -> None:
        """Tells people what is wrong with a device, unless that was the last they heard of it."""
        if self._complaints.get(peer.name) != complaint:
            self._complaints[peer.name] = complaint
            self._say(complaint)

    def _welcome(self, peer: Peer, job: _Job) -> None:
        """Makes a device a member that has said what it is."""
        message = self._fetch(peer, job)
        if message is None:
            return
        try:
            head, _ = unseal(self.key, message, _WELCOME)
        except MessageError as error:
            self._fail(peer, job, f"it cannot be understood: {error}")
            return
        part, data = head["part"], head["data"]
        complaint = None
        if head["digest"] != self._digest:
            complaint = (
                f"{peer.name} has other data or number formats than the run, and cannot give the same bits; give it "
                "the same data and version of dither"
            )
        elif (part > self.parts) or (part == 0) != (self.parts == 0):
            complaint = f"{peer.name} has part {part} of the data, of {self.parts}; it can be of no use"
        elif part and self.data.setdefault(part, data) != data:
            complaint = f"{peer.name} has other samples than part {part} of the data had before; give it the same"
        if complaint is not None:
            peer.rests = float("inf")
            self._complain(peer, complaint)
            self._tell(peer, complaint)
            return
        if self._asks or peer.name not in self.office.own:
            self._say(f"{peer.name} joins")
        peer.ready, peer.lanes, peer.part, peer.version = True, head["lanes"], part, None

    def _fetch(self, peer: Peer, job: _Job) -> object:
        """What a task has returned; None if its worker is gone with it."""
        while peer.worker in self.office.workers():
            try:
                found = job.task.result(timeout=_PATIENCE_SECONDS)
            except Exception:
                if job.task.status in ("error", "cancelled", "lost"):
                    return None
                continue
            self.tallies[peer.name].sent += len(found) if isinstance(found, bytes) else 0
            return found
        return None

    # Steps

    def compute(
        self,
        step: int,
        batch: int,
        tile: int,
        shape: tuple[int, ...],
        standing: Standing,
        stop: Callable[[], bool],
    ) -> list[Answer]:
        """Lets devices compute all samples of a step.

        :param shape: of the numbers of an answer; of loss differences, one for each piece, the last
            axis.
        :param stop: asked while nobody is there; True ends the wait.
        :returns: answers that, together, are about every sample once.
        :raises StoppedError: if ``stop`` said so.
        """
        share = batch // max(1, self.parts)
        todo = pieces_of(batch, tile, share)
        done: list[_Done] = []
        while True:
            self._greet()
            stuck = False
            for part in sorted({self._part(piece, share) for piece in todo}):
                idle = [peer for peer in self.peers.values() if peer.ready and peer.job is None and peer.part == part]
                mine = [piece for piece in todo if self._part(piece, share) == part]
                given, left = divide(mine, tile, {peer.worker: Worker(peer.lanes, peer.speed) for peer in idle})
                todo = [piece for piece in todo if piece not in mine] + left
                stuck = stuck or bool(idle and left)
                for peer in idle:
                    if peer.worker in given:
                        self._ask(peer, step, given[peer.worker], standing)
                    elif peer.speed is not None:
                        # Who got nothing for being slow is tried again some day.
                        peer.speed *= _FORGIVENESS
            busy = [peer for peer in self.peers.values() if peer.job and peer.job.kind == "share"]
            if not todo and not busy:
                found = self._collected(done, step, shape, standing.exchange)
                if covers([piece for each in found for piece in each.pieces], batch):
                    return found
                have = {piece for each in found for piece in each.pieces}
                todo = [piece for each in done for piece in each.job.pieces if piece not in have]
                done = [each for each in done if each.answer is not None]
                continue
            if stuck and not busy:
                # Pieces are left over that none of those who are here can take: begin again.
                todo, done = pieces_of(batch, tile, share), []
                continue
            self._lament({self._part(piece, share) for piece in todo}, stop)
            jobs = {peer.worker: peer.job for peer in busy if peer.job}
            finished = self._handle(self.office.next(_POLL_SECONDS))
            if finished is not None and finished.job.kind == "share":
                if standing.exchange is Exchange.SCALARS:
                    self._read(finished, step, shape)
                done.append(finished)
            todo += self._dropped(jobs, done)

    def _part(self, piece: Piece, share: int) -> int:
        """Number of the part of the data that a piece is of; 0 if all have the same."""
        return piece[0] // share + 1 if self.parts else 0

    def _dropped(self, jobs: Mapping[str, _Job], done: Sequence[_Done]) -> list[Piece]:
        """Pieces of devices that were at work on them, and are not any more."""
        self._greet()
        delivered = {id(each.job) for each in done}
        lost: list[Piece] = []
        for worker, job in jobs.items():
            peer = self.peers.get(worker)
            if (peer is None or peer.job is not job) and id(job) not in delivered:
                lost += job.pieces
        return lost

    def _ask(self, peer: Peer, step: int, pieces: Sequence[Piece], standing: Standing) -> None:
        self._asks += 1
        message = self._question(peer, standing, step=step, pieces=[list(piece) for piece in pieces], check=False)
        self._give(peer, "share", pieces, standing.version, message, answer, message)

    def _question(self, peer: Peer, standing: Standing, **said: Any) -> bytes:
        """A question, with what its device needs to have the right parameters."""
        have, updates, arrays = peer.version, [], {}
        between = range((have if have is not None else standing.version) + 1, standing.version + 1)
        replayed = have is not None and all(version in standing.updates for version in between)
        if replayed:
            replayed = sum(standing.updates[version].numbers.size for version in between) * 4 <= standing.state_bytes
        if replayed:
            kind = "i4" if standing.exchange is Exchange.SCALARS else "i6"
            for number, version in enumerate(between):
                update = standing.updates[version]
                updates.append([update.step, update.begun])
                arrays[f"update.{number}"] = (kind, update.numbers)
        else:
            arrays = {name: (KINDS[name.split(".")[0]], values) for name, values in standing.state().items()}
        head = {
            "run": self.run,
            "ask": self._asks,
            "version": standing.version,
            "phase": standing.phase,
            "exchange": standing.exchange.value,
            "updates": updates,
            **said,
        }
        return seal(self.key, head, arrays)

    def _lament(self, wanted: set[int], stop: Callable[[], bool]) -> None:
        """Tells people, after a while, that nobody is there who could go on.

        :param wanted: parts of the data that pieces are of which nobody has taken yet.
        """
        now = time.monotonic()
        missing = wanted - {peer.part for peer in self.peers.values() if peer.ready}
        if not missing:
            if self._told:
                self._say("going on")
            self._alone_since, self._told = None, False
            return
        if self._alone_since is None:
            self._alone_since = now
        if not self._told and now - self._alone_since > _PATIENCE_SECONDS:
            part = min(missing)
            what = f"nobody has part {part} of the data" if part else "all devices are gone"
            own = f" --part {part} --own FILE" if part else ""
            self._say(
                f"{what}; the run waits for one, such as by: dither worker --device golden --cluster "
                f"{self.office.address}{own} (Ctrl-C ends it, --resume goes on)"
            )
            self._told = True
        if stop():
            raise StoppedError

    # Answers

    def _read(self, done: _Done, step: int, shape: tuple[int, ...]) -> None:
        """Fetches an answer and checks it; one that was not asked for is left out."""
        message = self._fetch(done.peer, done.job)
        if message is None:
            return
        try:
            found = read_answer(self.key, self.run, message)
            self._check(found, step, {done.job.ask: done.job.pieces}, shape)
        except MessageError as error:
            done.peer.ready = False
            done.peer.rests = time.monotonic() + _RETRY_SECONDS
            self._say(f"{done.peer.name} rests: its answer is refused, {error}")
            return
        self.tallies[done.peer.name].samples += done.job.samples
        done.answer = found

    def _check(self, found: Answer, step: int, asked: Mapping[int, Sequence[Piece]], shape: tuple[int, ...]) -> None:
        """Makes sure that an answer is one to some questions, and of the right shape.

        :raises MessageError: if it is not.
        """
        pieces = [tuple(piece) for ask in found.asks for piece in asked.get(ask, ())]
        if found.step != step or set(found.asks) != set(asked) or list(found.pieces) != pieces:
            raise MessageError("it is to another question")
        wanted = (len(pieces), *shape[1:]) if len(shape) > 1 else shape
        if found.numbers.shape != wanted:
            raise MessageError(f"its numbers are of shape {found.numbers.shape}, not {wanted}")

    def _collected(self, done: Sequence[_Done], step: int, shape: tuple[int, ...], exchange: Exchange) -> list[Answer]:
        """The answers of all that are done: each by itself, or added up on the way."""
        if exchange is Exchange.GRADIENTS and len(done) > 2 and all(each.answer is None for each in done):
            total = self._tree(done, step, shape)
            if total is not None:
                return [total]
        for each in done:
            if each.answer is None:
                self._read(each, step, shape)
        return [each.answer for each in done if each.answer is not None]

    def _tree(self, done: Sequence[_Done], step: int, shape: tuple[int, ...]) -> Answer | None:
        """The sum of answers, added up pairwise by the workers themselves; None if one is lost."""
        level = [each.job.task for each in done]
        while len(level) > 1:
            pairs = [level[number : number + 2] for number in range(0, len(level), 2)]
            level = [self.office.submit(None, add_answers, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        (root,) = level
        workers = {each.peer.worker for each in done}
        while root.status == "pending":
            if not workers <= set(self.office.workers()):
                return None
            self._handle(self.office.next(_POLL_SECONDS))
        if root.status != "finished":
            return None
        try:
            message = root.result(timeout=_PATIENCE_SECONDS)
            found = read_answer(self.key, self.run, message)
            self._check(found, step, {each.job.ask: each.job.pieces for each in done}, shape)
        except (MessageError, TimeoutError, MemberError):
            return None
        for each in done:
            each.answer = found
            self.tallies[each.peer.name].samples += each.job.samples
            self.tallies[each.peer.name].sent += len(message)
        return found

    # Agreement

    def check(self, standing: Standing, digest: str) -> None:
        """Makes sure that all devices have the parameters that the run has.

        :raises DeviceError: if one has others, whose part of the steps since is then worth nothing.
        """
        self._greet()
        for peer in self.peers.values():
            if peer.ready and peer.job is None:
                self._asks += 1
                message = self._question(peer, standing, step=0, pieces=[], check=True)
                self._give(peer, "check", (), standing.version, message, answer, message)
        while any(peer.job and peer.job.kind == "check" for peer in self.peers.values()):
            done = self._handle(self.office.next(_POLL_SECONDS))
            self._greet()
            if done is None or done.job.kind != "check":
                continue
            said = self._fetch(done.peer, done.job)
            if said is None:
                continue
            try:
                head, _ = unseal(self.key, said, {"run": str, "ask": int, "digest": str})
            except MessageError as error:
                self._fail(done.peer, done.job, f"it cannot be understood: {error}")
                continue
            if head["ask"] == done.job.ask and head["digest"] != digest:
                raise DeviceError(
                    f"{done.peer.name} has other parameters than the run, so what it computed since the last check "
                    "cannot be trusted; leave it out, and go on from the last checkpoint: dither train --resume RUN"
                )

    def close(self) -> None:
        """Ends the devices of this computer, and sends all others away."""
        self.office.close()
