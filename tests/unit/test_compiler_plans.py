"""Contraction orders, buffers, layouts and formats."""

import dataclasses
import itertools

import numpy as np
import pytest

from dither.arch.config import EngineConfig, preset
from dither.compiler import Compiled, CompileError, Labelled, compile, layer_orders, plan_layers
from dither.compiler.layout.tensors import layouts
from dither.compiler.plan import planner
from dither.nn.models import Dense, Model, TensorTrain, named_model
from dither.recipe import Recipe

HJB = Model(
    (
        TensorTrain((1, 1, 3, 7), (8, 4, 4, 4), 2, "sine"),
        TensorTrain((4, 4, 4, 8), (8, 4, 4, 4), 2, "sine"),
        Dense(512, 1),
    ),
    "squared_error",
)
SMALL = Recipe(batch=64, tile=32)


def build(model: Model, engine: EngineConfig, recipe: Recipe | None = None, samples: int = 64) -> Compiled:
    recipe = recipe or Recipe(batch=64, tile=max(32, engine.lanes))
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (samples, model.inputs))
    if model.loss == "cross_entropy":
        return compile(
            model, Labelled(x, rng.integers(0, model.outputs, samples)), recipe, engine, model.initial_parameters(1)
        )
    y = rng.uniform(-1, 1, (samples, model.outputs))
    return compile(model, Labelled(x, y), recipe, engine, model.initial_parameters(1))


@pytest.mark.parametrize(
    ("model", "layer", "order", "macs"),
    [
        (named_model("mnist"), 0, "LLLL", 338_688),
        (named_model("mnist"), 0, "RRRL", 338_688),
        (named_model("mnist"), 1, "LLLL", 41_184),
        (named_model("mnist"), 1, "RRRL", 27_360),
        (HJB, 0, "LLLL", 20_944),
        (HJB, 0, "RRRL", 1_640),
        (HJB, 1, "LLLL", 49_152),
        (HJB, 1, "RRRL", 16_384),
    ],
)
def test_known_costs(model: Model, layer: int, order: str, macs: int) -> None:
    plans = {plan.order: plan for plan in layer_orders(layer, model.layers[layer])}
    assert plans[order].macs == macs


def tried_out(model: Model) -> list[planner.LayerPlan]:
    """What :func:`plan_layers` finds, by trying out all orders."""
    persistent = model.inputs + sum(layer.output_size for layer in model.layers) + 8
    room = planner.NOMINAL_DEPTH - persistent - (model.outputs if model.loss == "squared_error" else 0)
    found = []
    for position, layer in enumerate(model.layers):
        plans = [planner._nominal(plan, room) for plan in layer_orders(position, layer)]
        scratch = {plan.order: plan.scratch(plan.chunks(planner.NOMINAL_ROWS)[-1]) for plan in plans}
        fitting = [plan for plan in plans if scratch[plan.order] <= room]
        if fitting:
            found.append(min(fitting, key=lambda plan: (plan.cycles(planner.NOMINAL_ROWS), plan.largest_intermediate)))
        else:
            found.append(min(plans, key=lambda plan: scratch[plan.order]))
    return found


def test_no_order_is_better() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        cores, largest = int(rng.integers(1, 8)), int(rng.choice([2, 3, 4, 8]))
        inputs, outputs = (tuple(map(int, rng.integers(1, largest + 1, cores))) for _ in range(2))
        ranks = tuple(map(int, rng.choice([1, 2, 3, 4, 6, 8, 16, 30], cores - 1))) or 1
        model = Model((TensorTrain(inputs, outputs, ranks, bias=bool(rng.integers(2))),), "squared_error")
        (plan,) = plan_layers(model)
        assert [plan] == tried_out(model)
        seen.add((plan.order[0], plan.steps[0].padded))
    assert seen == {("L", False), ("L", True), ("R", False)}
    for name in ("digits", "mnist"):
        assert plan_layers(named_model(name)) == tried_out(named_model(name))
    assert plan_layers(HJB) == tried_out(HJB)


def test_long_trains_are_planned_at_once() -> None:
    """Sixty-four cores have 2^63 orders."""
    (plan,) = plan_layers(Model((TensorTrain((1,) * 61 + (4,) * 3, (2,) * 3 + (1,) * 61, 2),)))
    assert len(plan.order) == 64


def test_chosen_orders() -> None:
    mnist, hjb = plan_layers(named_model("mnist")), plan_layers(HJB)
    # An order that meets in the middle needs fewer multiply-accumulates than either sweep.
    assert [(plan.order, plan.macs) for plan in mnist] == [("LLLL", 338_688), ("RRLL", 19_104)]
    assert mnist[0].largest_intermediate == 5376
    assert [(plan.order, plan.macs) for plan in hjb] == [("RRRL", 1640), ("RRRL", 16_384), ("L", 512)]


