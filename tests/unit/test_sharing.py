"""Programs for devices that share steps: any division of a batch gives the bits of one device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dither.compiler import Compiled, Exchange, SharedCommands, State, fewest_bytes
from dither.golden import GoldenMachine
from dither.train.experiment import Experiment
from dither.train.session import Session, pack_state
from dither.train.tasks import load_task

STEPS = 3
RECIPES = {
    "tensorwise": {"estimator": "tensorwise", "probes": 2},
    "layerwise": {"estimator": "layerwise", "probes": (2, 5), "sides": "two"},
    "joint": {"estimator": "joint", "probes": 1, "shared_probe": True},
    "coordinate": {"estimator": "coordinate", "probes": 1},
    "mirror": {"estimator": ("mirror", "exact"), "probes": 1},
    "activity": {"estimator": ("activity", "exact"), "probes": 3},
    "regression": {"estimator": ("regression", "exact"), "probes": 2},
    "mixed": {"estimator": ("layerwise", "exact"), "probes": 2},
}
SCALARS = {"tensorwise", "layerwise", "joint"}


def chosen(name: str) -> Experiment:
    return Experiment.of_task("digits", device="golden", recipe=RECIPES[name])


def whole(experiment: Experiment, compiled: Compiled) -> tuple[list[int], State, dict[str, int]]:
    task, session = load_task("digits"), Session(GoldenMachine(compiled.engine), compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    losses = session.train_sums(0, *task.batches(experiment.recipe).take(0, STEPS))
    return losses, session.state(), session.counters


def divided(experiment: Experiment, compiled: Compiled, order: np.random.Generator) -> tuple[list[int], State]:
    """Trains with every step's lane groups computed one by one, in any order."""
    task, commands, lanes = load_task("digits"), SharedCommands(compiled), compiled.engine.lanes
    session = Session(GoldenMachine(compiled.engine), compiled)
    session.load(compiled.commands.initial_state(experiment.initial_parameters))
    recipe, losses = experiment.recipe, []
    for step in range(STEPS):
        inputs, targets = (each[0] for each in task.batches(recipe).take(step, 1))
        numbers, total = np.zeros(commands.shape, np.int64), 0
        for first in order.permutation(np.arange(0, recipe.batch, lanes)):
            part = slice(first, first + lanes)
            outputs, _ = session.run(commands.share(step, int(first), inputs[part], targets[part]))
            loss, differences = commands.read_share(outputs)
            total += loss
            if commands.exchange is Exchange.SCALARS:
                numbers[0 if recipe.shared_probe else first // recipe.tile] += differences
        if commands.exchange is Exchange.GRADIENTS:
            numbers = commands.read_collect(session.run(commands.collect())[0])
        session.run(commands.apply(step, numbers))
        losses.append(total)
    return losses, session.state()


@pytest.mark.parametrize("name", RECIPES)
def test_parts_of_a_step_make_the_same_step(name):
    experiment, task = chosen(name), load_task("digits")
    losses, state, _ = whole(experiment, experiment.compile(task, experiment.roomy))
    compiled = experiment.compile(task, replace(experiment.roomy, lanes=8))
    assert (compiled.emitter.differences is not None) == (name in SCALARS)
    for exchange in Exchange if name in SCALARS else [Exchange.GRADIENTS]:
        found, after = divided(experiment, compiled.sharing(exchange), np.random.default_rng(1))
        assert found == losses
        for key, values in pack_state(state).items():
            np.testing.assert_array_equal(pack_state(after)[key], values, err_msg=key)


def test_a_wrong_difference_shows():
    experiment, task = chosen("layerwise"), load_task("digits")
    compiled = experiment.compile(task, experiment.roomy).sharing(Exchange.SCALARS)
    commands, states = SharedCommands(compiled), []
    for number in (0, 1):
        session = Session(GoldenMachine(compiled.engine), compiled)
        session.load(compiled.commands.initial_state(experiment.initial_parameters))
        numbers = np.full(commands.shape, 1000, np.int64)
        numbers[1, 3] += number * 5000
        session.run(commands.apply(0, numbers))
        states.append(session.masters())
    assert (states[0] != states[1]).any()


def test_the_exchange_of_fewest_bytes():
    task = load_task("digits")
    sizes = {}
    for name in ("layerwise", "mirror"):
        experiment = chosen(name)
        sizes[name] = fewest_bytes(experiment.compile(task, experiment.roomy), 4)
    # Two tiles, seven differences of four bytes; from everybody once, to all four of them.
    assert sizes["layerwise"][0] is Exchange.SCALARS
    assert sizes["layerwise"][1][Exchange.SCALARS] == 2 * 7 * 4 * 5
    assert sizes["layerwise"][1][Exchange.GRADIENTS] == 746 * 6 * 8
    assert sizes["mirror"][0] is Exchange.GRADIENTS
    assert Exchange.SCALARS not in sizes["mirror"][1]


@pytest.mark.parametrize(("first", "count"), [(0, 6), (4, 8), (24, 16), (0, 0)])
def test_pieces_that_are_no_lane_groups_of_a_tile_are_refused(first, count):
    experiment, task = chosen("layerwise"), load_task("digits")
    commands = SharedCommands(experiment.compile(task, replace(experiment.roomy, lanes=8)).sharing(Exchange.SCALARS))
    inputs, targets = (each[0] for each in task.batches(experiment.recipe).take(0, 1))
    with pytest.raises(ValueError, match="whole groups of 8 within a tile"):
        commands.share(0, first, inputs[:count], targets[:count])


def test_numbers_of_another_shape_are_refused():
    experiment, task = chosen("layerwise"), load_task("digits")
    commands = SharedCommands(experiment.compile(task, experiment.roomy).sharing(Exchange.SCALARS))
    with pytest.raises(ValueError, match="numbers of shape"):
        commands.apply(0, np.zeros(14, np.int64))
