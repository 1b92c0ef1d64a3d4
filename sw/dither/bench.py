"""Benchmarks: how near engine, simulator and golden machine come to their limits.

Results are ratios within one run. The work is MNIST's tensor-train network (784-1024-10, 3,962
parameters) with random data. Each measurement is a function of :data:`MEASUREMENTS` and runs in a
process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arch.config import EngineConfig, preset
from .arch.device import Device, DeviceError
from .arch.regmap import PHASES
from .compiler import Compiled, Labelled, compile
from .devices import build_device
from .golden import GoldenMachine, predict
from .native import NativeMachine
from .nn.models import named_model
from .recipe import Recipe
from .train.experiment import Experiment
from .train.session import Session

__all__ = ["MEASUREMENTS", "golden", "measure", "rtl", "steps", "torch"]

ENGINE = "4x32"
"""Preset of the engine that is measured as simulated RTL."""
LANES = 64
"""Number of lanes of the golden machine here, with which it is fastest."""
SAMPLES = 2048
"""Number of samples of a forward pass."""
REPEATS = 7
"""Number of timings, of which the median counts."""
SECONDS = 0.4
"""Least duration of one timing in seconds."""
STEP_RECIPE = Recipe(batch=128, tile=32, probes=2)
"""Recipe of the training step that is measured on simulated RTL."""
FORWARD_RECIPE = Recipe(batch=SAMPLES, tile=LANES)
"""Recipe of the forward passes on golden machine and PyTorch."""


def _work(engine: EngineConfig, recipe: Recipe) -> tuple[Compiled, NDArray[np.float64], NDArray[np.int64]]:
    """Returns MNIST's network compiled, with random data."""
    model = named_model("mnist")
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (recipe.batch, model.inputs))
    labels = rng.integers(0, model.outputs, recipe.batch)
    return compile(model, Labelled(inputs, labels), recipe, engine, model.initial_parameters(0)), inputs, labels


def _seconds(work: Callable[[], object]) -> float:
    """Returns the median time of one call, each timing repeated to last long enough."""
    work()
    times = []
    for _ in range(REPEATS):
        calls, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < SECONDS:
            work()
            calls += 1
        times.append(spent / calls)
    return statistics.median(times)


def rtl() -> dict[str, Any]:
    """Measures a whole tensor-wise step on simulated RTL, and the device's speed.

    The speed is compared with a bare loop over the simulator's model.
    """
    engine = preset(ENGINE)
    compiled, inputs, labels = _work(engine, STEP_RECIPE)
    device: Any = build_device("rtl", engine)
    device.write_program(compiled.program)
    state = compiled.commands.initial_state(compiled.model.initial_parameters(0))
    for command in (compiled.commands.setup(), compiled.commands.load_state(state)):
        device.run(command.entry, command.inputs, command.expects)
    train = compiled.commands.train(0, [(inputs, labels)])
    counters = dict(device.run(train.entry, train.inputs, train.expects).counters)
    expected = predict(engine, compiled.program, train.entry, [0, 0, 1, 0])
    cycles = {phase: counters[f"cycles_{phase}"] for phase in PHASES if phase != "wait"}

    forward = compiled.commands.contract(inputs)
    ratios, speeds = [], []
    for _ in range(REPEATS):
        before, begin = device.cycles, time.perf_counter()
        result = device.run(forward.entry, forward.inputs)
        seconds = time.perf_counter() - begin
        ran = device.cycles - before
        ratios.append(device.spin(forward.entry, ran) / seconds)
        speeds.append((ran / seconds, result.counters["row_steps"] * engine.lanes / seconds))
    device.close()
    return {
        "engine": engine.to_dict(),
        "utilisation": counters["row_steps"] / (engine.rows * sum(cycles.values())),
        "cycle_model_exact": all(counters[name] == value for name, value in expected.items()),
        "step_cycles": sum(cycles.values()),
        "step_cycles_by_phase": cycles,
        "step_macs": counters["row_steps"] * engine.lanes,
        "rtl_mac_per_s": statistics.median(speed for _, speed in speeds),
        "rtl_cycles_per_s": statistics.median(speed for speed, _ in speeds),
        "rtl_vs_bare_verilator": statistics.median(ratios),
    }


