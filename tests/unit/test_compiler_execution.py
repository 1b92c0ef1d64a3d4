"""Compiled programs on the golden machine, against floats, and against a literal integer
computation.
"""

from collections.abc import Mapping

import numpy as np
import pytest

from dither.arch import generator
from dither.arch.config import EngineConfig, preset
from dither.arch.fixedpoint import saturate, shift_round
from dither.arch.isa import LossKind, Rule
from dither.arch.tables import activation_lookup, scalar_tables, sine_table, tanh_table
from dither.compiler import Command, Compiled, Labelled, State, compile
from dither.golden import GoldenMachine
from dither.golden.loss import loss
from dither.nn import reference
from dither.nn.models import Dense, Model, Parameters, TensorTrain, named_model
from dither.recipe import Recipe

Integers = Mapping[str, np.ndarray]

TRAIN = Model((TensorTrain((3, 2, 4), (2, 5, 3), (3, 5)), TensorTrain((6, 5), (3, 2), 3, "none")))
WAVE = Model((TensorTrain((2, 3), (4, 3), 2, "sine"), Dense(12, 7, "tanh"), Dense(7, 2)), "squared_error")
TINY = EngineConfig(rows=2, lanes=4, lanes_per_table=2, activation_depth=512, parameter_depth=512)


def samples(model: Model, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (count, model.inputs))
    if model.loss == "cross_entropy":
        return x, rng.integers(0, model.outputs, count)
    return x, rng.uniform(-1, 1, (count, model.outputs))


def build(model: Model, recipe: Recipe, engine: EngineConfig) -> tuple[Compiled, GoldenMachine]:
    x, y = samples(model, 64, seed=9)
    parameters = model.initial_parameters(1)
    compiled = compile(model, Labelled(x, y), recipe, engine, parameters)
    machine = GoldenMachine(engine)
    machine.write_program(compiled.program)
    run(machine, compiled.commands.setup())
    run(machine, compiled.commands.load_state(compiled.commands.initial_state(parameters)))
    return compiled, machine


def run(machine: GoldenMachine, command: Command) -> list[np.ndarray]:
    return machine.run(command.entry, command.inputs, command.expects).outputs


def state_of(compiled: Compiled, machine: GoldenMachine) -> State:
    return compiled.commands.read_state(run(machine, compiled.commands.store_state()))


def integer_outputs(compiled: Compiled, weights: Integers, x: np.ndarray) -> np.ndarray:
    """The forward pass on integers, layer by layer, straight from plans and formats."""
    width = compiled.engine.width
    state = compiled.formats.input.encode(x)
    for plan, form in zip(compiled.plans, compiled.formats.layers, strict=True):
        for number, (step, shift) in enumerate(zip(plan.steps, form.shifts, strict=True)):
            matrix = weights[step.tensor].transpose(step.axes).reshape(step.K, step.M)
            blocks = state.reshape(len(x), step.P, step.K, step.S)
            sums = np.einsum("bpks,km->bpms", blocks, matrix).reshape(len(x), -1)
            if plan.bias and number == len(plan.steps) - 1:
                sums = sums + (weights[plan.bias] << form.constant)
            state = saturate(shift_round(sums, shift), width)[0]
        match plan.layer.activation:
            case "relu":
                state = np.maximum(state, 0)
            case "sine" | "tanh" as name:
                build_table = {"sine": sine_table, "tanh": tanh_table}[name]
                table = build_table(form.sums[-1], form.target, compiled.engine.table_bits)
                state = activation_lookup(*table, state, width)
    return state


