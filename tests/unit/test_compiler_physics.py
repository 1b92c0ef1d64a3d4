"""Residuals of differential equations on the golden machine: bit for bit, and near the float
reference.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dither.arch.config import EngineConfig
from dither.arch.fixedpoint import saturate, shift_round
from dither.arch.isa import LossKind, Memory, decode_program
from dither.compiler import Collocation, Compiled, CompileError, compile
from dither.compiler.objectives.points import Points
from dither.golden import GoldenMachine
from dither.golden.loss import loss
from dither.nn import reference
from dither.nn.models import Dense, Model, TensorTrain
from dither.physics import BlackScholes, Burgers, HamiltonJacobiBellman, Problem, Stencil, central, sparse_grid
from dither.recipe import Recipe

from .test_compiler_execution import Integers, integer_outputs, run
from .test_physics import Cubic

ENGINE = EngineConfig(rows=2, lanes=4, lanes_per_table=2, activation_depth=512, parameter_depth=1024)
RECIPE = Recipe(batch=8, tile=4, probes=2, estimator="joint", sides="two", mu=2**-6)


def network(inputs: int) -> Model:
    return Model((Dense(inputs, 6, "sine"), TensorTrain((2, 3), (4, 2), 2, "sine"), Dense(8, 1)), "squared_error")


def build(
    problem: Problem, stencil: Stencil, engine: EngineConfig = ENGINE, recipe: Recipe = RECIPE
) -> tuple[Compiled, GoldenMachine]:
    model = network(problem.dimensions)
    parameters = model.initial_parameters(1)
    compiled = compile(model, Collocation(problem, stencil), recipe, engine, parameters)
    machine = GoldenMachine(engine)
    machine.write_program(compiled.program)
    run(machine, compiled.commands.setup())
    run(machine, compiled.commands.load_state(compiled.commands.initial_state(parameters)))
    return compiled, machine


def working(compiled: Compiled) -> Integers:
    parameters = compiled.model.initial_parameters(1)
    return {name: tensor.format.encode(parameters[name]) for name, tensor in compiled.tensors.items()}


def integer_residuals(compiled: Compiled, weights: Integers, stencil: Stencil, points: np.ndarray) -> np.ndarray:
    """The residual without its source on integers, straight from the formats."""
    samples, width = compiled.samples, compiled.engine.width
    assert isinstance(samples, Points)
    form, lowered = samples.formats, samples.lowered

    def rounded(values: np.ndarray, shift: int) -> np.ndarray:
        return saturate(shift_round(values, shift), width)[0]

    shifted = form.point.encode(points)[:, None] + form.point.encode(stencil.offsets)
    flat = form.point.decode(shifted.reshape(-1, points.shape[1]))
    values = integer_outputs(compiled, weights, flat).reshape(len(points), stencil.nodes)
    slots = np.concatenate([values[:, :1], rounded(values[:, 1:] - values[:, :1], 0)], axis=1)
    matrix = np.stack([each.encode(column) for each, column in zip(form.columns, lowered.matrix.T, strict=True)], 1)
    columns = rounded(slots @ matrix, form.column_shift)
    sums = np.zeros((len(points), len(lowered.sums)), np.int64)
    for number, (entry, shift) in enumerate(zip(lowered.sums, form.sum_shifts, strict=True)):
        left, right = (
            (columns if each.linear else sums)[:, each.first : each.first + each.count]
            for each in (entry.left, entry.right)
        )
        sums[:, number] = rounded((left * right).sum(axis=1), shift)
    total = np.zeros(len(points), np.int64)
    for each, (coefficient, word) in zip(form.coefficients, lowered.terms, strict=True):
        total += each.encode(coefficient.value(points)) * (columns if word.linear else sums)[:, word.first]
    return rounded(total, form.shift)


def residual_word(compiled: Compiled) -> int:
    return next(region.base for region in compiled.memory.regions if region.name == "residual")


CASES = [
    (HamiltonJacobiBellman(3), central(4, 0.25)),
    (HamiltonJacobiBellman(2), sparse_grid(3, 0.5)),
    (BlackScholes(), central(2, 0.125)),
    (Burgers(), central(2, (0.0625, 0.125))),
    (Cubic(), central(2, 0.25)),
]
IDS = [f"{problem.name}-{stencil.name}" for problem, stencil in CASES]


@pytest.mark.parametrize(("problem", "stencil"), CASES, ids=IDS)
@pytest.mark.parametrize("rows", [1, 2, 8])
def test_residuals_are_the_integer_computation(problem: Problem, stencil: Stencil, rows: int) -> None:
    compiled, machine = build(problem, stencil, replace(ENGINE, rows=rows))
    weights = working(compiled)
    points = problem.sample(np.random.default_rng(1), 11)
    expected = integer_residuals(compiled, weights, stencil, points)
    samples = compiled.samples
    assert isinstance(samples, Points)
    source = samples.formats.residual.encode(-samples.lowered.source.value(points))
    shift = 2 * samples.formats.residual.frac - compiled.formats.loss_frac
    z_frac = -(-shift // 2)
    losses = loss(
        LossKind.SQUARED_ERROR,
        expected[None],
        np.zeros(11, int),
        source[None],
        z_frac=z_frac,
        loss_frac=2 * z_frac - shift,
    )[0]
    outputs = run(machine, compiled.commands.measure(points))
    assert sum(int(each[0, 0]) for each in outputs) == losses.sum()
    # The last lane group still stands in the memory: three points and an idle lane.
    words = machine.memories.space.activation[residual_word(compiled)]
    assert np.array_equal(words[:3].astype(np.int64), expected[8:])


@pytest.mark.parametrize("width", [16, 18])
@pytest.mark.parametrize(("problem", "stencil"), CASES, ids=IDS)
def test_residuals_are_near_the_float_reference(problem: Problem, stencil: Stencil, width: int) -> None:
    """Roundings pass on through functionals, products and coefficients: the bound adds them up."""
    engine = replace(ENGINE, width=width, lanes=16, lanes_per_table=4)
    compiled, machine = build(problem, stencil, engine, replace(RECIPE, batch=16, tile=16))
    weights = working(compiled)
    points = problem.sample(np.random.default_rng(2), 16)
    samples = compiled.samples
    assert isinstance(samples, Points)
    form = samples.formats
    points = form.point.decode(form.point.encode(points))
    exact = replace(stencil, offsets=form.point.decode(form.point.encode(stencil.offsets)))
    real = {name: tensor.format.decode(weights[name]) for name, tensor in compiled.tensors.items()}

    def network_value(places: np.ndarray) -> np.ndarray:
        return reference.forward(compiled.model, real, places)[:, 0]

    nodes = (points[:, None] + exact.offsets).reshape(-1, problem.dimensions)
    integers = integer_outputs(compiled, weights, nodes).reshape(16, -1)
    values = compiled.formats.output.decode(integers)
    floats = network_value(nodes).reshape(16, -1)
    assert np.abs(values - floats).max() < 0.02
    # From the node values on, in floats: what remains are the residual's own roundings.
    table = {tuple(node): value for node, value in zip(map(tuple, nodes), values.ravel(), strict=True)}
    wanted = problem.residuals(exact, lambda places: np.array([table[tuple(p)] for p in places]), points)
    run(machine, compiled.commands.measure(points))
    words = machine.memories.space.activation[residual_word(compiled)]
    found = form.residual.decode(words.astype(np.int64)) + samples.lowered.source.value(points)
    bound = rounding_bound(compiled, exact, points, values)
    assert np.all(np.abs(found - wanted) <= bound)
    assert bound.max() < 0.1 * max(1.0, np.abs(wanted).max())


def rounding_bound(compiled: Compiled, stencil: Stencil, points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How far the residual may be from a float computation from the same node values, for each
    point.
    """
    samples = compiled.samples
    assert isinstance(samples, Points)
    form, lowered = samples.formats, samples.lowered
    slots = np.concatenate([values[:, :1], values[:, 1:] - values[:, :1]], axis=1)
    columns, sums = lowered.words(slots)
    weight = np.array([each.resolution for each in form.columns]) / 2
    fracs = [compiled.formats.output.frac + each.frac - form.column_shift for each in form.columns]
    column_errors = np.abs(slots).sum(axis=1)[:, None] * weight + np.ldexp(0.5, [-frac for frac in fracs])
    sum_errors = np.zeros_like(sums)
    sum_fracs: list[int] = []
    for number, (entry, shift) in enumerate(zip(lowered.sums, form.sum_shifts, strict=True)):
        parts = []
        for each in (entry.left, entry.right):
            part = slice(each.first, each.first + each.count)
            kind = (columns, column_errors, fracs) if each.linear else (sums, sum_errors, sum_fracs)
            parts.append((kind[0][:, part], kind[1][:, part], kind[2][each.first]))
        (a, da, fa), (b, db, fb) = parts
        sum_fracs.append(fa + fb - shift)
        sum_errors[:, number] = (np.abs(a) * db + np.abs(b) * da + da * db).sum(axis=1) + 0.5 * 2.0 ** -sum_fracs[-1]
    total = np.full(len(points), form.residual.resolution / 2)
    for each, (coefficient, word) in zip(form.coefficients, lowered.terms, strict=True):
        value = (columns if word.linear else sums)[:, word.first]
        error = (column_errors if word.linear else sum_errors)[:, word.first]
        factor = coefficient.value(points)
        step = each.resolution / 2
        total += np.abs(factor) * error + (np.abs(value) + error) * step
    return total