def golden() -> dict[str, Any]:
    """Measures forward passes on the golden machine, on all cores."""
    engine = EngineConfig(rows=8, lanes=LANES, lanes_per_table=1, activation_depth=1 << 14, parameter_depth=1 << 13)
    compiled, inputs, _ = _work(engine, FORWARD_RECIPE)
    machine = GoldenMachine(engine, threads=len(os.sched_getaffinity(0)))
    machine.write_program(compiled.program)
    state = compiled.commands.initial_state(compiled.model.initial_parameters(0))
    for command in (compiled.commands.setup(), compiled.commands.load_state(state)):
        machine.run(command.entry, command.inputs, command.expects)
    forward = compiled.commands.contract(inputs)
    seconds = _seconds(lambda: machine.run(forward.entry, forward.inputs))
    return {"golden_mac_per_s": compiled.figures.forward_macs * SAMPLES / seconds}


def torch() -> dict[str, Any]:
    """Measures the same contractions in PyTorch, float32, on all cores.

    ``torch_mac_per_s`` is ``tensordot`` core by core over the whole batch, in the same contraction
    order; ``torch_best_mac_per_s`` is the better of that and of ``matmul`` with samples in the last
    index, as the engine holds them. Both count the same multiply-accumulates. None without PyTorch.
    """
    try:
        import torch as pytorch
    except ImportError:
        return {"torch_mac_per_s": None, "torch_best_mac_per_s": None}
    compiled, inputs, _ = _work(preset(ENGINE), FORWARD_RECIPE)
    parameters = {
        name: pytorch.tensor(value, dtype=pytorch.float32)
        for name, value in compiled.model.initial_parameters(0).items()
    }
    layers = []
    for plan in compiled.plans:
        matrices = [parameters[step.tensor].permute(step.axes).reshape(step.K, step.M) for step in plan.steps]
        bias = parameters[f"{plan.position}.bias"]
        layers.append((list(zip(plan.steps, matrices, strict=True)), bias, plan.layer.activation == "relu"))
    batch_first = pytorch.tensor(inputs, dtype=pytorch.float32)
    batch_last = batch_first.T.contiguous()

    def textbook() -> Any:
        state = batch_first
        for steps, bias, relu in layers:
            for step, matrix in steps:
                cube = state.reshape(SAMPLES, step.P, step.K, step.S)
                state = pytorch.tensordot(cube, matrix, dims=([2], [0])).movedim(-1, 2)
            state = state.reshape(SAMPLES, -1) + bias
            state = state.relu() if relu else state
        return state

    def best_layout() -> Any:
        state = batch_last
        for steps, bias, relu in layers:
            for step, matrix in steps:
                state = pytorch.matmul(matrix.T, state.reshape(step.P, step.K, -1))
            state = state.reshape(-1, SAMPLES) + bias[:, None]
            state = state.relu() if relu else state
        return state

    macs = compiled.figures.forward_macs * SAMPLES
    with pytorch.no_grad():
        difference = float((textbook() - best_layout().T).abs().max())
        if difference > 1e-3:
            raise DeviceError(f"PyTorch's two layouts disagree by {difference:g}: the comparison would mean nothing")
        first, second = macs / _seconds(textbook), macs / _seconds(best_layout)
    return {"torch_mac_per_s": first, "torch_best_mac_per_s": max(first, second)}


