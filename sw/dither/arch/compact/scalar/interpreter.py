"""The interpreter of microprograms: what :mod:`.machine` says, executed word by word."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .assembler import MicroProgram
from .layout import STATE_WORDS
from .machine import REGISTER_COUNT, START_LOAD, Flag, Jump, Operation, Source, Target, When, Word, decode

__all__ = ["LIMIT", "Interpreter"]

CONTROL_WORDS = 1 << 8
LIMIT = 1 << 26
"""Microinstructions after which an instruction counts as lost."""
_MASK = 0xFFFF


class Interpreter:
    """The machine's state and memories, all 16 bits unsigned.

    Attributes
    ----------
    state, control : list[int]
        The state memory and the sequencer's control memory.
    activation : list[list[int]]
        Words of lanes.
    weight : list[int]
        The weight memory.
    registers : list[int]
        R.
    input : deque[int]
        Beats that are still to be taken.
    output : list[int]
        Beats that were sent.
    clips : int
        Saturations that were counted.
    executed : int
        Microinstructions since the beginning, those whose predicate did not hold included.

    :param program: the microprogram.
    :param lanes: lanes of an activation word.
    :param activation_depth: words of the activation memory.
    :param weight_depth: words of the weight memory.
    """

    def __init__(self, program: MicroProgram, lanes: int, activation_depth: int, weight_depth: int) -> None:
        self.state = [0] * STATE_WORDS
        self.control = [0] * CONTROL_WORDS
        self.activation = [[0] * lanes for _ in range(activation_depth)]
        self.weight = [0] * weight_depth
        self.registers = list(program.constants)
        self.input: deque[int] = deque()
        self.output: list[int] = []
        self.clips = 0
        self.executed = 0
        # Pointers have as many bits as they need.
        self._activation_mask, self._weight_mask, self._lane_mask = (
            (1 << (count - 1).bit_length()) - 1 for count in (activation_depth, weight_depth, lanes)
        )
        self._words = [decode(word) for word in program.words]
        self._a = self._q = self._c = self._f = 0
        self._p = self._ap = self._lane = self._cp = self._wp = self._sh = 0
        self._return = 0

    def feed(self, beats: Iterable[int]) -> None:
        """More beats of the input stream."""
        self.input.extend(beats)

    def run(self, opcode: int, memory: int | None = None) -> int:
        """Executes an instruction that stands in the control memory.

        :param opcode: the instruction's.
        :param memory: the memory of a LOAD or STORE; STORE's opcode is odd.
        :returns: the number of microinstructions.
        :raises RuntimeError: if the instruction does not end.
        :raises EOFError: if the input stream has no beat left.
        """
        counter = opcode if memory is None else START_LOAD + 2 * memory + (opcode & 1)
        words, before = self._words, self.executed
        while self.executed - before < LIMIT:
            word = words[counter]
            counter += 1
            self.executed += 1
            if not word.jump:
                if word.when == When.ALWAYS or self._f == (word.when == When.F):
                    self._operate(word)
                continue
            kind = word.kind
            if kind == Jump.DONE:
                return self.executed - before
            if kind == Jump.RETURN:
                counter = self._return
            elif kind not in (Jump.F, Jump.NOT_F) or self._f == (kind == Jump.F):
                if kind == Jump.CALL:
                    self._return = counter
                counter = word.destination
        raise RuntimeError(f"the microprogram did not end within {LIMIT} microinstructions")

    def _operate(self, word: Word) -> None:
        y = self._result(word.operation, self._operand(word.source, word.x))
        self._write(word.target, word.x, y)
        if word.move:
            self._p = (self._p + 1) % STATE_WORDS
        match word.flag:
            case Flag.CARRY:
                self._f = self._c
            case Flag.ZERO:
                self._f = int(y == 0)
            case Flag.SIGN:
                self._f = y >> 15

    def _operand(self, source: Source, x: int) -> int:
        match source:
            case Source.R:
                return self.registers[x]
            case Source.STATE:
                return self.state[self._p]
            case Source.ACTIVATION:
                return self.activation[self._ap][self._lane]
            case Source.CONTROL:
                return self.control[self._cp]
            case Source.INPUT:
                if not self.input:
                    raise EOFError("the input stream has no beat left")
                return self.input.popleft()
            case Source.Q:
                return self._q
            case Source.X:
                return x

    def _result(self, operation: Operation, b: int) -> int:
        a, carry = self._a, self._c
        match operation:
            case Operation.LOAD:
                return b
            case Operation.ADD:
                return self._sum(a + b)
            case Operation.ADC:
                return self._sum(a + b + carry)
            case Operation.SUB:
                return self._sum(a + (b ^ _MASK) + 1)
            case Operation.SBC:
                return self._sum(a + (b ^ _MASK) + carry)
            case Operation.AND:
                return a & b
            case Operation.OR:
                return a | b
            case Operation.XOR:
                return a ^ b
            case Operation.FUNNEL:
                return ((a << 16 | b) << self._sh >> 16) & _MASK
            case Operation.MULTIPLY:
                total = a + b if self._q & 1 else a
                self._q = self._q >> 1 | (total & 1) << 15
                return total >> 1
            case Operation.ROR:
                self._c = b & 1
                return carry << 15 | b >> 1
            case Operation.SEX:
                return _MASK if b >> 15 else 0
            case Operation.INC:
                return self._sum(b + 1)
            case Operation.DEC:
                return self._sum(b + _MASK)
            case Operation.NEG:
                return self._sum((b ^ _MASK) + 1)
            case Operation.ROL:
                self._c = b >> 15
                return (b << 1 | carry) & _MASK

    def _sum(self, total: int) -> int:
        self._c = total >> 16
        return total & _MASK

    def _write(self, target: Target, x: int, y: int) -> None:
        match target:
            case Target.NONE:
                pass
            case Target.A:
                self._a = y
            case Target.R:
                self.registers[x % REGISTER_COUNT] = y
            case Target.AR:
                self._a = self.registers[x % REGISTER_COUNT] = y
            case Target.Q:
                self._q = y
            case Target.P:
                self._p = y % STATE_WORDS
            case Target.AP:
                self._ap = y & self._activation_mask
            case Target.LANE:
                self._lane = y & self._lane_mask
            case Target.CP:
                self._cp = y % CONTROL_WORDS
            case Target.WP:
                self._wp = y & self._weight_mask
            case Target.SH:
                self._sh = y & 15
            case Target.STATE:
                self.state[self._p] = y
            case Target.WEIGHT:
                self.weight[self._wp] = y
            case Target.CONTROL:
                self.control[self._cp] = y
            case Target.OUTPUT:
                self.output.append(y)
            case Target.CLIP:
                self.clips += 1
