"""The interpreter of the sequencer's program: executes it word by word, a word a cycle.

It serves to count cycles (:mod:`dither.arch.compact.timing`), so what moves data outside of the
sequencer is left out: addresses, products, beats and the scalar unit. Streams never wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...isa import Memory
from .program import CONSTANTS, DISPATCH, UNKNOWN, control_program
from .words import Carry, Job, Next, Nibble, Source, Sum

__all__ = ["Cost", "Interpreter"]

MEMORY_WORDS = 256
"""Words of the sequencer's own memory."""
_LIMIT = 1 << 20
"""Cycles after which a program counts as lost."""
_MASK = 0xFFFF
_UNCOUNTED = (Job.IDLE, Job.CLEAR)


@dataclass(slots=True)
class Cost:
    """The cycles that one execution of an instruction took."""

    opcode: int = UNKNOWN
    """The instruction's opcode; ``UNKNOWN`` until it is decoded."""
    fetch: int = 0
    """Cycles of fetching and decoding it, and of what is left to do behind its execution."""
    work: int = 0
    """Cycles of its execution."""


class Interpreter:
    """The sequencer's state; :meth:`run` executes a program of the engine's instructions.

    :param lanes: lanes of an activation word.
    :param drain: cycles of the requantiser, from a lane's sum to its write.
    :param scalar: cycles of every instruction of the scalar unit, from start to end; at least 2.
    """

    def __init__(self, lanes: int, *, drain: int = 0, scalar: int = 2) -> None:
        program = control_program()
        self._words = program.assemble()
        self._fetch, self._idle = program.labels["fetch"], program.labels["idle"]
        self._lanes, self._drain, self._scalar = lanes, drain, scalar
        self._memory = [CONSTANTS.get(address, 0) for address in range(MEMORY_WORDS)]
        self._accumulator = self._flag = self._lost = self._nibble = 0
        self._word = 0
        self._opcode, self._kind = 0, 0
        self._not_single = False
        self._lane = self._scalar_cycles = self._writing_until = 0

    def run(self, program: Sequence[int]) -> list[Cost]:
        """Executes a program from its first word to its HALT, or to a fault.

        :param program: the engine's program, words of 32 bits.
        :returns: the cost of each instruction executed, in order.
        :raises RuntimeError: if the program does not end.
        """
        costs: list[Cost] = []
        fetched = before = 0
        at = self._fetch
        for cycle in range(_LIMIT):
            if at == self._fetch:
                costs.append(Cost())
            if at == self._idle:
                return costs
            now = self._words[at]
            job, source = now["job"], now["source"]
            if job not in _UNCOUNTED:
                if now["work"]:
                    costs[-1].work += 1
                else:
                    costs[-1].fetch += 1
            address = (now["address"] + (self._nibble if now["indexed"] else 0)) % MEMORY_WORDS
            written = self._written(source, fetched, before)
            # What is read while it is written is not defined: the complement, as in simulations.
            read = self._memory[address] ^ (_MASK if source else 0)
            if job == Job.OPCODE:
                self._opcode = min(fetched & 0xFF, UNKNOWN)
                self._kind = fetched >> 8 & 7
                costs[-1].opcode = self._opcode
            ready = self._ready(job, cycle)
            nibble, accumulator, word = self._nibble, self._accumulator, self._word
            carries = self._add(now["sum"], now["carry"])
            if job == Job.NOT_SINGLE:
                self._not_single = carries
            following = self._next(now, at, carries, ready, nibble, accumulator)
            self._set_nibble(now, accumulator, word)
            if source:
                self._memory[address] = written
            self._word = read
            before = fetched >> 24
            fetched = program[accumulator] if accumulator < len(program) else 0
            at = following
        raise RuntimeError(f"the program goes on after {_LIMIT} cycles")

    def _written(self, source: int, fetched: int, before: int) -> int:
        """The number that a word writes to the sequencer's memory."""
        values = {
            Source.NOTHING: 0,
            Source.ACCUMULATOR: self._accumulator,
            Source.LOW: fetched,
            Source.HIGH: fetched >> 16,
            Source.MIDDLE: fetched >> 8,
            Source.STRADDLE: before | fetched << 8,
            Source.COUNT: fetched >> 12,
            Source.OUTSIDE: 0,
        }
        return values[Source(source)] & _MASK

    def _add(self, sum_: int, carry: int) -> bool:
        """Lets the accumulator take the word's sum; returns whether it carries."""
        odd, mode, other = self._opcode & 1, sum_ & 3, sum_ >> 2
        left = 0
        if mode == Sum.KEEP & 3:
            left = self._accumulator
        elif mode == Sum.CONDITIONAL & 3:
            left = self._accumulator ^ (_MASK if odd else 0)
        elif mode == Sum.SHIFT & 3:
            left = self._accumulator >> 1 | self._lost << 15
            self._lost = self._accumulator & 1
        right = (self._word if other & 1 else 0) | (_MASK if other & 2 else 0)
        total = left + right + {Carry.NONE: 0, Carry.ONE: 1, Carry.FLAG: self._flag, Carry.ODD: odd}[Carry(carry)]
        self._accumulator = total & _MASK
        if mode and other:
            self._flag = total >> 16
        return bool(total >> 16)

    def _set_nibble(self, now: dict[str, int], accumulator: int, word: int) -> None:
        match Nibble(now["nibble"]):
            case Nibble.KEEP:
                pass
            case Nibble.ACCUMULATOR:
                self._nibble = accumulator & 15
            case Nibble.ADDRESS:
                self._nibble = now["address"] & 15
            case Nibble.NEXT:
                self._nibble = (self._nibble + 1) & 15
            case nibble:
                self._nibble = word >> 4 * (nibble - Nibble.READ_0) & 15

    def _ready(self, job: int, cycle: int) -> bool:
        """Whether what a word's job waits for is there in this cycle."""
        if job in (Job.DRAIN, Job.FLUSH):
            self._writing_until = cycle + self._lanes + (self._drain if job == Job.DRAIN else 0)
        if job == Job.SCALAR:
            self._scalar_cycles = 1
        match job:
            case Job.SCALAR_WORK:
                self._scalar_cycles += 1
                return self._scalar_cycles >= self._scalar
            case Job.DRAINED:
                return cycle > self._writing_until
            case Job.TAKE_LANES | Job.SEND_LANES:
                self._lane = (self._lane + 1) % self._lanes
                return self._lane == 0
            case _:
                return True

    def _next(self, now: dict[str, int], at: int, carries: bool, ready: bool, nibble: int, accumulator: int) -> int:
        """The address of the word that comes next."""
        kind = Next(now["next"])
        taken = {
            Next.FOLLOW: False,
            Next.JUMP: True,
            Next.CARRY: carries,
            Next.NO_CARRY: not carries,
            Next.REPEAT_CARRY: carries,
            Next.REPEAT_COUNT: nibble != 15,
            Next.REPEAT_WAIT: not ready,
            Next.DISPATCH: True,
            Next.NEGATIVE: bool(accumulator >> 15),
            Next.SINGLE: not self._not_single,
            Next.COUNT: nibble != 15,
            Next.BELOW_FOUR: not nibble & 4,
            Next.ACTIVATION: self._kind == Memory.ACTIVATION,
            Next.WEIGHT: self._kind == Memory.WEIGHT,
            Next.ODD: bool(self._opcode & 1),
        }[kind]
        if not taken:
            return at + 1
        if kind in (Next.REPEAT_CARRY, Next.REPEAT_COUNT, Next.REPEAT_WAIT):
            return at
        return DISPATCH | self._opcode if kind is Next.DISPATCH else now["address"]
