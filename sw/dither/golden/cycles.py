"""The cycle model: the cycles of a program, computed from its control flow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import REGISTERS, STACK_DEPTH, Instruction, decode_program
from ..arch.regmap import COUNTERS, SATURATIONS
from .control import Decoded, Program, Stack, fault, wrap

__all__ = ["predict"]

_NOT_PREDICTED = {"cycles_wait", *(f"saturations_{place}" for place in SATURATIONS)}


@dataclass(slots=True)
class _Tally:
    """Costs of a stretch of a program: counters, scalars pulled, and depth of loops and calls."""

    counts: dict[str, int] = field(default_factory=dict)
    pulls: int = 0
    depth: int = 0

    def charge(self, decoded: Decoded) -> None:
        """Adds one execution of an instruction."""
        counts, phase = self.counts, f"cycles_{decoded.instruction.format.phase}"
        counts["cycles_fetch"] = counts.get("cycles_fetch", 0) + decoded.fetch
        counts[phase] = counts.get(phase, 0) + decoded.cycles
        counts["row_steps"] = counts.get("row_steps", 0) + decoded.row_steps

    def add(self, other: _Tally, times: int) -> None:
        """Adds the costs of a stretch that is executed ``times`` times."""
        for name, value in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + times * value
        self.pulls += times * other.pulls


def predict(config: EngineConfig, words: Sequence[int], entry: int, scalars: Sequence[int] = ()) -> dict[str, int]:
    """Returns the counters of a run, except saturations and waiting, without running it.

    Saturations depend on data, waiting on the host's speed. Loops whose bodies have no effect on
    the length of later loops are costed once and multiplied.

    :param words: the program, from word 0.
    :param entry: word address that the run starts at.
    :param scalars: what the PULLs of the run return, in order.
    :returns: ``cycles_<phase>`` and ``row_steps``, by the names of
        :data:`dither.arch.regmap.COUNTERS`.
    :raises DeviceError: if the program faults, pulls more than ``scalars``, or a loop's length
        depends on a loss.
    """
    model = _Model(config, words, scalars)
    model.run(entry)
    counts = model.tally.counts
    return {counter.name: counts.get(counter.name, 0) for counter in COUNTERS if counter.name not in _NOT_PREDICTED}


def _counting_registers(words: Sequence[int]) -> frozenset[int]:
    """Returns the registers whose values can reach the length of a loop."""
    try:
        instructions = [instruction for _, instruction in decode_program(list(words))]
    except ValueError:  # the words are not one instruction behind the other: take no shortcuts
        return frozenset(range(1, REGISTERS))
    found = {instruction["register"] for instruction in instructions if instruction.name == "LOOP"} - {0}
    moves = [instruction for instruction in instructions if instruction.name in ("SET", "ADD", "SUBTRACT")]
    while True:
        sources = {move[name] for move in moves if move["target"] in found for name in move.format.sources} - {0}
        if sources <= found:
            return frozenset(found)
        found |= sources


class _Model:
    def __init__(self, config: EngineConfig, words: Sequence[int], scalars: Sequence[int]) -> None:
        self.program = Program(config)
        self.program.write(words)
        self.scalars = scalars
        self.registers: list[int | None] = [0] * REGISTERS  # None: not known without data
        self.tally = _Tally()
        self._bodies: dict[int, tuple[_Tally, int] | None] = {}
        """Cost of one iteration and address behind the loop, by the address of the loop's body.

        None where that varies.
        """
        self._counting = _counting_registers(words)

    def run(self, entry: int) -> None:
        stack, address = Stack(), entry
        while True:
            decoded = self.program.at(address)
            instruction = decoded.instruction
            self.tally.charge(decoded)
            address = decoded.following
            try:
                match instruction.name:
                    case "HALT":
                        return
                    case "LOOP":
                        count = self._iterations(instruction)
                        body = self._body(address, 1)
                        if body is None or count < 1 or body[0].depth > stack.room:
                            stack.open_loop(address, count)
                        else:
                            self.tally.add(body[0], count)
                            self._require_scalars()
                            address = body[1]
                    case "END":
                        address = stack.end(address)
                    case "CALL":
                        stack.call(address)
                        address = instruction["target"]
                    case "RETURN":
                        address = stack.back()
                    case _:
                        self._scalar(instruction)
            except DeviceError as error:
                raise fault(decoded.address, instruction.name, error) from error

    def _iterations(self, instruction: Instruction) -> int:
        start = self.registers[instruction["register"]]
        if start is None:
            raise DeviceError("the loop's length depends on a loss")
        return start + instruction["count"]

    def _scalar(self, instruction: Instruction) -> None:
        """Does what an instruction does to the registers; None stands for values that need data."""
        registers, value = self.registers, None
        match instruction.name:
            case "SET":
                source = registers[instruction["source"]]
                value = None if source is None else wrap(source + instruction["value"])
            case "ADD" | "SUBTRACT":
                left, right = registers[instruction["left"]], registers[instruction["right"]]
                if left is not None and right is not None:
                    value = wrap(left + right if instruction.name == "ADD" else left - right)
            case "PULL":
                self.tally.pulls += 1
                self._require_scalars()
                value = wrap(int(self.scalars[self.tally.pulls - 1]))
            case "LOSS":
                pass
            case _:
                return
        if instruction["target"]:
            registers[instruction["target"]] = value

    def _require_scalars(self) -> None:
        if self.tally.pulls > len(self.scalars):
            raise DeviceError(f"the program pulls more than the {len(self.scalars)} scalars given")

    def _body(self, address: int, depth: int) -> tuple[_Tally, int] | None:
        """Returns the cost of one iteration of the loop body at an address, and the loop's end.

        None if iterations may differ in their cost.
        """
        if depth > STACK_DEPTH:
            return None
        if address not in self._bodies:
            self._bodies[address] = None  # for bodies that call themselves
            try:
                self._bodies[address] = self._walk(address, depth)
            except DeviceError:  # execution may never come there; if it does, it reports the fault
                return None
        return self._bodies[address]

    def _walk(self, address: int, depth: int) -> tuple[_Tally, int] | None:
        tally = _Tally(depth=1)
        calls: list[int] = []
        while True:
            decoded = self.program.at(address)
            instruction = decoded.instruction
            tally.charge(decoded)
            address = decoded.following
            match instruction.name:
                case "END" if not calls:
                    return tally, address
                case "LOOP" if instruction["register"] == 0 and instruction["count"] > 0:
                    inner = self._body(address, depth + len(calls) + 1)
                    if inner is None:
                        return None
                    tally.add(inner[0], instruction["count"])
                    tally.depth = max(tally.depth, 1 + len(calls) + inner[0].depth)
                    address = inner[1]
                case "CALL" if len(calls) < STACK_DEPTH:
                    calls.append(address)
                    tally.depth = max(tally.depth, 1 + len(calls))
                    address = instruction["target"]
                case "RETURN" if calls:
                    address = calls.pop()
                case "HALT" | "LOOP" | "CALL" | "RETURN" | "END":
                    return None
                case name:
                    if instruction.format.writes_register and instruction["target"] in self._counting:
                        return None
                    tally.pulls += name == "PULL"