def test_outputs_are_the_network_at_the_points() -> None:
    problem, stencil = CASES[0]
    compiled, machine = build(problem, stencil)
    points = problem.sample(np.random.default_rng(3), 9)
    found = compiled.commands.read_evaluate(run(machine, compiled.commands.evaluate(points)), 9)
    assert np.array_equal(found.integers, integer_outputs(compiled, working(compiled), points))
    assert found.loss_sum == 0


def test_training_lowers_the_residual_and_leaves_constants_alone() -> None:
    problem, stencil = CASES[0]
    recipe = replace(RECIPE, batch=64, tile=64, probes=4, rate=0.01)
    compiled, machine = build(problem, stencil, replace(ENGINE, lanes=64), recipe)
    rng = np.random.default_rng(4)
    constants = machine.memories.state[Memory.MASTER][compiled.words :].copy()
    working_words = machine.memories.space.weight[compiled.words :].copy()
    assert np.any(constants)
    losses = []
    for step in range(60):
        command = compiled.commands.train(step, [(problem.sample(rng, 64), None)])
        losses += compiled.commands.read_train(run(machine, command))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert np.array_equal(machine.memories.state[Memory.MASTER][compiled.words :], constants)
    assert np.array_equal(machine.memories.space.weight[compiled.words :], working_words)
    state = compiled.commands.read_state(run(machine, compiled.commands.store_state()))
    assert set(state.master) == set(compiled.model.parameter_shapes())