@dataclass(frozen=True, slots=True)
class _Training:
    """A training whose steps are timed."""

    compiled: Compiled
    take: Callable[[int, int], tuple[NDArray[Any], NDArray[Any] | None]]
    """Returns the samples of some steps, from the number of the first and how many there are."""

    @classmethod
    def of_task(cls, name: str) -> _Training:
        experiment = Experiment.of_task(name, device="numpy", recipe={})
        task = experiment.load()
        return cls(experiment.compile(task, experiment.machine), task.batches(experiment.recipe).take)

    @classmethod
    def of_mnist(cls, recipe: Recipe) -> _Training:
        engine = replace(preset("8x32-deep"), lanes=recipe.tile, program_depth=1 << 15, activation_depth=1 << 15)
        compiled, inputs, labels = _work(engine, recipe)
        return cls(compiled, lambda step, count: (np.stack([inputs] * count), np.stack([labels] * count)))


_TRAININGS: dict[str, Callable[[], _Training]] = {
    "digits, layer-wise": lambda: _Training.of_task("digits"),
    "MNIST, tensor-wise": lambda: _Training.of_mnist(Recipe(batch=128, tile=64, probes=10)),
    "MNIST, mirror": lambda: _Training.of_mnist(Recipe(batch=128, tile=128, estimator=("mirror", "exact"))),
    "HJB, central": lambda: _Training.of_task("hjb"),
}


class _Trains(Protocol):
    """What trains a step for each batch."""

    def train(self, first_step: int, inputs: NDArray[Any], targets: NDArray[Any] | None) -> object: ...


class _InPyTorch:
    """The same probes of parameters in PyTorch, float32, on one thread.

    Samples stand in the last index, as in the engine; what comes before the perturbed tensors is
    taken from the base pass.
    """

    def __init__(self, compiled: Compiled) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch, self._recipe = torch, compiled.recipe
        values = compiled.model.initial_parameters(1)
        self._stages: list[tuple[Any, Any]] = []  # parameters, and what is done with them
        self._groups: list[tuple[range, int]] = []  # stages that are perturbed together, and their probes
        for layer, plan in enumerate(compiled.plans):
            first, relu = len(self._stages), plan.layer.activation == "relu"
            for step in plan.steps:
                matrix = values[step.tensor].transpose(step.axes).reshape(step.K, step.M).T
                self._add(matrix, lambda w, x, step=step: torch.matmul(w, x.reshape(step.P, step.K, -1)))
            self._add(
                values[f"{plan.position}.bias"],
                lambda b, x, relu=relu: (torch.relu if relu else torch.clone)(x.reshape(len(b), -1) + b[:, None]),
            )
            stages = range(first, len(self._stages))
            probes = self._recipe.probes if isinstance(self._recipe.probes, int) else self._recipe.probes[layer]
            by_layer = self._recipe.estimator == "layerwise"
            self._groups += [(stages, probes)] if by_layer else [(range(i, i + 1), probes) for i in stages]
        self._optimiser = torch.optim.Adam([w for w, _ in self._stages], lr=self._recipe.rate)

    def _add(self, values: NDArray[Any], work: Callable[..., Any]) -> None:
        parameters = self._torch.tensor(np.ascontiguousarray(values), dtype=self._torch.float32)
        self._stages.append((parameters, work))

    def _loss(self, state: Any, labels: Any) -> Any:
        return self._torch.nn.functional.cross_entropy(state.T, labels, reduction="sum")

    def train(self, first_step: int, inputs: NDArray[Any], targets: NDArray[Any] | None) -> object:
        torch, tile = self._torch, self._recipe.tile
        assert targets is not None
        with torch.no_grad():
            for samples, classes in zip(inputs, targets, strict=True):
                gradients = [torch.zeros_like(w) for w, _ in self._stages]
                for first in range(0, len(samples), tile):
                    x = torch.tensor(samples[first : first + tile].T, dtype=torch.float32).contiguous()
                    self._probe(x, torch.tensor(classes[first : first + tile]), gradients)
                for (parameters, _), gradient in zip(self._stages, gradients, strict=True):
                    parameters.grad = gradient
                self._optimiser.step()
        return None

    def _probe(self, x: Any, labels: Any, gradients: list[Any]) -> None:
        torch, states = self._torch, [x]
        for parameters, work in self._stages:
            states.append(work(parameters, states[-1]))
        base = self._loss(states[-1], labels)
        for group, probes in self._groups:
            for _ in range(probes):
                signs = {i: torch.randint(0, 2, self._stages[i][0].shape, dtype=torch.float32) * 2 - 1 for i in group}
                state = states[group.start]
                for i in range(group.start, len(self._stages)):
                    parameters, work = self._stages[i]
                    state = work(parameters + self._recipe.mu * signs[i] if i in signs else parameters, state)
                difference = self._loss(state, labels) - base
                for i, sign in signs.items():
                    gradients[i] += difference * sign