def integer_losses(compiled: Compiled, weights: Integers, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = integer_outputs(compiled, weights, x)
    common = {"z_frac": compiled.formats.output.frac, "loss_frac": compiled.formats.loss_frac}
    if compiled.model.loss == "squared_error":
        targets = compiled.formats.output.encode(y)
        return loss(LossKind.SQUARED_ERROR, z.T, np.zeros(len(x), int), targets.T, **common)[0]
    values, slopes = scalar_tables(compiled.engine.table_bits)
    return loss(LossKind.CROSS_ENTROPY, z.T, y, values=values, slopes=slopes, **common)[0]


def literal_gradients(compiled: Compiled, masters: Integers, x: np.ndarray, y: np.ndarray, step: int) -> Integers:
    """The estimator as its definition reads, in integers."""
    recipe, width = compiled.recipe, compiled.engine.width

    def working(moves: Integers) -> Integers:
        return {
            name: saturate(shift_round(master + moves.get(name, 0), 32 - width), width)[0]
            for name, master in masters.items()
        }

    names = list(compiled.tensors)
    layers = [[name for name in names if name.startswith(layer)] for layer in ("0.", "1.")]
    sets = {"joint": [names], "layerwise": layers, "tensorwise": [[name] for name in names]}[recipe.estimator]
    gradients = {name: np.zeros(masters[name].shape, np.int64) for name in names}
    for tile in range(recipe.tiles):
        part = slice(tile * recipe.tile, (tile + 1) * recipe.tile)
        base = integer_losses(compiled, working({}), x[part], y[part]).sum()
        for number in range(recipe.probes):
            probe = number if recipe.shared_probe else tile * recipe.probes + number
            for together in sets:
                signs = {
                    name: generator.signs(recipe.seed, step, probe, compiled.tensors[name].indices())
                    for name in together
                }
                moves = {name: compiled.tensors[name].amplitude * signs[name] for name in together}
                other = base
                if recipe.sides == "two":
                    back = working({name: -move for name, move in moves.items()})
                    other = integer_losses(compiled, back, x[part], y[part]).sum()
                difference = integer_losses(compiled, working(moves), x[part], y[part]).sum() - other
                for name in together:
                    gradients[name] += difference * signs[name]
    return gradients


@pytest.mark.parametrize("model", [TRAIN, WAVE, named_model("digits")], ids=["train", "wave", "digits"])
@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_outputs_are_the_integer_forward_pass(model: Model, rows: int) -> None:
    engine = EngineConfig(rows=rows, lanes=4, lanes_per_table=2, parameter_depth=2048)
    compiled, machine = build(model, Recipe(batch=8, tile=4), engine)
    x, y = samples(model, 11)
    command = compiled.commands.evaluate(x, y)
    outcome = compiled.commands.read_evaluate(run(machine, command), len(x))
    weights = {
        name: tensor.format.encode(model.initial_parameters(1)[name]) for name, tensor in compiled.tensors.items()
    }
    assert np.array_equal(outcome.integers, integer_outputs(compiled, weights, x))
    assert outcome.loss_sum == integer_losses(compiled, weights, x, y).sum()
    assert compiled.commands.read_evaluate(run(machine, compiled.commands.evaluate(x)), len(x)).loss_sum == 0


def rounding_errors(compiled: Compiled, parameters: Parameters, x: np.ndarray) -> np.ndarray:
    """Bounds on how far outputs are from the float network's, of the outputs' shape; activations
    are relu or none.

    Rounding errors pass through every later matrix: the bound adds them up with its absolute row
    sums.
    """
    units = {name: tensor.format.resolution / 2 for name, tensor in compiled.tensors.items()}
    rounded = {
        name: tensor.format.decode(tensor.format.encode(parameters[name])) for name, tensor in compiled.tensors.items()
    }
    error = np.full(x.shape, compiled.formats.input.resolution)
    state = x
    for plan, form in zip(compiled.plans, compiled.formats.layers, strict=True):
        for number, (step, out) in enumerate(zip(plan.steps, form.sums, strict=True)):
            blocks = lambda a, step=step: a.reshape(len(x), step.P, step.K, step.S)  # noqa: E731
            matrix = np.abs(rounded[step.tensor].transpose(step.axes).reshape(step.K, step.M))
            spread = np.einsum("bpks,km->bpms", blocks(error), matrix)
            spread += (np.abs(blocks(state)).sum(axis=2) * units[step.tensor])[:, :, None]
            error = spread.reshape(len(x), -1) + out.resolution / 2
            state = reference.contract(step, parameters[step.tensor], state)
            if plan.bias and number == len(plan.steps) - 1:
                error += units[plan.bias]
                state = state + parameters[plan.bias]
        state = reference.activate(plan.layer.activation, state)
    return error


@pytest.mark.parametrize("width", [16, 18])
@pytest.mark.parametrize("model", [TRAIN, named_model("digits")], ids=["train", "digits"])
def test_outputs_are_near_the_float_network(model: Model, width: int) -> None:
    compiled, machine = build(model, Recipe(batch=8, tile=4), EngineConfig(lanes=4, width=width))
    parameters = model.initial_parameters(1)
    x, _ = samples(model, 12)
    outcome = compiled.commands.read_evaluate(run(machine, compiled.commands.evaluate(x)), len(x))
    error = rounding_errors(compiled, parameters, x)
    assert (np.abs(outcome.outputs - reference.forward(model, parameters, x)) <= error).all()
    assert error.max() < 0.1


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (TRAIN, Recipe(batch=16, tile=8, probes=2)),
        (TRAIN, Recipe(batch=16, tile=4, probes=1, sides="two")),
        (TRAIN, Recipe(batch=16, tile=8, probes=3, estimator="joint", sides="two")),
        (TRAIN, Recipe(batch=16, tile=8, probes=2, estimator="layerwise")),
        (TRAIN, Recipe(batch=16, tile=8, probes=2, estimator="joint", shared_probe=True)),
        (WAVE, Recipe(batch=8, tile=4, probes=2, shared_probe=True)),
        (WAVE, Recipe(batch=8, tile=8, probes=2, sides="two")),
        (named_model("digits"), Recipe(batch=16, tile=8)),
    ],
    ids=lambda value: "" if isinstance(value, Model) else f"{value.estimator}-{value.sides}-{value.shared_probe}",
)
def test_a_step_is_the_estimator_as_defined(model: Model, recipe: Recipe) -> None:
    recipe = Recipe.from_dict(recipe.to_dict() | {"rule": "SGD", "rate": 0.01, "seed": 77})
    compiled, machine = build(model, recipe, EngineConfig(rows=2, lanes=4, lanes_per_table=2))
    before = state_of(compiled, machine).master
    x, y = samples(model, recipe.batch, seed=5)
    outputs = run(machine, compiled.commands.train(6, [(x, y)]))
    after = state_of(compiled, machine).master
    weights = {name: saturate(shift_round(master, 14), 18)[0] for name, master in before.items()}
    assert compiled.commands.read_train(outputs) == [integer_losses(compiled, weights, x, y).sum()]

    gradients = literal_gradients(compiled, before, x, y, step=6)
    mantissa = compiled.rates.mantissa(recipe, 6)
    for name, tensor in compiled.tensors.items():
        assert np.abs(gradients[name]).max() > 0
        h = saturate(shift_round(gradients[name], tensor.gradient_shift), 17)[0]
        expected = saturate(before[name] - shift_round(h * mantissa, tensor.rate_shift), 32)[0]
        assert np.array_equal(after[name], expected), name


