"""Contractions of MNIST's network on simulated gateware, on the golden machine and in PyTorch.

The network is the tensor train 784-1024-10 of 3,962 parameters, its data random.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig, preset
from ..arch.device import DeviceError
from ..arch.regmap import phase_cycles, utilisation
from ..compiler import Compiled, Labelled, compile
from ..devices import build_device
from ..golden import GoldenMachine, predict
from ..nn.models import named_model
from ..recipe import Recipe

__all__ = ["REPEATS", "SECONDS", "golden", "mnist_work", "rtl", "torch"]

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


def mnist_work(engine: EngineConfig, recipe: Recipe) -> tuple[Compiled, NDArray[np.float64], NDArray[np.int64]]:
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
    compiled, inputs, labels = mnist_work(engine, STEP_RECIPE)
    device: Any = build_device("rtl", engine)
    device.write_program(compiled.program)
    state = compiled.commands.initial_state(compiled.model.initial_parameters(0))
    for command in (compiled.commands.setup(), compiled.commands.load_state(state)):
        device.run(command.entry, command.inputs, command.expects)
    train = compiled.commands.train(0, [(inputs, labels)])
    counters = dict(device.run(train.entry, train.inputs, train.expects).counters)
    expected = predict(engine, compiled.program, train.entry, [0, 0, 1, 0])
    cycles = phase_cycles(counters)

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
        "utilisation": utilisation(counters, engine.rows),
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
    compiled, inputs, _ = mnist_work(engine, FORWARD_RECIPE)
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
    compiled, inputs, _ = mnist_work(preset(ENGINE), FORWARD_RECIPE)
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
