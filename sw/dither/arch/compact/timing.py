"""Cycle costs of compact engines, measured: an interpreter counts the words that the sequencer's
program executes.

Nests and transfers of any size follow from a few short ones, since every loop of the program adds
as many cycles with each of its iterations.
"""

from __future__ import annotations

import math
from functools import cache

from ..config import EngineConfig
from ..isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, LOOPS, Instruction, InstructionFormat, Memory, encode_program
from .scalar.cycles import cycles as scalar_cycles
from .scalar.layout import STATE_MEMORIES
from .sequencer.interpreter import Cost, Interpreter

__all__ = ["execution_cycles", "fetch_cycles"]

_SCALAR = 2
"""Cycles that the interpreter lets each instruction of the scalar unit take."""
_SCALAR_INSTRUCTIONS = ("LOSS", "PERTURB", "ACCUMULATE", "UPDATE")


def fetch_cycles(form: InstructionFormat) -> int:
    """Returns the cycles of an instruction that are not its execution.

    They are those of fetching and decoding it and of what is left to do behind it; zero for an
    instruction that compact engines do not know.
    """
    return 0 if form.name in LOCAL_INSTRUCTIONS else _cost(_plain(form.name)).fetch


def execution_cycles(config: EngineConfig, instruction: Instruction, drain: int) -> int:
    """Returns the cycles of an instruction's execution, stream waits not included.

    :param drain: cycles of the requantiser, from a lane's sum to its write.
    """
    name = instruction.name
    if name in LOCAL_INSTRUCTIONS:
        return 1
    if name == "CONTRACT":
        return _contract(config.lanes, drain, tuple(instruction[f"n_{loop}"] for loop in LOOPS))
    if name in ("LOAD", "STORE") and instruction["memory"] in (Memory.ACTIVATION, Memory.WEIGHT):
        return _transfer(name, instruction["memory"], config.lanes, instruction["count"])
    work = _cost(_plain(name)).work
    if name in _SCALAR_INSTRUCTIONS or (name in ("LOAD", "STORE") and instruction["memory"] in STATE_MEMORIES):
        return work - _SCALAR + scalar_cycles(config, instruction)
    return work - _SCALAR if name in ("LOAD", "STORE") else work


def _plain(name: str, **fields: int) -> Instruction:
    """An instruction whose fields are one where they count something, and otherwise zero."""
    form = next(form for form in INSTRUCTIONS if form.name == name)
    ones = {field.name: 1 for field in form.fields if field.name == "count" or field.name.startswith("n_")}
    if name in ("LOAD", "STORE"):
        ones["memory"] = Memory.MASTER
    return Instruction(name, dict.fromkeys((field.name for field in form.fields), 0) | ones | fields)


def _cost(instruction: Instruction, lanes: int = 1, drain: int = 0) -> Cost:
    """What the interpreter counts for an instruction in a program where it may stand."""
    return _measured(instruction.name, tuple(instruction.encode()), lanes, drain)


@cache
def _measured(name: str, words: tuple[int, ...], lanes: int, drain: int) -> Cost:
    loop, halt = _plain("LOOP"), _plain("HALT")
    program: list[int] = []
    if name == "END":
        program += loop.encode()
    elif name == "RETURN":
        program += _plain("CALL", target=len(_plain("CALL").encode())).encode()
    program += [*words, *encode_program([halt])]
    opcode = next(form.opcode for form in INSTRUCTIONS if form.name == name)
    costs = Interpreter(lanes, drain=drain, scalar=_SCALAR).run(program)
    return next(cost for cost in costs if cost.opcode == opcode)


@cache
def _transfer(name: str, memory: int, lanes: int, count: int) -> int:
    """LOAD and STORE of words that pass the sequencer: as many cycles with each word."""
    one, two = (_cost(_plain(name, memory=memory, count=n), lanes).work for n in (1, 2))
    return one + (count - 1) * (two - one)


def _contract(lanes: int, drain: int, counts: tuple[int, ...]) -> int:
    """CONTRACT: the cycles grow with each loop's runs, the product of its iterations and those of
    all loops around it.
    """
    constant, weights = _nest(lanes, drain, counts[1] == counts[2] == 1)
    return constant + sum(weight * runs for weight, runs in zip(weights, _runs(counts), strict=True))


@cache
def _nest(lanes: int, drain: int, single: bool) -> tuple[int, tuple[int, ...]]:
    """The constant and each loop's weight, from nests in which one loop after the other is doubled.

    :param single: whether neither inner loop but the first has more than one iteration; the program
        then leaves them out.
    """
    base = [1] * len(LOOPS)
    if not single:
        base[1] = 2
    doubled = [[*base[:i], 2 * base[i], *base[i + 1 :]] for i in range(len(base)) if not (single and i in (1, 2))]
    first, *rest = (_work(lanes, drain, counts) for counts in (base, *doubled))
    runs = _runs(base)
    weights, before, others = [], 0, iter(rest)
    for i in range(len(base)):
        # Doubling a loop doubles its own runs and those of all loops within it.
        growth = before if single and i in (1, 2) else next(others) - first
        weights.append((growth - before) // runs[i])
        before = growth
    return first - before, tuple(weights)


def _work(lanes: int, drain: int, counts: list[int]) -> int:
    fields = {f"n_{loop}": count for loop, count in zip(LOOPS, counts, strict=True)}
    return _cost(_plain("CONTRACT", **fields), lanes, drain).work


def _runs(counts: tuple[int, ...] | list[int]) -> list[int]:
    """For each loop, innermost first: how often its iterations run in all."""
    return [math.prod(counts[i:]) for i in range(len(counts))]