@pytest.mark.parametrize("sides", ["one", "two"])
@pytest.mark.parametrize("estimator", ["tensorwise", "layerwise", "joint"])
def test_no_geometry_changes_a_bit(estimator: str, sides: str) -> None:
    probes = (2, 3) if estimator == "layerwise" else 2
    recipe = Recipe(batch=64, tile=32, probes=probes, estimator=estimator, sides=sides)
    model = named_model("digits")
    batches = [samples(model, 64, seed) for seed in range(4)]
    results = []
    for name in ("1x8", "2x16", "4x32"):
        compiled, machine = build(model, recipe, preset(name))
        losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, batches[:2])))
        losses += compiled.commands.read_train(run(machine, compiled.commands.train(2, batches[2:])))
        results.append((losses, state_of(compiled, machine)))
    (losses, first), *others = results
    for other_losses, state in others:
        assert other_losses == losses
        for mine, theirs in (
            (first.master, state.master),
            (first.moment1, state.moment1),
            (first.moment2, state.moment2),
        ):
            assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_neither_chunks_nor_kept_intermediates_change_a_bit() -> None:
    model = Model((TensorTrain((7, 2, 7), (8, 2, 8), 6), Dense(128, 10)))
    recipe = Recipe(batch=8, tile=4)
    x, y = samples(model, 8)
    found = []
    for depth, rows in ((2048, 2), (1024, 2), (600, 1), (1024, 8), (500, 2)):
        compiled, machine = build(
            model, recipe, EngineConfig(rows=rows, lanes=4, activation_depth=depth, parameter_depth=4096)
        )
        losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, [(x, y)])))
        layer = compiled.memory.layers[0]
        found.append(((layer.chunks, layer.kept), losses, state_of(compiled, machine).master))
    assert [way for way, _, _ in found] == [(1, True), (2, False), (4, False), (2, False), (8, False)]
    for _, losses, masters in found[1:]:
        assert losses == found[0][1]
        assert all(np.array_equal(masters[name], found[0][2][name]) for name in masters)


