import json
import math

import pytest

from dither.engine import preset
from dither.isa import Rule
from dither.recipe import RateFormat, Recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 100, "tile": 64}, r"tile \(64\) must divide batch \(100\)"),
        ({"probes": 0}, "probes must be positive integers, not 0"),
        ({"probes": (1, 0)}, "probes must be positive integers"),
        ({"probes": (1, 2), "estimator": "joint"}, "joint probes belong to all layers at once"),
        ({"probes": (1, 2), "rule": Rule.SGD}, "SIGN or ADAM"),
        ({"estimator": "coordinate"}, "estimator must be one of tensorwise, layerwise, joint"),
        ({"sides": 2}, "sides must be one of one, two"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, halving"),
        ({"mu": math.nan}, "mu must be a positive number"),
        ({"rate": -1.0}, "rate must be a positive number"),
        ({"decay1": 16}, "decay1 must be from 1 to 15"),
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
    assert Recipe(rule=Rule.SGD).bias_correction(0) == 1
    steps = range(3000)
    for decay1, decay2 in ((3, 1), (1, 10), (10, 1), (4, 4)):
        other = Recipe(rate=1.0, decay1=decay1, decay2=decay2)
        assert max(other.bias_correction(step) for step in steps) <= other.largest_rate


@pytest.mark.parametrize("rule", list(Rule))
def test_mantissa_and_shift_give_the_learning_rate(rule: Rule) -> None:
    recipe = Recipe(rule=rule, rate=1e-3, batch=512, tile=64, probes=2, sides="two", mu=0.01)
    fracs, shifts, loss_frac = {"a": 29, "b": 33}, {"a": 3, "b": 5}, 12
    rates = RateFormat.plan(recipe, fracs, shifts, loss_frac)
    for step in (0, 1, 7, 500):
        mantissa = rates.mantissa(recipe, step)
        assert 0 < mantissa < 1 << 18
        for name in fracs:
            if rule in (Rule.SIGN, Rule.ADAM):
                direction, expected = 4096, recipe.rate * recipe.bias_correction(step)
            else:
                # An accumulator of 2**20 units, as a gradient in parameter units.
                direction = 2 ** (20 - shifts[name])
                expected = recipe.rate * 2.0 ** (20 - loss_frac) / (512 * 2 * 2 * 0.01)
            move = direction * mantissa / 2.0 ** (rates.shifts[name] + fracs[name])
            assert move == pytest.approx(expected, rel=1e-4)


def test_too_large_rates_name_the_tensor() -> None:
    with pytest.raises(ValueError, match="learning rate of 100 is too large for tensor b's number format"):
        RateFormat.plan(Recipe(rate=100.0), {"a": 20, "b": 33}, {"a": 0, "b": 0}, 16)


def test_tiny_rates_lose_precision_not_range() -> None:
    rates = RateFormat.plan(Recipe(rate=1e-9), {"a": 25, "b": 33}, {"a": 0, "b": 0}, 16)
    assert max(rates.shifts.values()) == 31
