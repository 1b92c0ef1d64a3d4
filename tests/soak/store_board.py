"""MNIST's default recipe on a simulated board that holds its data, from the UART's pins to those of
the memory chip: every step's loss, parameters and cycles are those of the golden machine.

``python -m tests.soak.store_board``, or ``make soak-board``. Each step is written down when it is
done, and a second call goes on behind those; two calls, one with ``--first``, share the work. The
first step of a call finds masters and moments as the native machine has left them. Set DITHER_DATA
to a folder with MNIST's files. The line is as fast as the clock allows, faster than any bridge:
what it costs at the board's own rate is predicted, and the bits are the same.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dither.boards import Board, board
from dither.link.driver import LinkDevice
from dither.native import NativeMachine
from dither.report.records import load_record, recorded_experiment
from dither.runs import parameter_digest
from dither.train.session import Session
from dither.train.tasks import load_task
from dither_sim.board.simulation import BoardSimulation
from dither_sim.board.transport import SimulatedTransport
from dither_sim.verilated.build import Stage

ROOT = Path(__file__).parents[2]
BOARD = "ulx3s-85f-local"
CYCLES_PER_BIT = 8
JOURNAL = Path(__file__).with_suffix(".jsonl")
KEPT = 10
"""Steps whose samples are sent to the board at once; the rest of the data set stays away."""


def done(gateware: str) -> dict[int, dict[str, Any]]:
    """Returns what is written of the steps that this gateware has done, by their numbers."""
    lines = map(json.loads, JOURNAL.read_text().splitlines() if JOURNAL.exists() else ())
    return {line["step"]: line for line in lines if line["gateware"] == gateware}


def main() -> int:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.store_board", description="MNIST on a simulated board.")
    parser.add_argument("--steps", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default 0)")
    chosen = parser.parse_args()
    return soak(range(chosen.first, chosen.first + chosen.steps))


def _simulation(place: Board, on_status: Callable[[str], None], **compiled: Any) -> BoardSimulation:
    assert place.memory is not None
    return BoardSimulation(
        place.engine,
        clock_hz=place.clock.hz,
        baud=place.clock.hz // CYCLES_PER_BIT,
        input_bytes=place.link.input_bytes,
        output_bytes=place.link.output_bytes,
        memory=place.memory.chip,
        on_status=on_status,
        **compiled,
    )


def _tuned(place: Board, train: Callable[[BoardSimulation], None], on_status: Callable[[str], None]) -> BoardSimulation:
    """Returns the simulated board, compiled by what it was seen to do: the same bits, sooner."""
    with suppress(LookupError):
        return _simulation(place, on_status, stage=Stage.TUNED)
    with tempfile.TemporaryDirectory(prefix="dither-") as folder:
        with _simulation(place, on_status, stage=Stage.OBSERVING) as watched:
            on_status("watching a step, minutes")
            train(watched)
            watched.write_counts(Path(folder))
        return _simulation(place, on_status, stage=Stage.TUNED, counts=Path(folder))


def soak(steps: range) -> int:
    """Trains those of the steps that were not done before; returns how many of all differ."""
    place, record = board(BOARD), load_record(ROOT / "docs" / "results" / "mnist-mirror")
    experiment = replace(recorded_experiment(record), engine=place.engine)
    task = load_task("mnist")
    compiled, samples = experiment.compile(task, place.engine), task.batches(experiment.recipe)
    predicted = compiled.figures.step_counters()
    initial = compiled.commands.initial_state(experiment.initial_parameters)

    def first_step(simulation: BoardSimulation) -> None:
        with LinkDevice(SimulatedTransport(simulation), place.engine) as device:
            session = Session(device, compiled)
            session.load(initial)
            session.train(0, *samples.take(0, 1))

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn()) as progress,
        _tuned(place, first_step, progress.console.print) as simulation,
        LinkDevice(SimulatedTransport(simulation), place.engine) as device,
    ):
        golden, session = Session(NativeMachine(place.engine), compiled), Session(device, compiled)
        golden.load(initial)
        bar = progress.add_task("steps on the board", total=len(steps))
        fresh = kept = 0
        for step in range(steps.stop):
            batch = samples.take(step, 1)
            if step not in steps or step in done(simulation.gateware):
                golden.train(step, *batch)
                progress.advance(bar, step in steps)
                continue
            if fresh != step or not step:
                session.load(golden.state())
            if kept <= step or fresh != step:
                kept = min(step + KEPT, steps.stop)
                inputs, targets = samples.take(step, kept - step)
                words = [compiled.samples.words(*one) for one in zip(inputs, targets, strict=True)]
                assert device.keep(np.concatenate(words))
            before, begun = dict(session.counters), time.process_time()
            same = session.train(step, *batch) == golden.train(step, *batch)
            taken = {name: value - before[name] for name, value in session.counters.items()}
            found = parameter_digest(session.masters())
            same &= found == parameter_digest(golden.masters())
            same &= all(taken[name] == value for name, value in predicted.items())
            fresh = step + 1
            entry = {"gateware": simulation.gateware, "step": step, "same": bool(same), "digest": found}
            entry |= {
                "cycles": sum(n for name, n in taken.items() if name.startswith("cycles_")) - taken["cycles_wait"]
            }
            entry |= {"waited": taken["cycles_wait"], "seconds": round(time.process_time() - begun, 1)}
            with JOURNAL.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            progress.advance(bar)
            assert simulation.broken == frozenset(), "the memory chip's rules were broken"
        entries = done(simulation.gateware).values()
    equal = sum(entry["same"] for entry in entries)
    print(f"{equal} of {len(entries)} steps on the board are those of the golden machine: {JOURNAL.relative_to(ROOT)}")
    return len(entries) - equal


if __name__ == "__main__":
    raise SystemExit(main())