def test_mnist_trains_in_small_memory() -> None:
    compiled, machine = build(named_model("mnist"), Recipe(batch=8, tile=8), EngineConfig(lanes=8))
    assert compiled.memory.layers[0].chunks == 8
    before = state_of(compiled, machine).master
    x, y = samples(compiled.model, 8)
    losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, [(x, y), (x, y)])))
    weights = {name: saturate(shift_round(master, 14), 18)[0] for name, master in before.items()}
    assert losses[0] == integer_losses(compiled, weights, x, y).sum()
    after = state_of(compiled, machine).master
    assert all((after[name] != before[name]).mean() > 0.9 for name in before)


def test_states_round_trip_and_decode() -> None:
    compiled, machine = build(TRAIN, Recipe(batch=8, tile=4), TINY)
    state = state_of(compiled, machine)
    initial = TRAIN.initial_parameters(1)
    for name, values in compiled.commands.parameters(state).items():
        np.testing.assert_allclose(values, initial[name], atol=compiled.tensors[name].master.resolution)
    assert not any(values.any() for values in state.moment1.values())
    run(machine, compiled.commands.train(0, [samples(TRAIN, 8)]))
    trained = state_of(compiled, machine)
    assert any(values.any() for values in trained.moment2.values())
    run(machine, compiled.commands.load_state(trained))
    again = state_of(compiled, machine)
    assert all(np.array_equal(trained.moment1[name], again.moment1[name]) for name in trained.moment1)


def test_adam_learns() -> None:
    model = named_model("digits")
    compiled, machine = build(model, Recipe(batch=64, tile=32, probes=4, rate=5e-3), EngineConfig(lanes=32))
    x, y = samples(model, 64)
    losses = compiled.commands.read_train(run(machine, compiled.commands.train(0, [(x, y)] * 60)))
    assert compiled.commands.mean_loss(losses[-1]) < 0.95 * compiled.commands.mean_loss(losses[0])


def test_figures_count_what_runs() -> None:
    compiled, machine = build(named_model("digits"), Recipe(batch=64, tile=32, probes=2), EngineConfig(lanes=32))
    command = compiled.commands.train(0, [samples(compiled.model, 64)])
    counters = machine.run(command.entry, command.inputs, command.expects).counters
    assert counters["row_steps"] * 32 == compiled.figures.step_macs
    assert compiled.figures.forward_macs == 2048 + 320
    assert compiled.figures.step_evaluations == 64 * (1 + 5 * 2)
    forward = compiled.commands.contract(samples(compiled.model, 32)[0])
    assert machine.run(forward.entry, forward.inputs).counters["cycles_contract"] == sum(
        report.cycles for report in compiled.figures.steps()
    )


def test_commands_reject_wrong_shapes() -> None:
    compiled, _ = build(TRAIN, Recipe(batch=8, tile=4), TINY)
    x, y = samples(TRAIN, 8)
    with pytest.raises(ValueError, match="batch 0 has 7 samples, not the recipe's 8"):
        compiled.commands.train(0, [(x[:7], y[:7])])
    with pytest.raises(ValueError, match="at least one batch"):
        compiled.commands.train(0, [])
    with pytest.raises(ValueError, match=r"inputs must have shape \(samples, 24\), not \(8, 3\)"):
        compiled.commands.evaluate(x[:, :3])
    with pytest.raises(ValueError, match=r"targets must have shape \(8,\), not \(7,\)"):
        compiled.commands.evaluate(x, y[:7])
    wave, _ = build(WAVE, Recipe(batch=8, tile=4, rule=Rule.MOMENTUM), TINY)
    with pytest.raises(ValueError, match=r"targets must have shape \(8, 2\), not \(8,\)"):
        wave.commands.evaluate(*samples(WAVE, 8)[:1], np.zeros(8))
