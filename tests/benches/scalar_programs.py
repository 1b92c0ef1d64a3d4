"""Random microprograms that end, whatever the numbers are.

They have straight lines, branches ahead, counted loops and subroutines.
"""

from __future__ import annotations

from random import Random

from dither.arch.compact.scalar.assembler import MicroProgram
from dither.arch.compact.scalar.machine import (
    REGISTER_COUNT,
    Flag,
    Jump,
    Operation,
    Source,
    Target,
    When,
    encode_jump,
    encode_operation,
)

__all__ = ["DUMP", "random_program"]

DUMP = 31
"""The opcode that sends what A and Q have in common and in which they differ, and all registers."""
_ENTRIES = 48  # opcodes, LOAD and STORE of eight memories
_SUBROUTINES = 6
_WORDS = 1150
_LENGTH = 14
# Registers that count loops, which nothing else writes: by depth, those of subroutines last.
_COUNTERS = range(REGISTER_COUNT - 4, REGISTER_COUNT)
_DEEPEST = 2


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.words: list[int] = []
        self.subroutines: list[int] = []

    def operation(self) -> None:
        """One of anything."""
        random = self.random
        operation, target = random.choice(list(Operation)), random.choice(list(Target))
        if operation == Operation.MULTIPLY and target == Target.Q:
            target = Target.AR
        self.words.append(
            encode_operation(
                operation,
                random.choice(list(Source)),
                target,
                x=random.randrange(_COUNTERS.start),
                when=random.choice((When.ALWAYS, *When)),
                flag=random.choice((Flag.KEEP, *Flag)),
                move=target != Target.P and random.random() < 0.3,
            )
        )

    def block(self, depth: int, first_counter: int) -> None:
        """Some words; nested ones only as deep as there are counters."""
        random = self.random
        length = random.randrange(1, _LENGTH)
        while length > 0:
            length -= 1
            kind = random.random()
            if kind < 0.08:
                self.skip(depth, first_counter)
            elif kind < 0.14 and depth < _DEEPEST:
                self.loop(depth, first_counter)
            elif kind < 0.2 and self.subroutines and first_counter == _COUNTERS.start:
                self.words.append(encode_jump(Jump.CALL, random.choice(self.subroutines)))
            else:
                self.operation()

    def skip(self, depth: int, first_counter: int) -> None:
        """A branch over a block."""
        place = len(self.words)
        self.words.append(0)
        if self.random.random() < 0.9:
            self.block(min(depth + 1, _DEEPEST), first_counter)
        kind = self.random.choice((Jump.ALWAYS, Jump.F, Jump.NOT_F))
        self.words[place] = encode_jump(kind, len(self.words))

    def loop(self, depth: int, first_counter: int) -> None:
        """A block some times."""
        counter = first_counter + depth
        turns = self.random.randrange(1, 4)
        # A number reaches another register than its own by way of A, and a difference put in and
        # taken out again.
        self.words += [
            encode_operation(Operation.LOAD, Source.X, Target.A, x=turns),
            encode_operation(Operation.XOR, Source.R, Target.A, x=counter),
            encode_operation(Operation.XOR, Source.R, Target.R, x=counter),
        ]
        top = len(self.words)
        self.block(depth + 1, first_counter)
        self.words.append(encode_operation(Operation.DEC, Source.R, Target.R, x=counter, flag=Flag.ZERO))
        self.words.append(encode_jump(Jump.NOT_F, top))


def random_program(seed: int) -> MicroProgram:
    """Some 1,200 words with an instruction at every entry; all of them end within some thousands of
    steps.
    """
    random = Random(seed)
    writer = _Writer(random)
    writer.words = [0] * _ENTRIES
    bodies: list[int] = []
    subroutines: list[int] = []
    for _ in range(_SUBROUTINES):
        place = len(writer.words)
        writer.block(_DEEPEST - 1, _COUNTERS.start + _DEEPEST)
        writer.words.append(encode_jump(Jump.RETURN))
        subroutines.append(place)
    writer.subroutines = subroutines
    while True:
        place = len(writer.words)
        writer.block(0, _COUNTERS.start)
        writer.words.append(encode_jump(Jump.DONE))
        if len(writer.words) > _WORDS:
            del writer.words[place:]
            break
        bodies.append(place)
    for entry in range(_ENTRIES):
        writer.words[entry] = encode_jump(Jump.ALWAYS, bodies[entry % len(bodies)])
    writer.words[DUMP] = encode_jump(Jump.ALWAYS, len(writer.words))
    writer.words.append(encode_operation(Operation.AND, Source.Q, Target.OUTPUT))
    writer.words.append(encode_operation(Operation.XOR, Source.Q, Target.OUTPUT))
    writer.words += [encode_operation(Operation.LOAD, Source.R, Target.OUTPUT, x=x) for x in range(REGISTER_COUNT)]
    writer.words.append(encode_jump(Jump.DONE))
    constants = [random.getrandbits(16) for _ in range(REGISTER_COUNT)]
    return MicroProgram(tuple(writer.words), tuple(constants), {})
