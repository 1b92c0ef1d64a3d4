"""Whether a program on a board still gets on, judged by what only a right board can do for so long.

Bytes of input that it takes and of output that it sends are progress: a program has only so many of
them. Where none move, the engine's counters must: it has to count cycles of work, and no more of
them than the cycle model (:mod:`dither.golden.cycles`) gives the program. No clock rate comes in,
so that a simulated board, a thousand times slower than it says, is waited for as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..arch.regmap import COUNTERS
from .exchange import RELOAD, LinkError

__all__ = ["UNPREDICTED", "Watch", "working_cycles"]

UNPREDICTED = 1 << 32
"""Cycles allowed to a program that cannot be predicted: one that faults, whose loops depend on its
data, or that another driver wrote.
"""
_SLOWEST_HZ = 1000
"""Cycles a second that an engine counts at least; a simulated one counts tens of thousands."""
_LOOK_SECONDS = 2.0
"""Between two looks at the counters; sooner where patience is short."""
_LOOKS = 10
"""Looks that patience has room for, at least."""
_MODULUS = 1 << 32
_WAIT = "cycles_wait"


def working_cycles(counters: Mapping[str, int]) -> int:
    """Cycles that the engine did not wait for its streams."""
    names = (counter.name for counter in COUNTERS)
    return sum(counters[name] for name in names if name.startswith("cycles_") and name != _WAIT)


class Watch:
    """Watches one run of a program.

    :param name: of the line, for messages.
    :param counters: reads the engine's counters.
    :param most: tells how many cycles the program may work for; asked only if that matters.
    :param patience: seconds without any progress after which the board counts as broken.
    :param now: seconds that have passed.
    """

    def __init__(
        self,
        name: str,
        counters: Callable[[], Mapping[str, int]],
        most: Callable[[], int],
        patience: float,
        now: Callable[[], float],
    ) -> None:
        self._name = name
        self._read = counters
        self._most = most
        self._patience = patience
        self._now = now
        self._every = min(_LOOK_SECONDS, patience / _LOOKS)
        self._taken = -1
        self._progress = self._looked = now()
        self._counters: Mapping[str, int] = dict.fromkeys((counter.name for counter in COUNTERS), 0)
        self._worked = 0
        """Cycles of work counted so far, as far as that has been looked at."""
        self._limit: int | None = None

    def moved(self, taken: int) -> bool:
        """Whether more requests have taken effect than when this was asked before."""
        before, self._taken = self._taken, taken
        return taken != before

    def renew(self) -> None:
        """There has been progress."""
        self._progress = self._looked = self._now()

    def waits(self, busy: bool, position: int, produced: int) -> bool:
        """Looks at the counters if that is due; START must have taken effect.

        :param busy: what the board says of its engine.
        :param position: bytes of output fetched, as the link counts them.
        :param produced: bytes of output that the board says there are.
        :returns: whether the engine did nothing but wait for its streams since the look before.
        :raises LinkError: if patience has run out, or the engine works for longer than it can.
        """
        now = self._now()
        if now - self._looked < self._every:
            return False
        before, self._counters = self._counters, self._read()
        steps = {name: (value - before[name]) % _MODULUS for name, value in self._counters.items()}
        worked, seconds = working_cycles(steps), now - self._looked
        self._looked = self._now()
        self._worked += worked
        if self._limit is None:
            self._limit = self._most()
        if self._worked > self._limit:
            raise LinkError(
                f"{self._name}: the engine has counted {self._worked:,} cycles in a program of {self._limit:,} and "
                f"goes on; {RELOAD}"
            )
        if busy and worked >= _SLOWEST_HZ * seconds:
            self._progress = now
        elif now - self._progress > self._patience:
            if busy:
                what = "is busy, but neither takes input nor sends output, and its engine counts no work"
            elif position != produced:
                what = f"says that its output ends at byte {produced}, sends nothing from byte {position} on"
            else:
                what = "says that it is not busy, and does not end"
            raise LinkError(f"{self._name}: for {self._patience:g} s the board {what}; {RELOAD}")
        return {name for name, step in steps.items() if step} == {_WAIT}