def test_coordinates() -> None:
    """The deepest nest of loops; central differences of the loss, so that the first step goes
    downhill.
    """
    problem, stencil = CASES[2]
    recipe = replace(RECIPE, batch=8, estimator="coordinate", probes=1, rate=0.01)
    compiled, machine = build(problem, stencil, ENGINE, recipe)
    points = problem.sample(np.random.default_rng(6), 8)
    commands = compiled.commands
    before, after = (commands.read_train(run(machine, commands.train(step, [(points, None)])))[0] for step in range(2))
    assert after < before


def test_geometry_changes_no_bit() -> None:
    problem, stencil = CASES[3]
    rng = np.random.default_rng(5)
    batches = [(problem.sample(rng, 8), None) for _ in range(3)]
    found = []
    for rows, lanes in ((1, 1), (4, 2), (8, 4)):
        compiled, machine = build(problem, stencil, replace(ENGINE, rows=rows, lanes=lanes, lanes_per_table=1))
        losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, batches)))
        state = compiled.commands.read_state(run(machine, compiled.commands.store_state()))
        found.append((losses, {name: value.tolist() for name, value in state.master.items()}))
    assert found[0] == found[1] == found[2]


def test_evaluations_count_every_node() -> None:
    problem, stencil = CASES[0]
    compiled, _ = build(problem, stencil)
    assert compiled.figures.step_evaluations == RECIPE.batch * (1 + 2 * RECIPE.probes) * stencil.nodes
    assert compiled.figures.step_macs > compiled.figures.step_evaluations * compiled.figures.forward_macs


def test_program_size_does_not_depend_on_the_stencil() -> None:
    problem = HamiltonJacobiBellman(3)
    sizes = {len(build(problem, stencil)[0].program) for stencil in (central(4, 0.25), sparse_grid(4, 0.5))}
    assert len(sizes) == 1
    names = [each.name for _, each in decode_program(list(build(*CASES[0])[0].program))]
    assert names.count("LOOP") >= 4


def test_refusals() -> None:
    problem, stencil = CASES[0]
    model = network(4)
    arguments = (RECIPE, ENGINE, model.initial_parameters(1))
    with pytest.raises(ValueError, match="as many inputs and one output"):
        compile(network(3), Collocation(problem, stencil), RECIPE, ENGINE, network(3).initial_parameters(1))
    with pytest.raises(ValueError, match="as many dimensions"):
        compile(model, Collocation(problem, central(3)), *arguments)
    with pytest.raises(CompileError, match="local_learning"):
        compile(model, Collocation(problem, stencil), RECIPE, replace(ENGINE, local_learning=0), arguments[2])
    with pytest.raises(CompileError, match="perturbs parameters"):
        compile(model, Collocation(problem, stencil), replace(RECIPE, estimator="activity"), *arguments[1:])
    with pytest.raises(CompileError, match="parameter memory"):
        compile(model, Collocation(problem, stencil), RECIPE, replace(ENGINE, parameter_depth=64), arguments[2])
    compiled = compile(model, Collocation(problem, stencil), *arguments)
    with pytest.raises(ValueError, match="no targets"):
        compiled.commands.measure(np.zeros((3, 4)), np.zeros(3))
