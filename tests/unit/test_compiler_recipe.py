import json
import math

import pytest

from dither.arch.config import EngineConfig, preset
from dither.arch.isa import Distribution, Rule
from dither.compiler import Formats, plan_layers
from dither.compiler.gradients import estimators
from dither.compiler.gradients.probing import ParameterProbes, ProbeGroup
from dither.compiler.plan.setting import Setting
from dither.compiler.rates import RateFormat, Unit
from dither.nn.models import Dense, Model, TensorTrain
from dither.recipe import Recipe

UNITS = {"a": Unit(1.0, 16), "b": Unit(1.0, 16)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 100, "tile": 64}, r"tile \(64\) must divide batch \(100\)"),
        ({"probes": 0}, "probes must be integers from 1 to 65535, not 0"),
        ({"probes": (1, 0)}, "probes must be integers from 1 to 65535"),
        ({"probes": (1, 2), "estimator": "joint"}, "joint probes belong to all layers at once"),
        ({"probes": (1, 2), "rule": Rule.SGD}, "SIGN, ADAM or SIGN_MOMENTUM"),
        ({"estimator": "guess"}, "estimator must be one of tensorwise, layerwise, joint, coordinate, residualwise"),
        ({"estimator": ("activity", "exact"), "rule": Rule.MOMENTUM}, "SIGN, ADAM or SIGN_MOMENTUM"),
        ({"estimator": ("joint", "exact")}, "joint probes belong to all layers at once"),
        ({"distribution": "cauchy"}, "distribution must be one of rademacher, uniform, gaussian"),
        ({"activity_mu": 0.0}, "activity_mu must be a positive number"),
        ({"sides": 2}, "sides must be one of one, two"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, halving"),
        ({"mu": math.nan}, "mu must be a positive number"),
        ({"rate": -1.0}, "rate must be a positive number"),
        ({"decay1": 13}, "decay1 must be from 1 to 12"),
        ({"decay2": 13}, "decay2 must be from 1 to 12"),
        ({"decay1": 1, "decay2": 12}, "decay2 must be at most 11 with decay1 1, not 12"),
        ({"seed": 1 << 32}, "seed must be of 32 bits"),
        ({"shared_probe": 1}, "shared_probe must be True or False"),
        ({"rule": 7}, "rule must be one of isa.Rule"),
    ],
)
def test_impossible_recipes(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_dictionary_round_trip() -> None:
    recipe = Recipe(rule=Rule.MOMENTUM, sides="two", rate=0.5)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ValueError, match="unknown recipe fields: speed"):
        Recipe.from_dict({"speed": 3})
    with pytest.raises(ValueError, match="rule must be one of SGD"):
        Recipe.from_dict({"rule": "lion"})


def test_lanes_must_fill_tiles() -> None:
    Recipe(tile=64).check_engine(preset("4x32"))
    with pytest.raises(ValueError, match="multiple of the engine's 32 lanes"):
        Recipe(tile=16).check_engine(preset("4x32"))


def test_schedules() -> None:
    cosine = Recipe(rate=1.0, schedule="cosine", schedule_steps=100)
    assert [cosine.rate_at(step) for step in (0, 50, 100, 200)] == pytest.approx([1, 0.5, 0, 0])
    halving = Recipe(rate=1.0, schedule="halving", schedule_steps=10)
    assert [halving.rate_at(step) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_bias_correction_is_adams() -> None:
    recipe = Recipe(decay1=3, decay2=1)
    assert recipe.bias_correction(0) == pytest.approx(math.sqrt(0.5) / 0.125)
    assert recipe.bias_correction(1000) == pytest.approx(1)
    assert {Recipe(rule=rule).bias_correction(0) for rule in Rule if rule is not Rule.ADAM} == {1.0}
    steps = range(3000)
    for decay1, decay2 in ((3, 1), (1, 10), (10, 1), (4, 4)):
        other = Recipe(rate=1.0, decay1=decay1, decay2=decay2)
        assert max(other.bias_correction(step) for step in steps) <= other.largest_rate


@pytest.mark.parametrize("rule", list(Rule))
def test_mantissa_and_shift_give_the_learning_rate(rule: Rule) -> None:
    recipe = Recipe(rule=rule, rate=1e-3, batch=512, tile=64, probes=2, sides="two", mu=0.01)
    fracs, shifts, gradient_fracs = {"a": 29, "b": 33}, {"a": 3, "b": 5}, {"a": 12, "b": 14}
    scale = 1 / (512 * 2 * 2 * 0.01)
    units = {name: Unit(scale, frac) for name, frac in gradient_fracs.items()}
    rates = RateFormat.plan(recipe, fracs, shifts, units)
    for step in (0, 1, 7, 500):
        mantissa = rates.mantissa(recipe, step)
        assert 0 < mantissa < 1 << 18
        for name in fracs:
            if rule.scale_free:
                direction, expected = 4096, recipe.rate * recipe.bias_correction(step)
            else:
                # An accumulator of 2**20 units, as a gradient in parameter units.
                direction = 2 ** (20 - shifts[name])
                expected = recipe.rate * 2.0 ** (20 - gradient_fracs[name]) * scale
            move = direction * mantissa / 2.0 ** (rates.shifts[name] + fracs[name])
            assert move == pytest.approx(expected, rel=1e-4)


def test_too_large_rates_name_the_tensor() -> None:
    with pytest.raises(ValueError, match="learning rate of 100 is too large for tensor b's number format"):
        RateFormat.plan(Recipe(rate=100.0), {"a": 20, "b": 33}, {"a": 0, "b": 0}, UNITS)


def test_tiny_rates_lose_precision_not_range() -> None:
    rates = RateFormat.plan(Recipe(rate=1e-9), {"a": 25, "b": 33}, {"a": 0, "b": 0}, UNITS)
    assert max(rates.shifts.values()) == 31


def test_groups_follow_estimators() -> None:
    model = Model((TensorTrain((2, 3), (2, 2), 2, "relu"), Dense(4, 2)))

    def groups(recipe: Recipe, model: Model = model) -> list[ProbeGroup]:
        setting = Setting(model, recipe, EngineConfig(), tuple(plan_layers(model)))
        used = estimators(setting, Formats(16, {}, (), 0, ()))
        return [group for each in used if isinstance(each, ParameterProbes) for group in each.groups()]

    mixed = Recipe(estimator=("coordinate", "exact"))
    assert [group.tensors for group in groups(mixed)] == [("0.core0",), ("0.core1",), ("0.bias",)]
    assert {group.distribution for group in groups(mixed)} == {Distribution.COORDINATE}
    gaussian = Recipe(estimator=("tensorwise", "layerwise"), distribution="gaussian", probes=(1, 3))
    assert [group.probes for group in groups(gaussian)] == [1, 1, 1, 3]
    assert {group.distribution for group in groups(gaussian)} == {Distribution.GAUSSIAN}
    assert [group.tensors for group in groups(Recipe(estimator="joint"))] == [tuple(model.parameter_shapes())]
    with pytest.raises(ValueError, match="estimator has 2 entries, but the model has 1 layers"):
        groups(mixed, Model((Dense(4, 2),)))


def test_whole_error_signals_have_one_scale() -> None:
    Recipe(estimator=("target", "feedback", "exact"), rule=Rule.SGD)
    Recipe(estimator="activity", rule=Rule.MOMENTUM)


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule.scale_free])
def test_scale_free_rules_take_estimates_of_any_scale(rule: Rule) -> None:
    Recipe(estimator=("coordinate", "activity", "exact"), probes=(1, 4, 1), rule=rule)
