"""A simulated board with a memory chip: training from the store gives the bits of streaming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dither.arch.device import DeviceError
from dither.boards import board
from dither.compiler import Compiled
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice
from dither.report.records import load_record, recorded_experiment
from dither.runs import parameter_digest
from dither.store.chip import chip
from dither.train.experiment import Experiment
from dither.train.session import Session
from dither.train.tasks import load_task
from dither_sim.board.simulation import BoardSimulation
from dither_sim.board.transport import SimulatedTransport
from tests.system.test_virtual_board import BOARD, ENGINE, RECIPE, train

STEPS = 2


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment.of_task("digits", device="golden", engine=ENGINE, recipe=RECIPE)


@pytest.fixture(scope="module")
def compiled(experiment: Experiment) -> Compiled:
    return experiment.compile(load_task("digits"), ENGINE)


@pytest.fixture(scope="module")
def simulation() -> Iterator[BoardSimulation]:
    with BoardSimulation(ENGINE, memory=chip("mt48lc16m16a2-75"), **BOARD) as simulation:
        yield simulation
        assert simulation.broken == frozenset()


@pytest.fixture
def device(simulation: BoardSimulation) -> Iterator[LinkDevice]:
    simulation.restart()
    with LinkDevice(SimulatedTransport(simulation), ENGINE) as device:
        yield device


def kept(experiment: Experiment, compiled: Compiled, steps: int = STEPS) -> np.ndarray:
    """The words of all samples of the first steps."""
    inputs, targets = load_task(experiment.task, data=experiment.data).batches(experiment.recipe).take(0, steps)
    return np.concatenate([compiled.samples.words(*batch) for batch in zip(inputs, targets, strict=True)])


def test_training_from_the_store(device: LinkDevice, compiled: Compiled, experiment: Experiment) -> None:
    golden = train(GoldenMachine(ENGINE), compiled, experiment)
    assert train(device, compiled, experiment) == golden
    streamed = device.payload_sent
    assert device.store_bytes == 32 << 20
    seen: list[tuple[int, int]] = []
    assert device.keep(kept(experiment, compiled), lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert not device.statistics.timeouts
    before = device.payload_sent
    assert train(device, compiled, experiment) == golden
    # All that is left are the program's tables and state, rates, and numbers of samples.
    names = RECIPE["batch"] * STEPS * 6
    inputs = RECIPE["batch"] * STEPS * 65
    assert device.payload_sent - before < streamed - inputs // 2 + names


def test_other_samples_are_streamed(device: LinkDevice, compiled: Compiled, experiment: Experiment) -> None:
    assert device.keep(kept(experiment, compiled, 1))
    assert train(device, compiled, experiment) == train(GoldenMachine(ENGINE), compiled, experiment)


def test_a_damaged_sample_ends_the_run(
    simulation: BoardSimulation, device: LinkDevice, compiled: Compiled, experiment: Experiment
) -> None:
    session = Session(device, compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    assert device.keep(kept(experiment, compiled))
    batches = load_task("digits").batches(experiment.recipe).take(0, STEPS)
    session.train(0, *batches)
    # The index of 32 samples takes four blocks; the samples begin behind it.
    simulation.upset(4 * 32 + 9, 0x10)
    with pytest.raises(DeviceError, match=r"^sample 0 is damaged in the board's memory; start again"):
        session.train(0, *batches)
    # Without the store, all goes on.
    golden = train(GoldenMachine(ENGINE), compiled, experiment)
    assert train(device, compiled, experiment) == golden


def test_too_many_samples_are_not_kept(device: LinkDevice) -> None:
    assert not device.keep(np.zeros((0, 65), np.int64))
    assert not device.keep(np.full((1, 65), 1 << 20))


@pytest.mark.slow
def test_mnist_trains_on_the_board_that_holds_it(root: Path, mnist: Path) -> None:
    """The default recipe from the chip of a ULX3S-85F: the steps of the record, bit by bit."""
    record, place = load_record(root / "docs" / "results" / "mnist-mirror"), board("ulx3s-85f-local")
    assert place.memory is not None
    experiment = replace(recorded_experiment(record), engine=place.engine, data=mnist)
    task = load_task("mnist", data=mnist)
    compiled = experiment.compile(task, place.engine)
    samples, digests = task.batches(experiment.recipe), record["first_digests"]
    golden = Session(GoldenMachine(place.engine), compiled)
    with BoardSimulation(
        place.engine,
        clock_hz=place.clock.hz,
        baud=place.uart.baud,
        input_bytes=place.link.input_bytes,
        output_bytes=place.link.output_bytes,
        memory=place.memory.chip,
    ) as simulation:
        with LinkDevice(SimulatedTransport(simulation), place.engine) as device:
            assert device.keep(kept(experiment, compiled, 4))
            session = Session(device, compiled)
            for each in (golden, session):
                each.load(compiled.commands.initial_state(experiment.initial_parameters))
            predicted = compiled.figures.step_counters()
            # Two commands of a step, then one of two steps.
            for first, steps in ((0, 1), (1, 1), (2, 2)):
                before, sent = dict(session.counters), device.payload_sent
                losses = session.train(first, *samples.take(first, steps))
                names = (device.payload_sent - sent) / steps
                assert losses == golden.train(first, *samples.take(first, steps))
                digest = parameter_digest(session.masters())
                assert digest == parameter_digest(golden.masters())
                assert digest in digests[first : first + 1] or first >= len(digests)
                taken = {name: value - before[name] for name, value in session.counters.items()}
                assert {name: taken[name] for name in predicted} == {name: steps * n for name, n in predicted.items()}
                # Only the first step's numbers have to come over the line before they are wanted.
                assert taken["cycles_wait"] < 10 * names * place.clock.hz / place.uart.baud
        assert simulation.broken == frozenset()
