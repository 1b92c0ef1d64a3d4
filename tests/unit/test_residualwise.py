"""Steps that the host solves for: exact columns, solutions of the same bits everywhere, and steps
that are what the host asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dither.arch.generator import signs
from dither.arch.isa import Rule
from dither.compiler import (
    DAMPINGS,
    Collocation,
    Compiled,
    CompileError,
    Exchange,
    Labelled,
    SolvingCommands,
    compile,
)
from dither.compiler.gradients import COEFFICIENT_FRAC
from dither.golden import GoldenMachine
from dither.native import NativeMachine
from dither.physics import Burgers, central
from dither.recipe import Recipe
from dither.train.leastsquares import damped_solutions
from dither.train.sampler import PointBatches
from dither.train.session import Session

from .test_compiler_physics import ENGINE, Integers, integer_residuals, network, working

PROBLEM, STENCIL = Burgers(), central(2, (0.0625, 0.125))
RECIPE = Recipe(
    batch=24, tile=8, probes=5, estimator="residualwise", rule=Rule.SGD, shared_probe=True, mu=2**-7, rate=2**-5
)


def build(recipe: Recipe = RECIPE, native: bool = False) -> Session:
    model, engine = network(2), replace(ENGINE, program_depth=2048)
    parameters = model.initial_parameters(1)
    compiled = compile(model, Collocation(PROBLEM, STENCIL), recipe, engine, parameters)
    session = Session(NativeMachine(engine) if native else GoldenMachine(engine), compiled)
    session.load(compiled.commands.initial_state(parameters))
    return session


def batches(steps: int) -> np.ndarray:
    return PointBatches(PROBLEM, RECIPE.batch, RECIPE.seed).take(0, steps)[0]


def probes(compiled: Compiled, step: int) -> dict[str, np.ndarray]:
    """All probes of a step by tensor, shape (probes, *shape)."""
    numbers = np.arange(compiled.recipe.most_probes)
    return {
        name: signs(compiled.recipe.seed, step, numbers.reshape(-1, *(1,) * len(tensor.shape)), tensor.indices()[None])
        for name, tensor in compiled.tensors.items()
    }


def moved(compiled: Compiled, step: int, probe: int, sign: int) -> Integers:
    """Working weights at one side of a probe."""
    guard = {name: tensor.master.frac - tensor.format.frac for name, tensor in compiled.tensors.items()}
    masters = compiled.commands.initial_state(compiled.model.initial_parameters(1)).master
    drawn = probes(compiled, step)
    return {
        name: (masters[name] + sign * tensor.amplitude * drawn[name][probe] + (1 << (guard[name] - 1))) >> guard[name]
        for name, tensor in compiled.tensors.items()
    }


@pytest.mark.parametrize("sides", ["one", "two"])
def test_columns_are_what_probes_do_to_each_point(sides: str) -> None:
    session = build(replace(RECIPE, sides=sides))
    compiled, (points,) = session.compiled, batches(1)
    commands = SolvingCommands(compiled)
    probed = commands.read_probe(session.run(commands.probe(3, points))[0], points)
    base = integer_residuals(compiled, working(compiled), STENCIL, points)
    sources = compiled.samples.words(points)[:, compiled.samples.label + 1]
    assert np.array_equal(probed.residuals, base - sources)
    for probe in range(RECIPE.most_probes):
        ahead, behind = (
            integer_residuals(compiled, moved(compiled, 3, probe, sign), STENCIL, points) for sign in (1, -1)
        )
        assert np.array_equal(probed.columns[:, probe], ahead - (behind if sides == "two" else base))
    # The working weights are as they were.
    again = commands.read_residuals(session.run(commands.residuals(points))[0], points)
    assert np.array_equal(again, probed.residuals)


def test_moves_are_the_probes_times_their_coefficients() -> None:
    session = build()
    compiled, commands = session.compiled, SolvingCommands(session.compiled)
    solution = np.random.default_rng(1).normal(0, 0.2, RECIPE.most_probes)
    coefficients = commands.coefficients(solution, 3)
    before = session.state().master
    session.run(commands.move(3, coefficients))
    after, drawn = session.state().master, probes(compiled, 3)
    for name, tensor in compiled.tensors.items():
        wanted = -RECIPE.mu * np.tensordot(solution, drawn[name], 1)
        found = tensor.master.decode(after[name]) - tensor.master.decode(before[name])
        # The direction is rounded to a 2**12th of the rate, the step to a master's unit.
        assert np.abs(found - wanted).max() <= RECIPE.rate * 2**-13 + tensor.master.resolution


def test_steps_are_no_longer_than_the_rate() -> None:
    commands = SolvingCommands(build().compiled)
    solution = np.random.default_rng(1).normal(0, 100, RECIPE.most_probes)
    length = math.hypot(*commands.coefficients(solution, 0).tolist())
    assert length == pytest.approx(2**COEFFICIENT_FRAC, abs=RECIPE.most_probes)
    late = replace(RECIPE, schedule="cosine", schedule_steps=1)
    assert not SolvingCommands(build(late).compiled).coefficients(solution, 1).any()


@pytest.mark.parametrize("native", [False, True])
def test_a_step_goes_where_the_residuals_are_least(native: bool) -> None:
    session = build(native=native)
    points, commands = batches(1)[0], SolvingCommands(session.compiled)

    def square() -> int:
        found = commands.read_residuals(session.run(commands.residuals(points))[0], points)
        return int((found**2).sum())

    before, shadow = square(), build()
    command = commands.probe(0, points)
    probed = commands.read_probe(shadow.run(command)[0], points)
    tried, at = [before], np.zeros(RECIPE.most_probes, np.int64)
    for solution in damped_solutions(probed.columns, probed.residuals, DAMPINGS):
        there = commands.coefficients(solution, 0)
        shadow.run(commands.move(0, there - at))
        at = there
        outputs, _ = shadow.run(commands.residuals(points))
        tried.append(int((commands.read_residuals(outputs, points) ** 2).sum()))
    session.train(0, points[None], None)
    assert square() == pytest.approx(min(tried), rel=1e-3)
    assert min(tried) < 0.9 * before


def test_training_gives_the_same_bits_on_both_machines_in_any_chunks() -> None:
    points = batches(6)
    golden, native = build(), build(native=True)
    losses = golden.train(0, points, None)
    chunks = ((0, 2), (2, 3), (3, 6))
    assert losses == [loss for first, end in chunks for loss in native.train(first, points[first:end], None)]
    assert losses[-1] < 0.8 * losses[0]
    assert np.array_equal(golden.masters(), native.masters())
    assert golden.counters == native.counters


def test_every_cycle_of_a_step_is_predicted() -> None:
    session = build()
    session.train(0, batches(2), None)
    predicted = session.compiled.figures.step_counters()
    assert predicted["cycles_contract"] > 0
    assert {name: session.counters[name] for name in predicted} == {name: 2 * n for name, n in predicted.items()}
    passes = 1 + RECIPE.most_probes + len(DAMPINGS)
    assert session.forwards_per_step == passes * RECIPE.batch * STENCIL.nodes


def test_solutions_are_those_of_the_damped_equations() -> None:
    rng = np.random.default_rng(1)
    columns, target = rng.integers(-999, 999, (60, 12)), rng.integers(-9999, 9999, 60)
    mean = (columns**2).sum() / 12
    for damping, found in zip(DAMPINGS, damped_solutions(columns, target, DAMPINGS), strict=True):
        wanted = np.linalg.solve(columns.T @ columns + damping * mean * np.eye(12), columns.T @ target)
        assert np.allclose(found, wanted, rtol=1e-9)
    assert not damped_solutions(np.zeros((4, 2), np.int64), target[:4], [0.5])[0].any()
    with pytest.raises(ValueError, match="too many for exact sums"):
        damped_solutions(columns << 20, target, DAMPINGS)


def test_solutions_do_not_depend_on_how_arrays_are_computed() -> None:
    """The same operations on Python's single numbers give the same bits."""
    rng = np.random.default_rng(2)
    columns, target = rng.integers(-999, 999, (40, 9)), rng.integers(-9999, 9999, 40)
    (found,) = damped_solutions(columns, target, [2**-5])
    size, exact = 9, columns.T @ columns
    mean = int(np.trace(exact)) / size
    rest = [[float(exact[i, j]) + (2**-5 * mean if i == j else 0.0) for j in range(size)] for i in range(size)]
    right, factors = [float(value) for value in columns.T @ target], [[0.0] * size for _ in range(size)]
    for place in range(size):
        for row in range(place + 1, size):
            factors[row][place] = rest[row][place] / rest[place][place]
            for column in range(place + 1, size):
                rest[row][column] -= factors[row][place] * rest[place][column]
            right[row] -= factors[row][place] * right[place]
    solution = [value / rest[place][place] for place, value in enumerate(right)]
    for place in reversed(range(size)):
        for row in range(place):
            solution[row] -= factors[place][row] * solution[place]
    assert found.tolist() == solution


def test_refusals() -> None:
    with pytest.raises(ValueError, match="use rule sgd and shared_probe"):
        replace(RECIPE, rule=Rule.ADAM)
    with pytest.raises(ValueError, match="use rule sgd and shared_probe"):
        replace(RECIPE, shared_probe=False)
    session = build()
    with pytest.raises(CompileError, match="one device's host"):
        session.compiled.sharing(Exchange.GRADIENTS)
    with pytest.raises(ValueError, match="the batch has 8 points, not the recipe's 24"):
        SolvingCommands(session.compiled).probe(0, batches(1)[0][:8])
    model = replace(network(2), loss="squared_error")
    samples, targets = np.zeros((8, 2)), np.zeros((8, 1))
    with pytest.raises(CompileError, match="needs a residual for each point"):
        compile(model, Labelled(samples, targets), RECIPE, ENGINE, model.initial_parameters(1))
