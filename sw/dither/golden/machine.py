"""The golden machine: executes the engine's programs, bit for bit and counter for counter, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ..device import DeviceError, RunResult
from ..engine import EngineConfig
from ..isa import REGISTERS, Instruction, LossKind, Memory, Rule
from ..regmap import COUNTERS
from ..streams import Expect, Segment
from .contract import ContractPlan
from .control import Program, Stack, Step, wrap
from .loss import loss
from .memories import Memories
from .parameters import accumulate, perturb, tensor_signs
from .ports import InputPort, OutputPort
from .update import update

__all__ = ["GoldenMachine", "Range"]


@dataclass(slots=True)
class Range:
    """What one CONTRACT of a program has put out so far: for calibration and reports."""

    lowest: int
    """Least output after the shift, before it was clipped and activated."""
    highest: int
    clips: int
    executions: int


class GoldenMachine:
    """A :class:`dither.device.Device` in software.

    Memories and registers are zero at first and keep their contents from run to run.

    :param config: any engine configuration; up to 4096 lanes make sense here.
    :param threads: how many threads share the work of a CONTRACT; BLAS itself is held to one.
    :param monitor: record the range of every CONTRACT's outputs in :attr:`ranges`.
    """

    name = "golden"

    def __init__(self, config: EngineConfig, *, threads: int = 1, monitor: bool = False) -> None:
        self.config = config
        self.memories = Memories(config, threads=threads)
        self.ranges: dict[int, Range] = {}
        """By word address of the CONTRACT; filled where ``monitor`` is set, until :meth:`write_program`."""
        self._monitor = monitor
        self._blas = ThreadpoolController()
        self._program = Program(config)
        self._plans: dict[int, ContractPlan] = {}
        self._registers = [0] * REGISTERS
        self._units: dict[str, Callable[[Step], None]] = {
            "SET": self._set, "ADD": self._add, "SUBTRACT": self._subtract, "PULL": self._pull, "EMIT": self._emit,
            "LOAD": self._load, "STORE": self._store, "CONTRACT": self._contract, "LOSS": self._loss,
            "PERTURB": self._perturb, "ACCUMULATE": self._accumulate, "UPDATE": self._update,
        }  # fmt: skip
        self._begin((), ())

    def write_program(self, words: Sequence[int]) -> None:
        """See :meth:`dither.device.Device.write_program`."""
        self._program.write(words)
        self._plans.clear()
        self.ranges.clear()

    def close(self) -> None:
        """See :meth:`dither.device.Device.close`."""
        self.memories.space.close()

    def _begin(self, inputs: Sequence[Segment], expects: Sequence[Expect]) -> None:
        self._inputs = InputPort(self.config, inputs)
        self._outputs = OutputPort(expects)
        self._counters = {counter.name: 0 for counter in COUNTERS}

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """See :meth:`dither.device.Device.run`; a fault's message names word address and instruction."""
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
        plan = self._plans.get(step.address)
        if plan is None:
            plan = self._plans[step.address] = ContractPlan(self.memories.space, step.instruction)
        result = plan.run()
        self._counters["saturations_requantise"] += result.clips
        if self._monitor:
            seen = self.ranges.setdefault(step.address, Range(result.lowest, result.highest, 0, 0))
            seen.lowest, seen.highest = min(seen.lowest, result.lowest), max(seen.highest, result.highest)
            seen.clips += result.clips
            seen.executions += 1

    def _loss(self, step: Step) -> None:
        instruction = step.instruction
        kind = LossKind(instruction["kind"])
        label = self.memories.words(Memory.ACTIVATION, instruction["label"], 1, "LOSS")
        activation = self.memories.space.activation
        values, slopes = self.memories.scalar_tables
        losses, clips = loss(
            kind,
            activation[self._spaced(instruction, "z")],
            activation[label][0],
            activation[self._spaced(instruction, "t")] if kind is LossKind.SQUARED_ERROR else None,
            z_frac=instruction["z_frac"], loss_frac=instruction["loss_frac"], values=values, slopes=slopes,
        )  # fmt: skip
        self._counters["saturations_loss"] += clips
        self._write(instruction["target"], int(losses.sum()))

    def _spaced(self, instruction: Instruction, operand: str) -> NDArray[np.intp]:
        """Addresses of the outputs or targets of a LOSS."""
        base, step, count = instruction[f"{operand}_base"], instruction[f"{operand}_step"], instruction["count"]
        if count < 1:
            raise DeviceError("LOSS: count must be at least 1")
        addresses = (base + np.arange(count, dtype=np.intp) * step) % (1 << 16)
        if addresses.max() >= self.config.activation_depth:
            raise DeviceError(
                f"LOSS: word {addresses.max()} is beyond the {self.config.activation_depth} of {Memory.ACTIVATION.name}"
            )
        return addresses

    def _tensor(self, instruction: Instruction) -> slice:
        """The words of a PERTURB or ACCUMULATE."""
        count = instruction["inner"] * instruction["tiles"]
        return self.memories.words(Memory.MASTER, instruction["base"], count, instruction.name)

    def _signs(self, instruction: Instruction) -> NDArray[np.int8]:
        seed, number, probe = (self._read(instruction, name) for name in ("seed", "step", "probe"))
        return tensor_signs(
            seed, number, probe, block=instruction["block"], inner=instruction["inner"], tiles=instruction["tiles"],
            rows=self.config.rows,
        )  # fmt: skip

    def _perturb(self, step: Step) -> None:
        instruction = step.instruction
        words = self._tensor(instruction)
        masters = self.memories.state[Memory.MASTER][words]
        if instruction["random"]:
            weights, clips = perturb(masters, self._signs(instruction), instruction["amplitude"], self.config.width)
        else:
            weights, clips = perturb(masters, 0, 0, self.config.width)
        self.memories.space.weight[words] = weights
        self.memories.space.version += 1
        self._counters["saturations_weight"] += clips

    def _accumulate(self, step: Step) -> None:
        words = self._tensor(step.instruction)
        gradients = self.memories.state[Memory.GRADIENT]
        difference = self._read(step.instruction, "difference")
        gradients[words] = accumulate(gradients[words], self._signs(step.instruction), difference)

    def _update(self, step: Step) -> None:
        instruction, state = step.instruction, self.memories.state
        words = self.memories.words(Memory.MASTER, instruction["base"], instruction["count"], "UPDATE")
        values, slopes = self.memories.scalar_tables
        result = update(
            Rule(instruction["rule"]),
            *(state[kind][words] for kind in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2)),
            gradient_shift=instruction["gradient_shift"], decay1=instruction["decay1"], decay2=instruction["decay2"],
            rate=self._read(instruction, "rate"), rate_shift=instruction["rate_shift"], values=values, slopes=slopes,
        )  # fmt: skip
        state[Memory.MASTER][words] = result.master
        state[Memory.GRADIENT][words] = 0
        state[Memory.MOMENT1][words] = result.moment1
        state[Memory.MOMENT2][words] = result.moment2
        self._counters["saturations_update"] += result.clips