def test_mnist_fits_by_chunks() -> None:
    compiled = build(named_model("mnist"), preset("4x32"))
    first, second = compiled.memory.layers
    assert (first.chunks, [region.words for region in first.intermediates]) == (8, [672, 672, 672])
    assert (second.chunks, second.kept) == (1, True)
    assert compiled.memory.input.words == 784
    assert compiled.memory.words <= 4096
    assert len(compiled.program) <= 4096


def test_chunks_cost_no_multiplications() -> None:
    small = build(named_model("mnist"), preset("4x32"))
    large = build(named_model("mnist"), EngineConfig(activation_depth=32768))
    assert (small.memory.layers[0].chunks, large.memory.layers[0].chunks) == (8, 1)
    assert large.memory.layers[0].kept

    def useful(compiled: Compiled) -> int:
        total = 0
        chunks = compiled.memory.layers[0].chunks
        for instruction in itertools.chain(*compiled.forward[0]):
            if instruction.name != "CONTRACT":
                continue
            tiles = np.prod([instruction[f"n_o{loop}"] for loop in range(1, 4)])
            rows = (instruction["n_o0"] - 1) * compiled.engine.rows + instruction["last_rows"]
            total += chunks * tiles * rows * instruction["n_k0"]
        return total

    assert useful(small) == useful(large) == 338_688


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
@pytest.mark.parametrize("model", [named_model("digits"), named_model("mnist"), HJB], ids=["digits", "mnist", "hjb"])
def test_live_regions_never_overlap(model: Model, rows: int) -> None:
    engine = EngineConfig(rows=rows, parameter_depth=8192)
    memory = build(model, engine).memory
    assert max(region.end for region in memory.regions) == memory.words <= engine.activation_depth
    together = [
        (left, right)
        for left, right in itertools.combinations(memory.regions, 2)
        if not left.moments or not right.moments or left.moments & right.moments
    ]
    for layer in memory.layers:
        together += itertools.pairwise(layer.intermediates)
    for left, right in together:
        assert left.end <= right.base or right.end <= left.base, (left, right)


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
@pytest.mark.parametrize("model", [named_model("digits"), named_model("mnist"), HJB], ids=["digits", "mnist", "hjb"])
def test_packing_inverts(model: Model, rows: int) -> None:
    compiled = build(model, EngineConfig(rows=rows, parameter_depth=8192))
    rng = np.random.default_rng(2)
    used = np.zeros(compiled.words, int)
    for tensor in compiled.tensors.values():
        values = rng.integers(-1000, 1000, tensor.shape)
        words = tensor.pack(values)
        assert words.shape == (tensor.words, rows)
        assert words.sum() == values.sum()
        assert np.array_equal(tensor.unpack(words), values)
        used[tensor.base : tensor.base + tensor.words] += 1
    assert (used == 1).all()


