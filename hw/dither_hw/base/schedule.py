"""Modulo scheduling: a pipeline that takes an item every few cycles and shares its units among an
item's steps.

An item's *time* is the number of cycles since it entered; items enter every ``interval`` cycles, so
everything that happens at times with one remainder happens in one *phase*. Code that builds such a
pipeline names times only; registers that a value needs to live on while the next items come, and
free phases of shared units, are found here.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

__all__ = ["Kept", "Schedule", "Slots"]


class Schedule:
    """The phases of one pipeline.

    :param m: module that gets the registers.
    :param interval: cycles from item to item, at least 2.
    """

    def __init__(self, m: Module, interval: int) -> None:
        self.m = m
        self.interval = interval
        self._phases = Signal(interval)
        self._following = Signal(interval)

    def begin(self, start: Value) -> None:
        """Makes the cycle behind ``start`` time 0 of the first item."""
        self.m.d.comb += self._following.eq(Mux(start, 1, self._phases.rotate_left(1)))
        self.m.d.sync += self._phases.eq(self._following)

    def at(self, time: int) -> Value:
        """Whether some item, if there is one, is at this time."""
        return self._phases[time % self.interval]

    def copy(self, time: int, name: str) -> Signal:
        """The same as :meth:`at`, in a register for one purpose: all of them together would be far
        apart.
        """
        due = Signal(name=f"{name}_due_copy")
        self.m.d.sync += due.eq(self._following[time % self.interval])
        return due

    def keep(self, value: Value, time: int, name: str, *, clear: Value | None = None) -> Kept:
        """A register that takes ``value`` at ``time``; ``clear`` empties it and its copies."""
        register = Signal(Value.cast(value).shape(), name=name, reset_less=clear is None)
        with self.m.If(self.copy(time, name)):
            self.m.d.sync += register.eq(value)
        if clear is not None:
            with self.m.If(clear):
                self.m.d.sync += register.eq(0)
        return Kept(self, register, time, name, clear)


class Kept:
    """A value of every item, held in registers for as long as it is asked for.

    :param signal: holds the value from ``time + 1`` to ``time + interval``.
    """

    def __init__(self, schedule: Schedule, signal: Signal, time: int, name: str, clear: Value | None = None) -> None:
        self._schedule = schedule
        self._copies = [signal]
        self._time = time
        self._name = name
        self._clear = clear

    def at(self, time: int) -> Signal:
        """The value at a time of its item.

        :raises ValueError: if it is not known yet at that time.
        """
        age = time - self._time - 1
        if age < 0:
            raise ValueError(f"{self._name} is known from time {self._time + 1}, not {time}")
        index = age // self._schedule.interval
        while len(self._copies) <= index:
            name = f"{self._name}_{len(self._copies)}"
            copy = self._schedule.keep(self._copies[-1], self._time, name, clear=self._clear)
            self._copies.append(copy._copies[0])
        return self._copies[index]


class Slots:
    """Phases of a unit that several steps of an item share, with the operands that each of them
    gives.

    :param operands: the unit's inputs; a step drives each of them in its phase.
    """

    def __init__(self, schedule: Schedule, *operands: Signal) -> None:
        self._schedule = schedule
        self._operands = operands
        self._taken: set[int] = set()

    def reserve(self, earliest: int) -> int:
        """The first time from ``earliest`` on whose phase is free.

        :raises ValueError: if none is.
        """
        for time in range(earliest, earliest + self._schedule.interval):
            if time % self._schedule.interval not in self._taken:
                self._taken.add(time % self._schedule.interval)
                return time
        raise ValueError(f"the unit has no phase left of {self._schedule.interval}")

    def use(self, time: int, *values: Value) -> None:
        """Gives the operands for a reserved time."""
        with self._schedule.m.If(self._schedule.copy(time, f"{self._operands[0].name}_{time}")):
            self._schedule.m.d.comb += [
                operand.eq(value) for operand, value in zip(self._operands, values, strict=True)
            ]