def steps() -> dict[str, Any]:
    """Measures whole training steps, in samples a second: golden and native machine, and PyTorch.

    PyTorch (None without it) has the same estimator, where that is probes of parameters. All take
    turns, so that whatever else the computer does slows all of them down.
    """
    values = {}
    for name, make in _TRAININGS.items():
        training = make()
        engine = training.compiled.engine
        machines: dict[str, Device] = {
            "golden": GoldenMachine(engine),
            "native": NativeMachine(engine),
            "native, two threads": NativeMachine(engine, threads=2),
        }
        sessions: dict[str, _Trains] = {}
        state = training.compiled.commands.initial_state(training.compiled.model.initial_parameters(1))
        for key, machine in machines.items():
            session = sessions[key] = Session(machine, training.compiled)
            session.load(state)
        if training.compiled.recipe.estimator in ("layerwise", "tensorwise") and name != "HJB, central":
            with suppress(ImportError):
                sessions["PyTorch, same estimator"] = _InPyTorch(training.compiled)
        values[name] = _speeds(training, sessions)
        for machine in machines.values():
            machine.close()
    return {"steps": values, "load": round(os.getloadavg()[0], 1)}


def _speeds(training: _Training, sessions: dict[str, _Trains]) -> dict[str, float]:
    """Returns each session's samples a second."""
    batch = training.compiled.recipe.batch
    found: dict[str, list[float]] = {key: [] for key in sessions}
    position, size = dict.fromkeys(sessions, 0), dict.fromkeys(sessions, 1)
    for _ in range(REPEATS):
        for key, session in sessions.items():
            done, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < SECONDS:
                session.train(position[key], *training.take(position[key], size[key]))
                position[key] += size[key]
                done += size[key]
            found[key].append(done * batch / spent)
            size[key] = max(1, min(64, int(SECONDS / 4 * done / spent)))
    return {key: statistics.median(speeds[1:]) for key, speeds in found.items()}


MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {"rtl": rtl, "golden": golden, "steps": steps, "torch": torch}
"""Functions that measure, by name, in the order in which they run."""


def measure(on_start: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """Runs all measurements, each in a process of its own, and returns them with their ratios.

    :param on_start: called with the name of every measurement when it begins.
    :returns: the measurements' values and ``golden_vs_torch`` (None without PyTorch),
        ``golden_vs_torch_best``, ``cores``, and ``memory_mib``, the peak memory by measurement.
    :raises DeviceError: if one of them cannot run here.
    """
    values: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    memory: dict[str, float] = {}
    for name in MEASUREMENTS:
        on_start(name)
        done = subprocess.run([sys.executable, "-m", "dither.bench", name], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise DeviceError(f"measurement {name!r} failed: {lines[-1] if lines else done.returncode}")
        found = json.loads(done.stdout)
        memory[name] = found.pop("memory_mib")
        values |= found
    for key, speed in (("golden_vs_torch", "torch_mac_per_s"), ("golden_vs_torch_best", "torch_best_mac_per_s")):
        values[key] = values["golden_mac_per_s"] / values[speed] if values[speed] else None
    return values | {"memory_mib": memory}


def _alone(name: str) -> None:
    """Runs one measurement as a process: prints its values and peak memory as JSON."""
    values = MEASUREMENTS[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(values | {"memory_mib": round(peak, 1)}))


if __name__ == "__main__":
    _alone(sys.argv[1])