def test_indices_are_unique_and_match_the_traversal() -> None:
    compiled = build(named_model("mnist"), preset("4x32"))
    seen = np.concatenate([tensor.indices().ravel() for tensor in compiled.tensors.values()])
    assert len(np.unique(seen)) == compiled.model.parameter_count
    for tensor in compiled.tensors.values():
        pitch = -(-tensor.tiles * tensor.rows // 8) * 8
        k, t, r = np.meshgrid(range(tensor.inner), range(tensor.tiles), range(tensor.rows), indexing="ij")
        traversal = (64 * tensor.block + k * pitch + t * tensor.rows + r).transpose(1, 0, 2)
        assert np.array_equal(tensor.unpack(traversal.reshape(-1, tensor.rows)), tensor.indices())


@pytest.mark.parametrize("model", [named_model("digits"), named_model("mnist"), HJB], ids=["digits", "mnist", "hjb"])
def test_numbers_do_not_depend_on_geometry(model: Model) -> None:
    engines = [
        EngineConfig(rows=1, lanes=8, parameter_depth=8192, activation_depth=8192),
        EngineConfig(rows=2, lanes=16, parameter_depth=4096),
        EngineConfig(rows=8, lanes=32, activation_depth=32768, lanes_per_table=32),
    ]
    one, *others = [build(model, engine) for engine in engines]
    for other in others:
        assert other.formats == one.formats
        assert other.rates == one.rates
        assert [plan.steps for plan in other.plans] == [plan.steps for plan in one.plans]
        for name, tensor in one.tensors.items():
            assert other.tensors[name].amplitude == tensor.amplitude
            assert np.array_equal(other.tensors[name].indices(), tensor.indices())
    assert build(model, dataclasses.replace(engines[1], width=16)).formats != one.formats


@pytest.mark.parametrize("model", [named_model("digits"), named_model("mnist"), HJB], ids=["digits", "mnist", "hjb"])
def test_formats_cover_what_calibration_saw(model: Model) -> None:
    compiled = build(
        model,
        preset(
            "4x32",
        )
        if model is not HJB
        else EngineConfig(activation_tables=2),
    )
    for layer in compiled.formats.layers:
        for form, peak in zip(layer.sums, layer.peaks, strict=True):
            assert form.limit >= 4 * peak
        assert all(0 <= shift <= 47 for shift in layer.shifts)
        assert layer.constant is None or 0 <= layer.constant <= compiled.engine.width - 2
    parameters = model.initial_parameters(1)
    for name, form in compiled.formats.tensors.items():
        assert form.limit >= 4 * np.abs(parameters[name]).max()
    assert all(proof.bound < 1 << (proof.bits - 1) for proof in compiled.formats.proofs)
    assert 0 <= compiled.formats.output.frac <= 16


def test_loss_bits_follow_batch_and_probes() -> None:
    model = named_model("digits")
    fracs = [
        build(model, preset("4x32"), Recipe(batch=batch, tile=32, probes=probes)).formats.loss_frac
        for batch, probes in ((64, 1), (2048, 1), (2048, 16))
    ]
    assert fracs[0] == 16
    assert fracs[1] < 16  # Sums of losses have 32 bits,
    assert fracs[2] == fracs[1]  # gradients have 48.
    with pytest.raises(CompileError, match="sums of losses or gradients; use a smaller batch or fewer probes"):
        build(model, preset("4x32"), Recipe(batch=1 << 26, tile=1 << 11, probes=65535))


@pytest.mark.parametrize(
    ("model", "engine", "message"),
    [
        (
            named_model("mnist"),
            EngineConfig(activation_depth=2048),
            (
                r"^activation memory: 31\d\d words needed, 2048 available \(1\d\d\d too many\); "
                r"use activation_depth=31\d\d"
            ),
        ),
        (
            named_model("mnist"),
            EngineConfig(parameter_depth=1024),
            r"^parameter memory: 1136 words needed, 1024 available \(112 too many\); use parameter_depth=1136",
        ),
        (named_model("mnist"), EngineConfig(program_depth=256), r"^program memory: \d+ words needed, 256 available"),
        (HJB, EngineConfig(activation_tables=1), r"^activation tables: 2 needed, 1 available"),
        (HJB, EngineConfig(rows=8, lanes=64, lanes_per_table=64), r"idle cycles a tile needed, 255 available"),
        (
            Model((Dense(64, 2000), Dense(2000, 20))),
            EngineConfig(),
            (
                r"^parameter memory: 42505 words needed, 2048 available \(40457 too many\); "
                r"use more rows, or smaller ranks"
            ),
        ),
        (
            Model((Dense(10000, 2),)),
            EngineConfig(activation_depth=32768, parameter_depth=32768),
            r"^0\.weight: 10000 inputs could overflow the 48-bit accumulator",
        ),
    ],
)
def test_what_does_not_fit_is_named(model: Model, engine: EngineConfig, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        build(model, engine)


def test_bad_recipes_and_parameters() -> None:
    model, engine = named_model("digits"), preset("4x32")
    with pytest.raises(ValueError, match="tile \\(16 samples\\) must be a multiple of the engine's 32 lanes"):
        build(model, engine, Recipe(batch=64, tile=16))
    with pytest.raises(CompileError, match="is less than one unit of its working weights"):
        build(model, engine, Recipe(batch=64, tile=32, mu=1e-7))
    with pytest.raises(CompileError, match=r"learning rate of 10000 is too large for tensor"):
        build(model, engine, Recipe(batch=64, tile=32, rate=1e4))
    values = model.initial_parameters(0)
    x, y = np.zeros((4, 64)), np.zeros(4, int)
    with pytest.raises(CompileError, match="calibration gave infinite"):
        compile(model, Labelled(x, y), SMALL, engine, values | {"0.bias": np.full(32, np.inf)})
    with pytest.raises(CompileError, match=r"calibration needs inputs of shape \(samples, 64\)"):
        compile(model, Labelled(x[:, :5], y), SMALL, engine, values)


def test_layouts_name_every_parameter_once() -> None:
    model = named_model("mnist")
    found = layouts(plan_layers(model), model.parameter_shapes())
    assert list(found) == list(model.parameter_shapes())
    assert found["0.core0"].columns == 64
    assert found["0.bias"].inner == 128
