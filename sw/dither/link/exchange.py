"""Requests and responses over an unreliable line.

Queries are asked one at a time; sequenced requests go through a sliding window. Every transmission
has an *order*, a running number whose lowest byte is its tag. Bytes arrive in the order in which
they were sent, so a response to a transmission tells what became of all before it: a sequenced
request that had not taken effect by then was lost or refused, and is sent again at once with all
behind it (go-back-N). Only silence needs a timeout.

A board is waited for as long as it makes progress. A query that is answered and a sequenced request
that takes effect are progress, as a driver sends only so many of them. An answer as such is none,
so a board that answers wrongly for ever is given up like one that is silent.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..arch.device import DeviceError
from ..arch.regmap import MAGIC
from .frames import FrameDecoder, encode_frame
from .protocol import POSITION_BITS, REQUEST, RESPONSE, RESPONSE_BIT, Flag, Identity, Reason, RequestType
from .transport import Transport

__all__ = ["RELOAD", "RESUME", "Exchange", "LinkError", "Response", "Statistics"]

RESUME = "the run goes on with dither train --resume RUN"
"""Advice at the end of messages: how a run goes on once the board is back."""
RELOAD = f"switch the board off and on, or load its bitstream again (dither program); {RESUME}"
"""Advice about a board that answers, but not as it should."""
_MODULUS = 1 << POSITION_BITS
_TAGS = 256
_WINDOW = 64
"""Most sequenced requests on their way at a time: fewer than there are tags."""
_BYTE_BITS = 10
_FIRST_TIMEOUT = 0.15
_LONGEST_TIMEOUT = 2.0
_DOUBLINGS = 16
"""Tries after which timeouts grow no more: by then they are longest whatever they began with."""


class LinkError(DeviceError):
    """The line or the board is lost or was restarted; what was on its way cannot be trusted."""


@dataclass(slots=True)
class Statistics:
    """Counts and times of what went over the line so far."""

    bytes_sent: int = 0
    """Number of bytes sent."""
    bytes_received: int = 0
    """Number of bytes received."""
    requests: int = 0
    """Number of frames sent, repetitions included."""
    responses: int = 0
    """Number of good frames received."""
    resent: int = 0
    """Number of frames sent again."""
    timeouts: int = 0
    """Number of queries that were not answered in time."""
    damaged: int = 0
    """Number of received frames that were dropped because they were damaged."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Number of responses to requests without effect, by reason."""
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    """Seconds from each of the last queries to its answer."""
    waited: float = 0.0
    """Seconds spent waiting for the line."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the board: the fields of its header, and its body."""

    type: int
    """Type of the request, with the highest bit set."""
    tag: int
    """Tag of the request that is answered."""
    session: int
    """Number of the board's session; 0 if it has none."""
    flags: int
    """State of the board, :class:`~dither.link.protocol.Flag` bits."""
    reason: int
    """Reason why the request had no effect, :class:`~dither.link.protocol.Reason`, or 0."""
    next: int
    """Sequence number that the board expects: all requests before it have taken effect."""
    free: int
    """Number of bytes that the body of a DATA may have."""
    produced: int
    """Position behind the last byte of the output stream."""
    body: bytes
    """Bytes behind the header; their meaning depends on the request."""

    @property
    def busy(self) -> bool:
        """Whether the engine runs."""
        return bool(self.flags & Flag.BUSY)


@dataclass(slots=True)
class _Sequenced:
    kind: RequestType
    number: int
    argument: int
    body: bytes
    order: int = -1
    """Order of the last transmission; -1 if the request is to be sent (again)."""


@dataclass(slots=True)
class _Query:
    kind: RequestType
    number: int
    argument: int
    body: bytes
    sent: dict[int, float]
    """Time of each transmission, by its tag."""
    deadline: float


