"""Modulo scheduling, for a pipeline that takes an item every few cycles and shares its units.

An item's *time* is the number of cycles since it entered. Items enter every ``interval`` cycles, so
all times with the same remainder by ``interval`` fall into the same cycles; such cycles are called
one *phase* here. Code that builds such a pipeline names times only. This module finds free phases
of shared units, and makes the registers that a value needs to live on while the next items come.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

__all__ = ["Kept", "Schedule", "Slots"]


class Schedule:
    """Keeps the time of a pipeline that takes an item every ``interval`` cycles.

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
        """Returns whether an item, if there is one, is at this time now."""
        return self._phases[time % self.interval]

    def copy(self, time: int, name: str) -> Signal:
        """Returns the same as :meth:`at`, in a register that serves one purpose only.

        A single register for all purposes would be far from most of them.
        """
        due = Signal(name=f"{name}_due_copy")
        self.m.d.sync += due.eq(self._following[time % self.interval])
        return due

    def keep(self, value: Value, time: int, name: str, *, clear: Value | None = None) -> Kept:
        """Makes a register that takes ``value`` at ``time``, and returns it with its copies.

        :param clear: empties the register and its copies.
        """
        register = Signal(Value.cast(value).shape(), name=name, reset_less=clear is None)
        with self.m.If(self.copy(time, name)):
            self.m.d.sync += register.eq(value)
        if clear is not None:
            with self.m.If(clear):
                self.m.d.sync += register.eq(0)
        return Kept(self, register, time, name, clear)


class Kept:
    """A value that every item of a pipeline has, held in registers for as long as it is asked for.

    :param signal: holds the value from ``time + 1`` to ``time + interval``.
    :param time: the time of its item at which ``signal`` takes the value.
    """

    def __init__(self, schedule: Schedule, signal: Signal, time: int, name: str, clear: Value | None = None) -> None:
        self._schedule = schedule
        self._copies = [signal]
        self._time = time
        self._name = name
        self._clear = clear

    def at(self, time: int) -> Signal:
        """Returns the value at a time of its item; makes further registers if there are too few.

        :raises ValueError: if the value is not known yet at that time.
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
    """Divides a unit among several steps of an item, by phases, and chooses each one's operands.

    :param operands: the unit's inputs; each step drives all of them in its phase.
    """

    def __init__(self, schedule: Schedule, *operands: Signal) -> None:
        self._schedule = schedule
        self._operands = operands
        self._taken: set[int] = set()

    def reserve(self, earliest: int) -> int:
        """Takes and returns the first time from ``earliest`` on whose phase is free.

        :raises ValueError: if no phase is free.
        """
        for time in range(earliest, earliest + self._schedule.interval):
            if time % self._schedule.interval not in self._taken:
                self._taken.add(time % self._schedule.interval)
                return time
        raise ValueError(f"the unit has no phase left of {self._schedule.interval}")

    def use(self, time: int, *values: Value) -> None:
        """Gives the unit its operands for a time that was reserved."""
        with self._schedule.m.If(self._schedule.copy(time, f"{self._operands[0].name}_{time}")):
            self._schedule.m.d.comb += [
                operand.eq(value) for operand, value in zip(self._operands, values, strict=True)
            ]
