"""What the link costs: training steps on a simulated board whose engine waits for the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dither.arch.regmap import all_cycles
from dither.arch.streams import pack, physical_beats
from dither.link.driver import LinkDevice
from dither.train.experiment import Experiment
from dither.train.session import Session

from .simulation import BoardSimulation
from .transport import SimulatedTransport

__all__ = ["measure_steps"]

_PATIENCE, _TIMEOUT = 3600.0, 10.0
"""Seconds of wall time, of a driver; the simulated board answers when it can, and loses nothing."""


def measure_steps(
    experiment: Experiment,
    *,
    turnaround: float = 0.001,
    on_status: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> dict[str, Any]:
    """Trains an experiment's steps on a simulated board, as one command, and measures them.

    :param experiment: compiled for its engine; its device is not used.
    :param turnaround: seconds that a real bridge and its system take until a program has what was
        received.
    :param on_status: called with what is going on before it takes long.
    :param options: further arguments of :class:`BoardSimulation`.
    :returns: JSON data: counted cycles, bytes of the streams, packed and not, bytes on the line,
        and times.
    :raises CompileError: if the network does not fit the engine.
    :raises DeviceError: if the board cannot be compiled.
    """
    task = experiment.load()
    compiled = experiment.compile(task, experiment.engine)
    with BoardSimulation(experiment.engine, on_status=on_status, **options) as simulation:
        transport = SimulatedTransport(simulation, turnaround=turnaround)
        device = LinkDevice(transport, experiment.engine, patience=_PATIENCE, shortest_timeout=_TIMEOUT)
        on_status("loading the program and the initial state")
        session = Session(device, compiled)
        session.load(compiled.commands.initial_state(experiment.initial_parameters))
        inputs, targets = task.batches(experiment.recipe).take(0, experiment.steps)
        given = [None] * len(inputs) if targets is None else targets
        if simulation.memory is not None and targets is not None:
            on_status("loading the samples of these steps into the board's memory")
            session.keep(np.concatenate(inputs), np.concatenate(targets))
        command = compiled.commands.train(0, list(zip(inputs, given, strict=True)))
        on_status(f"training {experiment.steps} steps")
        line, sent, fetched = simulation.standing, device.payload_sent, device.payload_fetched
        resent, begun = device.statistics.resent, time.perf_counter()
        result = device.run(command.entry, command.inputs, command.expects)
        spent, end = time.perf_counter() - begun, simulation.standing
        counters = dict(result.counters)
        cycles = all_cycles(counters)
        beat = -(-experiment.engine.beat_width // 8)
        return {
            "task": experiment.task,
            "engine": experiment.engine.to_dict(),
            "clock": simulation.clock_hz,
            "baud": simulation.baud,
            "turnaround": turnaround,
            "steps": experiment.steps,
            "cycles": cycles,
            "cycles_wait": counters["cycles_wait"],
            "wait_share": counters["cycles_wait"] / cycles,
            "seconds": cycles / simulation.clock_hz,
            "input_bytes": len(pack(experiment.engine, command.inputs)) * beat,
            "input_packed": device.payload_sent - sent,
            "output_bytes": sum(physical_beats(experiment.engine, expect) for expect in command.expects) * beat,
            "output_packed": device.payload_fetched - fetched,
            "line_in": end.bytes_in - line.bytes_in,
            "line_out": end.bytes_out - line.bytes_out,
            "resent": device.statistics.resent - resent,
            "simulated_hz": (end.cycles - line.cycles) / spent,
            "counters": counters,
        }