class Exchange:
    """The driver's end of the link: sends requests, repeats what is lost, and takes responses.

    :param transport: the line.
    :param patience: seconds without a query answered or a request taking effect after which the
        board counts as lost.
    :param shortest_timeout: least time in seconds to wait for a query's answer.
    :param now: returns the seconds that have passed, by any clock that never goes back.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        patience: float = 20.0,
        shortest_timeout: float = 0.03,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.patience = patience
        self.shortest_timeout = shortest_timeout
        self._now = now
        self.statistics = Statistics()
        self.session = 0
        self._decoder = FrameDecoder(RESPONSE.size)
        self._round_trip: float | None = None
        self._orders = 0
        self._reset()

    def _reset(self) -> None:
        self.free = 0
        """Number of bytes of the board's input buffer that were free at the last response."""
        self.taken = 0
        """Number of sequenced requests that are known to have taken effect."""
        self._number = 0
        self._abandoned = False
        self._window: deque[_Sequenced] = deque()
        self._query: _Query | None = None
        self._tries = 0
        self._heard = self._asked = self._moved = self._now()
        """When the board last said anything; the query was asked; the window last moved or ceased
        to be empty.
        """
        self._odd = ""
        """What was wrong with the last answer that was of no use."""

    # Sessions

    def open(self, patience: float) -> Identity:
        """Opens a session, at which the board forgets all that came before, and returns who it is.

        :param patience: seconds to try.
        :raises DeviceError: if nobody answers, or it is no board that this driver understands.
        """
        end = self._now() + patience
        bauds: list[int | None] = [*self.transport.bauds] or [None]
        self.transport.reset_input()
        timeout = min(max(self.shortest_timeout, _FIRST_TIMEOUT), patience)
        answered = False
        self._choose()
        while True:
            for baud in bauds:
                if baud is not None and baud != self.transport.baud:
                    self.transport.set_baud(baud)
                response = self._hello(min(timeout, end - self._now()))
                answered = answered or response is not None
                if response is not None and (response.next or response.produced or response.busy):
                    # The board had this very session number already, and so forgot nothing.
                    self._choose()
                elif response is not None:
                    return self._identified(response)
                if self._now() >= end and answered:
                    raise LinkError(
                        f"{self.transport.name}: the board answers, but does not begin a new session: it is busy, or "
                        "counts from where another one ended; switch it off and on, or load its bitstream again "
                        "(dither program)"
                    )
                if self._now() >= end:
                    rates = f" at {' or '.join(map(str, self.transport.bauds))} baud" if self.transport.bauds else ""
                    raise LinkError(
                        f"no board answers on {self.transport.name}{rates}; is it on, and loaded with a bitstream of "
                        "dither (dither program)?"
                    )
            timeout = min(2 * timeout, _LONGEST_TIMEOUT)

    def _choose(self) -> None:
        self.session = 1 + secrets.randbelow(_MODULUS - 1)

    def _hello(self, timeout: float) -> Response | None:
        self._reset()
        self._decoder.reset()
        begun = self._now()
        tag = self._transmit(RequestType.HELLO, MAGIC % _MODULUS, 0, b"", afresh=True) % _TAGS
        while (left := begun + timeout - self._now()) > 0:
            for response in self._responses(left):
                mine = (RequestType.HELLO | RESPONSE_BIT, tag, self.session, Reason.OK)
                if (response.type, response.tag, response.session, response.reason) == mine:
                    self._note_round_trip(self._now() - begun)
                    self.free, self._heard = response.free, self._now()
                    return response
        return None

    def _identified(self, response: Response) -> Identity:
        try:
            return Identity.decode(response.body)
        except ValueError as error:
            raise LinkError(f"{self.transport.name}: {error}") from None

    # Sequenced requests

    @property
    def pending(self) -> int:
        """Number of sequenced requests that are not yet known to have taken effect."""
        return len(self._window)

    @property
    def room(self) -> int:
        """Number of bytes that the body of a DATA may have now; 0 if the window is full."""
        on_its_way = sum(len(request.body) for request in self._window if request.kind is RequestType.DATA)
        return max(0, self.free - on_its_way) if len(self._window) < _WINDOW else 0

    def submit(self, kind: RequestType, argument: int = 0, body: bytes = b"") -> int:
        """Sends a sequenced request without waiting for its effect.

        :returns: the request's number; it has taken effect once :attr:`taken` is greater.
        """
        if not self._window:
            self._moved = self._now()
        self._window.append(_Sequenced(kind, self._number, argument, body))
        self._number = (self._number + 1) % _MODULUS
        self._catch_up()
        return self.taken + len(self._window) - 1

    def flush(self) -> None:
        """Waits until all sequenced requests have taken effect.

        :raises LinkError: if they do not.
        """
        while self._window:
            self.query(RequestType.PING)

    def abandon(self) -> None:
        """Forgets what is on its way; until the next :meth:`open`, only queries make sense."""
        self._window.clear()
        self._query, self._tries = None, 0
        self._abandoned = True

    def _catch_up(self) -> None:
        """Sends those requests of the window that are not on their way."""
        afresh = True
        for request in self._window:
            if request.order < 0:
                request.order = self._transmit(
                    request.kind, request.number, request.argument, request.body, afresh=afresh and self._tries > 0
                )
                afresh = False

    # Queries

    @property
    def asking(self) -> bool:
        """Whether a query is on its way."""
        return self._query is not None

    def query(self, kind: RequestType, number: int = 0, argument: int = 0, body: bytes = b"") -> Response:
        """Sends a query, waits for the answer and returns it.

        :raises LinkError: if none comes, or the board refuses.
        """
        self.ask(kind, number, argument, body)
        while True:
            response = self.receive()
            if response is not None:
                return response

    def ask(self, kind: RequestType, number: int = 0, argument: int = 0, body: bytes = b"") -> None:
        """Sends a query without waiting; :meth:`receive` gives the answer.

        :raises RuntimeError: if another query is on its way.
        """
        if self._query is not None:
            raise RuntimeError("a query is on its way already")
        self._tries, self._odd = 0, ""
        self._asked = self._now()
        self._query = _Query(kind, number, argument, body, {}, 0.0)
        self._send_query(self._query)

    def _send_query(self, query: _Query) -> None:
        order = self._transmit(query.kind, query.number, query.argument, query.body, afresh=self._tries > 0)
        now = self._now()
        query.sent[order % _TAGS] = now
        query.deadline = now + self._timeout()

    def _timeout(self) -> float:
        """Returns the seconds after which an answer counts as lost.

        They follow from the round trips seen, from what is on the line, and from the number of
        tries.
        """
        usual = self.shortest_timeout if self._round_trip is None else 4 * self._round_trip
        bits = _BYTE_BITS * (sum(len(request.body) + 16 for request in self._window) + 512)
        line = 2 * bits / self.transport.baud if self.transport.baud else 0.0
        longer = 2.0 ** min(self._tries, _DOUBLINGS)
        return float(min((max(self.shortest_timeout, usual) + line) * longer, _LONGEST_TIMEOUT + line))

    def receive(self, timeout: float | None = None) -> Response | None:
        """Takes responses until the query is answered, and returns the answer.

        :param timeout: seconds after which the result is None if there is no answer; no limit if
            None.
        :raises LinkError: if the board is lost, or refuses the query.
        """
        end = None if timeout is None else self._now() + timeout
        while True:
            now = self._now()
            if end is not None and now >= end:
                return None
            limits = [self._query.deadline] if self._query else []
            wait = min([*limits, now + self.patience, *([] if end is None else [end])]) - now
            answer = None
            for response in self._responses(max(0.0, wait)):
                answer = self._take(response) or answer
            self._catch_up()
            self._check_progress()
            if answer is not None:
                return answer

    def _take(self, response: Response) -> Response | None:
        """Learns from a response and returns it if it is the query's answer, otherwise None."""
        if response.session != self.session:
            raise LinkError(self._lost(response.session))
        now = self._now()
        self._heard = now
        if response.reason:
            self.statistics.refusals[_reason(response)] += 1
        if not self._abandoned:
            base = self._window[0].number if self._window else self._number
            done = (response.next - base) % _MODULUS
            if done > len(self._window):
                # An old response, if something on the line repeated it.
                self._odd = f"it expects request {response.next} where only {base} to {self._number} can be next"
                return None
            for _ in range(done):
                self._window.popleft()
            if done:
                self._moved = now
                self.taken += done
            self.free = response.free
            self._go_back(response)
        query = self._query
        if query is None or response.tag not in query.sent or response.type != query.kind | RESPONSE_BIT:
            if query is not None:
                self._odd = f"it answers with type {response.type:#04x} and tag {response.tag}, which is no answer"
            return None
        if response.reason:
            raise LinkError(
                f"{self.transport.name}: the board refuses {query.kind.name} ({_reason(response)}); {RESUME}"
            )
        self._note_round_trip(now - query.sent[response.tag])
        self._query, self._tries = None, 0
        return response

    def _go_back(self, response: Response) -> None:
        """Marks requests to be sent again: what a response shows to be lost, and all behind it."""
        if not self._window:
            return
        order = self._orders - 1 - (self._orders - 1 - response.tag) % _TAGS
        if 0 <= self._window[0].order <= order:
            self.statistics.resent += len(self._window)
            for request in self._window:
                request.order = -1

    def _check_progress(self) -> None:
        """Asks again if that is due.

        :raises LinkError: if the board has been silent, or has said nothing of use, for as long as
            patience lasts.
        """
        now, name = self._now(), self.transport.name
        stalled = bool(self._window) and now - self._moved > self.patience
        if stalled or (self._query is not None and now - max(self._asked, self._moved) > self.patience):
            if now - self._heard > self.patience:
                raise LinkError(f"{name}: the board has not answered for {self.patience:g} s; is it still on? {RESUME}")
            what = self._window[0].kind if stalled or self._query is None else self._query.kind
            why = f" ({self._odd})" if self._odd else ""
            fault = "has had no effect" if stalled else "has had no answer of use"
            raise LinkError(f"{name}: {what.name} {fault} for {self.patience:g} s{why}; {RELOAD}")
        query = self._query
        if query is not None and now >= query.deadline:
            self._tries += 1
            self.statistics.timeouts += 1
            self.statistics.resent += 1
            self._send_query(query)

    def _lost(self, session: int) -> str:
        if session:
            return f"{self.transport.name}: another driver has opened the board; {RESUME} once that one is done"
        return f"{self.transport.name}: the board has forgotten the session (reset, or switched off); {RESUME}"

    # The line

    def _transmit(self, kind: RequestType, number: int, argument: int, body: bytes, *, afresh: bool) -> int:
        """Sends one frame and returns its order.

        :param afresh: whether to send a zero first, which ends what may be left of a frame before.
        """
        order, self._orders = self._orders, self._orders + 1
        header = REQUEST.pack(type=kind, tag=order % _TAGS, session=self.session, number=number, argument=argument)
        frame = (b"\0" if afresh else b"") + encode_frame(header + body)
        self.statistics.requests += 1
        self.statistics.bytes_sent += len(frame)
        try:
            self.transport.write(frame)
        except DeviceError as error:
            raise LinkError(f"{error}; {RESUME}") from None
        return order

    def _responses(self, timeout: float) -> list[Response]:
        """Returns the responses that come within ``timeout`` seconds.

        It does not wait any longer once there are bytes.
        """
        begun = self._now()
        try:
            data = self.transport.read(timeout)
        except DeviceError as error:
            raise LinkError(f"{error}; {RESUME}") from None
        statistics = self.statistics
        statistics.waited += self._now() - begun
        statistics.bytes_received += len(data)
        found = [
            Response(**RESPONSE.unpack(payload), body=payload[RESPONSE.size :]) for payload in self._decoder.feed(data)
        ]
        statistics.damaged = self._decoder.dropped
        statistics.responses += len(found)
        return found

    def _note_round_trip(self, seconds: float) -> None:
        self.statistics.round_trips.append(seconds)
        before = seconds if self._round_trip is None else self._round_trip
        self._round_trip = max(seconds, 0.9 * before + 0.1 * seconds)


def _reason(response: Response) -> str:
    """Why a request was refused, by name if the reason has one."""
    known = response.reason in tuple(Reason)
    return Reason(response.reason).name if known else f"reason {response.reason}, which nobody knows"
