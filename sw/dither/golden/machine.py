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
from ..arch.isa import REGISTERS, Distribution, Instruction, Memory
from ..arch.regmap import COUNTERS
from ..arch.streams import Expect, Segment
from .contract import ContractPlan
from .control import Decoded, Program, Stack, fault, wrap
from .correlate import CorrelatePlan
from .dither import DitherPlan
from .loss import LossPlan
from .memories import Memories
from .parameters import validate_probe, validate_update
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
        self._units: dict[str, Callable[[Decoded], None]] = {
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
            decoded = self._program.at(address)
            instruction = decoded.instruction
            counters["cycles_fetch"] += decoded.fetch
            counters[f"cycles_{instruction.format.phase}"] += decoded.cycles
            counters["row_steps"] += decoded.row_steps
            address = decoded.following
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
                        self._units[name](decoded)
            except DeviceError as error:
                raise fault(decoded.address, instruction.name, error) from error

    def _write(self, register: int, value: int) -> None:
        if register:
            self._registers[register] = wrap(value)

    def _read(self, instruction: Instruction, field: str) -> int:
        return self._registers[instruction[field]]

    def _set(self, decoded: Decoded) -> None:
        self._write(
            decoded.instruction["target"], self._read(decoded.instruction, "source") + decoded.instruction["value"]
        )

    def _add(self, decoded: Decoded) -> None:
        left, right = self._read(decoded.instruction, "left"), self._read(decoded.instruction, "right")
        self._write(decoded.instruction["target"], left + right)

    def _subtract(self, decoded: Decoded) -> None:
        left, right = self._read(decoded.instruction, "left"), self._read(decoded.instruction, "right")
        self._write(decoded.instruction["target"], left - right)

    def _pull(self, decoded: Decoded) -> None:
        self._write(decoded.instruction["target"], int(self._inputs.take(None, 1)[0, 0]))

    def _emit(self, decoded: Decoded) -> None:
        self._outputs.send(None, np.array([[self._read(decoded.instruction, "source")]], np.int64))

    def _load(self, decoded: Decoded) -> None:
        kind = Memory(decoded.instruction["memory"])
        self.memories.load(kind, decoded.instruction["base"], self._inputs.take(kind, decoded.instruction["count"]))

    def _store(self, decoded: Decoded) -> None:
        kind = Memory(decoded.instruction["memory"])
        self._outputs.send(kind, self.memories.store(kind, decoded.instruction["base"], decoded.instruction["count"]))

    def _contract(self, decoded: Decoded) -> None:
        indices = self._indices(decoded.instruction, "wxyb")
        plan = self._plans.get(decoded.address)
        if plan is None:
            plan = self._plans[decoded.address] = ContractPlan(self.memories.space, decoded.instruction, indices)
        result = plan.run(indices)
        self._counters["saturations_requantise"] += result.clips
        if self._monitor:
            seen = self.ranges.setdefault(decoded.address, Range(result.lowest, result.highest, 0, 0))
            seen.lowest, seen.highest = min(seen.lowest, result.lowest), max(seen.highest, result.highest)
            seen.clips += result.clips
            seen.executions += 1

    def _indices(self, instruction: Instruction, letters: str) -> tuple[int, ...]:
        return tuple([self._registers[instruction[f"{letter}_index"]] for letter in letters])

    def _correlate(self, decoded: Decoded) -> None:
        indices = self._indices(decoded.instruction, "dxg")
        plan = self._correlations.get(decoded.address)
        if plan is None:
            plan = self._correlations[decoded.address] = CorrelatePlan(
                self.memories.space, decoded.instruction, indices
            )
        plan.run(self.memories.state[Memory.GRADIENT], indices)

    def _loss(self, decoded: Decoded) -> None:
        plan = self._losses.get(decoded.address)
        if plan is None:
            plan = self._losses[decoded.address] = LossPlan(self.config, decoded.instruction)
        total, clips = plan.run(self.memories.space.activation, self._kept, *self.memories.scalar_tables)
        self._counters["saturations_loss"] += clips
        self._write(decoded.instruction["target"], total)

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

    def _perturb(self, decoded: Decoded) -> None:
        instruction, width = decoded.instruction, self.config.width
        words, distribution = validate_probe(self.config, instruction)
        weight, masters = self.memories.space.weight, self.memories.state[Memory.MASTER]
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

    def _accumulate(self, decoded: Decoded) -> None:
        instruction, gradients = decoded.instruction, self.memories.state[Memory.GRADIENT]
        words, distribution = validate_probe(self.config, instruction)
        difference = self._read(instruction, "difference")
        if distribution.bits:
            gradients[words] = accumulate(gradients[words], self._probes(instruction, distribution), difference)
        elif distribution is Distribution.COORDINATE:
            place = self._coordinate(instruction)
            if place is not None:
                gradients[place] = wrap_gradients(gradients[place] + difference)

    def _update(self, decoded: Decoded) -> None:
        instruction, state = decoded.instruction, self.memories.state
        words, rule = validate_update(self.config, instruction)
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

    def _dither(self, decoded: Decoded) -> None:
        plan = self._dithers.get(decoded.address)
        if plan is None:
            plan = self._dithers[decoded.address] = DitherPlan(self.memories.space, decoded.instruction)
        clips = plan.run(*(self._read(decoded.instruction, name) for name in ("seed", "step", "probe", "offset")))
        self._counters["saturations_requantise"] += clips

    def _transpose(self, decoded: Decoded) -> None:
        source, target = transpose_words(self.config, decoded.instruction)
        weight = self.memories.space.weight
        weight[target] = transpose(weight[source], decoded.instruction["inner"], decoded.instruction["columns"])
        self.memories.space.version += 1
