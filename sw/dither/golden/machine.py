"""The golden machine: executes the engine's programs in NumPy, with the same bits and counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ..arch.config import EngineConfig
from ..arch.device import DeviceError, RunResult
from ..arch.isa import REGISTERS, Distribution, Instruction, Memory, Rule
from ..arch.regmap import COUNTERS
from ..arch.streams import Expect, Segment
from .contract import ContractPlan
from .control import Program, Stack, Step, wrap
from .correlate import CorrelatePlan
from .dither import DitherPlan
from .loss import LossPlan
from .memories import Memories
from .ports import InputPort, OutputPort
from .probes import accumulate, coordinate_place, perturb, perturb_one, tensor_probes, wrap_gradients
from .transpose import transpose, transpose_words
from .update import update

__all__ = ["GoldenMachine", "Range"]


@dataclass(slots=True)
class Range:
    """Range of all outputs of one CONTRACT so far, for calibration and reports."""

    lowest: int
    """Least output after the shift, before it was clipped and activated."""
    highest: int
    """Greatest output after the shift, before it was clipped and activated."""
    clips: int
    """Number of values that were clipped."""
    executions: int
    """Number of executions of the instruction."""


class GoldenMachine:
    """A :class:`dither.arch.device.Device` in software, bit-exact with the gateware.

    Memories and registers are zero at first and keep their contents from run to run.

    :param config: any engine configuration; up to 4096 lanes make sense here.
    :param threads: how many threads share the work of an instruction; BLAS itself is held to one.
    :param monitor: whether to record the range of every CONTRACT's outputs in :attr:`ranges`.
    """

    name = "golden"

    def __init__(self, config: EngineConfig, *, threads: int = 1, monitor: bool = False) -> None:
        self.config = config
        self.memories = Memories(config, threads=threads)
        self.ranges: dict[int, Range] = {}
        """Range of the outputs of each CONTRACT, by its word address.

        Filled if ``monitor`` is set; :meth:`write_program` clears it.
        """
        self._monitor = monitor
        self._blas = ThreadpoolController()
        self._program = Program(config)
        self._plans: dict[int, ContractPlan] = {}
        self._correlations: dict[int, CorrelatePlan] = {}
        self._dithers: dict[int, DitherPlan] = {}
        self._losses: dict[int, LossPlan] = {}
        self._kept = np.zeros(config.lanes, np.int64)
        self._registers = [0] * REGISTERS
        self._units: dict[str, Callable[[Step], None]] = {
            "SET": self._set,
            "ADD": self._add,
            "SUBTRACT": self._subtract,
            "PULL": self._pull,
            "EMIT": self._emit,
            "LOAD": self._load,
            "STORE": self._store,
            "CONTRACT": self._contract,
            "LOSS": self._loss,
            "PERTURB": self._perturb,
            "ACCUMULATE": self._accumulate,
            "UPDATE": self._update,
            "CORRELATE": self._correlate,
            "DITHER": self._dither,
            "TRANSPOSE": self._transpose,
        }
        self._begin((), ())

    def write_program(self, words: Sequence[int]) -> None:
        """Writes 32-bit instruction words into the program memory, from word 0 on.

        :raises DeviceError: if they do not fit.
        """
        self._program.write(words)
        self._plans.clear()
        self._correlations.clear()
        self._dithers.clear()
        self._losses.clear()
        self.ranges.clear()

    def close(self) -> None:
        """Ends the threads that share an instruction's work."""
        self.memories.space.close()

    def _begin(self, inputs: Sequence[Segment], expects: Sequence[Expect]) -> None:
        self._inputs = InputPort(self.config, inputs)
        self._outputs = OutputPort(expects)
        self._counters = {counter.name: 0 for counter in COUNTERS}

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` until it reaches HALT.

        :param inputs: segments for the program's LOADs and PULLs, in order.
        :param expects: segments that the program sends by STORE and EMIT, in order.
        :raises DeviceError: if the program faults (the message names word address and instruction),
            leaves some of ``inputs`` or sends anything but what is expected.
        """
        self._begin(inputs, expects)
        # The products are too small for BLAS's own threads, which wait for each other by spinning.
        with self._blas.limit(limits=1, user_api="blas"):
            self._execute(entry)
        self._inputs.finish()
        return RunResult(self._outputs.finish(self.config), self._counters)

    def _execute(self, entry: int) -> None:
        stack, counters, address = Stack(), self._counters, entry
        while True:
            step = self._program.step(address)
            instruction = step.instruction
            counters["cycles_fetch"] += step.fetch
            counters[f"cycles_{instruction.format.phase}"] += step.cycles
            counters["row_steps"] += step.row_steps
            address = step.following
            try:
                match instruction.name:
                    case "HALT":
                        return
                    case "LOOP":
                        stack.open_loop(address, self._registers[instruction["register"]] + instruction["count"])
                    case "END":
                        address = stack.end(address)
                    case "CALL":
                        stack.call(address)
                        address = instruction["target"]
                    case "RETURN":
                        address = stack.back()
                    case name:
                        self._units[name](step)
            except DeviceError as error:
                raise DeviceError(f"fault at word {step.address} ({instruction.name}): {error}") from error

    def _write(self, register: int, value: int) -> None:
        if register:
            self._registers[register] = wrap(value)

    def _read(self, instruction: Instruction, field: str) -> int:
        return self._registers[instruction[field]]

    def _set(self, step: Step) -> None:
        self._write(step.instruction["target"], self._read(step.instruction, "source") + step.instruction["value"])

    def _add(self, step: Step) -> None:
        left, right = self._read(step.instruction, "left"), self._read(step.instruction, "right")
        self._write(step.instruction["target"], left + right)

    def _subtract(self, step: Step) -> None:
        left, right = self._read(step.instruction, "left"), self._read(step.instruction, "right")
        self._write(step.instruction["target"], left - right)

    def _pull(self, step: Step) -> None:
        self._write(step.instruction["target"], int(self._inputs.take(None, 1)[0, 0]))

    def _emit(self, step: Step) -> None:
        self._outputs.send(None, np.array([[self._read(step.instruction, "source")]], np.int64))

    def _load(self, step: Step) -> None:
        kind = Memory(step.instruction["memory"])
        self.memories.load(kind, step.instruction["base"], self._inputs.take(kind, step.instruction["count"]))

    def _store(self, step: Step) -> None:
        kind = Memory(step.instruction["memory"])
        self._outputs.send(kind, self.memories.store(kind, step.instruction["base"], step.instruction["count"]))

    def _contract(self, step: Step) -> None:
        indices = self._indices(step.instruction, "wxyb")
        plan = self._plans.get(step.address)
        if plan is None:
            plan = self._plans[step.address] = ContractPlan(self.memories.space, step.instruction, indices)
        result = plan.run(indices)
        self._counters["saturations_requantise"] += result.clips
        if self._monitor:
            seen = self.ranges.setdefault(step.address, Range(result.lowest, result.highest, 0, 0))
            seen.lowest, seen.highest = min(seen.lowest, result.lowest), max(seen.highest, result.highest)
            seen.clips += result.clips
            seen.executions += 1

    def _indices(self, instruction: Instruction, letters: str) -> tuple[int, ...]:
        return tuple([self._registers[instruction[f"{letter}_index"]] for letter in letters])

    def _correlate(self, step: Step) -> None:
        indices = self._indices(step.instruction, "dxg")
        plan = self._correlations.get(step.address)
        if plan is None:
            plan = self._correlations[step.address] = CorrelatePlan(self.memories.space, step.instruction, indices)
        plan.run(self.memories.state[Memory.GRADIENT], indices)

    def _loss(self, step: Step) -> None:
        plan = self._losses.get(step.address)
        if plan is None:
            plan = self._losses[step.address] = LossPlan(self.config, step.instruction)
        total, clips = plan.run(self.memories.space.activation, self._kept, *self.memories.scalar_tables)
        self._counters["saturations_loss"] += clips
        self._write(step.instruction["target"], total)

    def _tensor(self, instruction: Instruction) -> slice:
        """Returns the words of the tensor that a PERTURB or ACCUMULATE works on."""
        count = instruction["inner"] * instruction["tiles"]
        return self.memories.words(Memory.MASTER, instruction["base"], count, instruction.name)

    def _distribution(self, instruction: Instruction) -> Distribution:
        number = instruction["distribution"]
        if number not in tuple(Distribution):
            raise DeviceError(f"{instruction.name}: there is no distribution {number}")
        distribution = Distribution(number)
        if distribution in (Distribution.UNIFORM, Distribution.GAUSSIAN) and not self.config.wide_probes:
            raise DeviceError(f"{instruction.name}: an engine without wide_probes has no {distribution.name} probes")
        return distribution

    def _probes(self, instruction: Instruction, distribution: Distribution) -> NDArray[Any]:
        seed, number, probe = (self._read(instruction, name) for name in ("seed", "step", "probe"))
        return tensor_probes(
            distribution,
            seed,
            number,
            probe,
            block=instruction["block"],
            inner=instruction["inner"],
            tiles=instruction["tiles"],
            rows=self.config.rows,
        )

    def _coordinate(self, instruction: Instruction) -> tuple[int, int] | None:
        """Returns word (of the memory) and row of the parameter that COORDINATE names.

        None if the tensor does not have it.
        """
        place = coordinate_place(
            self._read(instruction, "probe"),
            block=instruction["block"],
            inner=instruction["inner"],
            tiles=instruction["tiles"],
            rows=self.config.rows,
        )
        return None if place is None else (instruction["base"] + place[0], place[1])

    def _perturb(self, step: Step) -> None:
        instruction, width = step.instruction, self.config.width
        words, weight = self._tensor(instruction), self.memories.space.weight
        distribution, masters = self._distribution(instruction), self.memories.state[Memory.MASTER]
        if distribution.bits:
            xi = self._probes(instruction, distribution)
            weight[words], clips = perturb(masters[words], xi, instruction["amplitude"], width)
        else:
            weight[words], clips = self.memories.rounded_masters(words)
            place = self._coordinate(instruction) if distribution is Distribution.COORDINATE else None
            if place is not None:
                master = int(masters[place])
                weight[place], clipped = perturb_one(master, instruction["amplitude"], width)
                clips += clipped - perturb_one(master, 0, width)[1]
        self.memories.space.version += 1
        self._counters["saturations_weight"] += clips

    def _accumulate(self, step: Step) -> None:
        instruction, gradients = step.instruction, self.memories.state[Memory.GRADIENT]
        words, distribution = self._tensor(instruction), self._distribution(instruction)
        difference = self._read(instruction, "difference")
        if distribution.bits:
            gradients[words] = accumulate(gradients[words], self._probes(instruction, distribution), difference)
        elif distribution is Distribution.COORDINATE:
            place = self._coordinate(instruction)
            if place is not None:
                gradients[place] = wrap_gradients(gradients[place] + difference)

    def _update(self, step: Step) -> None:
        instruction, state = step.instruction, self.memories.state
        try:
            rule = Rule(instruction["rule"])
        except ValueError:
            raise DeviceError(f"UPDATE: there is no rule {instruction['rule']}") from None
        words = self.memories.words(Memory.MASTER, instruction["base"], instruction["count"], "UPDATE")
        values, slopes = self.memories.scalar_tables
        result = update(
            rule,
            *(state[kind][words] for kind in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)),
            gradient_shift=instruction["gradient_shift"],
            decay1=instruction["decay1"],
            decay2=instruction["decay2"],
            rate=self._read(instruction, "rate"),
            rate_shift=instruction["rate_shift"],
            values=values,
            slopes=slopes,
        )
        state[Memory.MASTER][words] = result.master
        self.memories.masters_changed()
        state[Memory.GRADIENT][words] = 0
        state[Memory.MOMENT1][words] = result.moment1
        state[Memory.MOMENT2][words] = result.moment2
        self._counters["saturations_update"] += result.clips

    def _dither(self, step: Step) -> None:
        plan = self._dithers.get(step.address)
        if plan is None:
            plan = self._dithers[step.address] = DitherPlan(self.memories.space, step.instruction)
        clips = plan.run(*(self._read(step.instruction, name) for name in ("seed", "step", "probe", "offset")))
        self._counters["saturations_requantise"] += clips

    def _transpose(self, step: Step) -> None:
        source, target = transpose_words(self.config, step.instruction)
        weight = self.memories.space.weight
        weight[target] = transpose(weight[source], step.instruction["inner"], step.instruction["columns"])
        self.memories.space.version += 1
