"""Random control programs, and a software twin of the sequencer that says what they do.

The twin follows the description of the instruction set word by word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from dither.arch.device import DeviceError
from dither.arch.isa import INSTRUCTIONS, REGISTERS, STACK_DEPTH, Instruction, InstructionFormat, decode_program
from dither.arch.timing import BLOCK_RAM_LATENCY, SHORTEST_FETCH, fetch_cycles
from dither.golden.control import Stack, wrap

__all__ = ["Job", "Outcome", "Twin", "layout", "random_program"]

_FORMS = {form.name: form for form in INSTRUCTIONS}
_CONTROL = ("HALT", "LOOP", "END", "CALL", "RETURN", "SET", "ADD", "SUBTRACT")
_UNITS = tuple(name for name in _FORMS if name not in _CONTROL)
_KNOWN = frozenset(form.opcode for form in INSTRUCTIONS)
_MAX_STEPS = 1500
I = Instruction.make  # noqa: E741


@dataclass(frozen=True)
class Job:
    """What a unit is to be started with, and how the pretended unit answers."""

    instruction: Instruction
    operands: list[int]
    """Values of its source registers, unsigned."""
    waits: list[bool]
    """For each cycle after the start, the last one included: whether it is spent waiting for a
    stream.
    """
    result: int


@dataclass
class Outcome:
    """What a run is to do."""

    jobs: list[Job] = field(default_factory=list)
    control: list[Instruction] = field(default_factory=list)
    """Instructions that no unit has a part in, in the order of their execution."""
    cycles: Counter[str] = field(default_factory=Counter)
    """By phase."""
    fault: bool = False
    steps: int = 0


class Twin:
    """The sequencer in software, with units that take random times and give random results."""

    def __init__(self, random: Random) -> None:
        self.registers = [0] * REGISTERS
        self._random = random

    def run(self, words: Sequence[int], entry: int) -> Outcome:
        """Execute a program to its end or fault.

        :raises OverflowError: if it is too long for a bench.
        """
        outcome, stack, address = Outcome(), Stack(), entry
        while outcome.steps < _MAX_STEPS:
            outcome.steps += 1
            if words[address] & 0xFF not in _KNOWN:
                outcome.cycles += Counter(fetch=BLOCK_RAM_LATENCY + SHORTEST_FETCH + 1, control=1)
                outcome.fault = True
                return outcome
            _, instruction = next(decode_program(list(words[address:])))
            form = instruction.format
            address += form.words
            outcome.cycles["fetch"] += fetch_cycles(form)
            operands = [self.registers[instruction[source]] for source in form.sources]
            if instruction.name in _CONTROL:
                outcome.cycles["control"] += 1
                outcome.control.append(instruction)
            try:
                match instruction.name:
                    case "HALT":
                        return outcome
                    case "LOOP":
                        count = operands[0] + instruction["count"]
                        # A loop of no iterations ends the program a cycle later.
                        outcome.cycles["fetch"] += count < 1 and stack.room > 0
                        stack.open_loop(address, count)
                    case "END":
                        address = stack.end(address)
                    case "CALL":
                        stack.call(address)
                        address = instruction["target"]
                    case "RETURN":
                        address = stack.back()
                    case "SET":
                        self._write(instruction, operands[0] + instruction["value"])
                    case "ADD":
                        self._write(instruction, operands[0] + operands[1])
                    case "SUBTRACT":
                        self._write(instruction, operands[0] - operands[1])
                    case _:
                        self._work(instruction, operands, outcome)
            except DeviceError:
                outcome.fault = True
                return outcome
        raise OverflowError(f"more than {_MAX_STEPS} instructions")

    def _work(self, instruction: Instruction, operands: list[int], outcome: Outcome) -> None:
        waiting = self._random.choice((0.0, 0.0, 0.5))
        waits = [self._random.random() < waiting for _ in range(self._random.choice((1, 1, 2, 3, 20)))]
        result = self._random.getrandbits(32)
        outcome.jobs.append(Job(instruction, [operand & 0xFFFFFFFF for operand in operands], waits, result))
        outcome.cycles[instruction.format.phase] += 1 + waits.count(False)
        outcome.cycles["wait"] += waits.count(True)
        if instruction.format.writes_register:
            self._write(instruction, result)

    def _write(self, instruction: Instruction, value: int) -> None:
        if instruction["target"]:
            self.registers[instruction["target"]] = wrap(value)


def layout(blocks: Sequence[Sequence[Instruction]]) -> tuple[list[int], list[int]]:
    """The words of blocks one behind the other, and each block's address; a CALL's ``target`` is a
    block's number.
    """
    addresses, end = [], 0
    for block in blocks:
        addresses.append(end)
        end += sum(instruction.format.words for instruction in block)
    words = []
    for instruction in (instruction for block in blocks for instruction in block):
        if instruction.name == "CALL":
            instruction = I("CALL", target=addresses[instruction["target"]])
        words += instruction.encode()
    return words, addresses


def _random_fields(form: InstructionFormat, random: Random) -> Instruction:
    return Instruction(form.name, {f.name: random.randint(f.lowest, f.highest) for f in form.fields})


def _block(
    random: Random, room: int, callable_blocks: list[tuple[int, int]], length: int
) -> tuple[list[Instruction], int]:
    """Random instructions that need at most ``room`` of the stack, and how much they need.

    ``callable_blocks`` has (number, need) of the subroutines that may be called.
    """
    block, need = [], 0
    for _ in range(random.randint(1, length)):
        match random.choice(("loop", "call", "scalar", "scalar", "unit", "unit")):
            case "loop" if room:
                count = random.choice((1, 1, 2, 3))
                if random.random() < 0.5:
                    block.append(I("LOOP", register=0, count=count))
                else:
                    register, part = random.randrange(1, REGISTERS), random.choice((0, count, 0xFFFF, 1000))
                    block += [I("SET", target=register, source=0, value=count - part)]
                    block += [I("LOOP", register=register, count=part)]
                body, inner = _block(random, room - 1, callable_blocks, max(1, length - 2))
                block += [*body, I("END")]
                need = max(need, inner + 1)
            case "call" if any(inner < room for _, inner in callable_blocks):
                number, inner = random.choice([entry for entry in callable_blocks if entry[1] < room])
                block.append(I("CALL", target=number))
                need = max(need, inner + 1)
            case "unit":
                block.append(_random_fields(_FORMS[random.choice(_UNITS)], random))
            case _:
                block.append(_random_fields(_FORMS[random.choice(("SET", "ADD", "SUBTRACT"))], random))
    return block, need


def random_program(random: Random) -> tuple[list[int], int]:
    """Words and entry of a program that ends without a fault and sends all registers at its end."""
    blocks: list[list[Instruction]] = []
    callable_blocks: list[tuple[int, int]] = []
    for number in range(random.randint(0, STACK_DEPTH)):
        block, need = _block(random, random.randint(0, STACK_DEPTH - 1), callable_blocks, 4)
        blocks.append([*block, I("RETURN")])
        callable_blocks.append((number, need))
    main, _ = _block(random, STACK_DEPTH, callable_blocks, 8)
    emits = [I("EMIT", source=register) for register in range(REGISTERS)]
    blocks.append([*main, *emits, I("HALT")])
    words, addresses = layout(blocks)
    return words, addresses[-1]
