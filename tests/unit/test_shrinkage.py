"""Shrinkage: rates of random probes times N/(N+d-1), or its root, as a power of two."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dither.arch.config import EngineConfig
from dither.arch.isa import Rule
from dither.compiler import Compiled
from dither.nn.models import Dense, Model, TensorTrain
from dither.recipe import Recipe

from .test_compiler_execution import build, run, samples, state_of

ENGINE = EngineConfig(rows=4, lanes=8, activation_depth=512, parameter_depth=512, local_learning=1)
MODEL = Model((TensorTrain((2, 3), (3, 2), (2,)), Dense(6, 3, "none")))
SIZES = {"0.core0": 12, "0.core1": 12, "0.bias": 6, "1.weight": 18, "1.bias": 3}
"""Parameters by tensor."""
LAYERS = {name: sum(size for other, size in SIZES.items() if other[0] == name[0]) for name in SIZES}
WHOLE = dict.fromkeys(SIZES, sum(SIZES.values()))


def compiled_of(**changes: object) -> Compiled:
    return build(MODEL, Recipe(batch=16, tile=8, mu=2**-5, rate=2**-8, **changes), ENGINE)[0]  # type: ignore[arg-type]


def reductions(**changes: object) -> dict[str, int]:
    """log2 of what shrinkage divides each tensor's steps by: of mantissa and shift together."""
    plain, other = compiled_of(**changes | {"shrinkage": "none"}), compiled_of(**changes)
    powers = [
        {name: compiled.rates.exponent - compiled.tensors[name].rate_shift for name in compiled.tensors}
        for compiled in (plain, other)
    ]
    return {name: powers[0][name] - powers[1][name] for name in powers[0]}


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("probes", [1, 2, 5])
@pytest.mark.parametrize(
    ("estimator", "dimensions"),
    [("tensorwise", SIZES), ("layerwise", LAYERS), ("joint", WHOLE)],
    ids=["tensorwise", "layerwise", "joint"],
)
def test_rates_shrink_by_the_nearest_power_of_two(
    estimator: str, dimensions: dict[str, int], probes: int, rule: Rule
) -> None:
    fields = {"estimator": estimator, "probes": probes, "rule": rule}
    assert set(reductions(**fields).values()) == {0}
    for shrinkage, power in (("linear", 1.0), ("root", 0.5)):
        found = reductions(**fields, shrinkage=shrinkage)
        for name, d in dimensions.items():
            factor = (probes / (probes + d - 1)) ** power
            assert found[name] >= 0
            assert abs(found[name] + math.log2(factor)) <= 0.5, name
    if probes == 1:
        assert found["1.weight"] > 0


def test_estimates_without_random_probes_of_parameters_do_not_shrink() -> None:
    assert set(reductions(estimator="coordinate", shrinkage="linear").values()) == {0}
    for other in ("coordinate", "exact"):
        found = reductions(estimator=("tensorwise", other), rule=Rule.SIGN, shrinkage="linear")
        assert {name: power > 0 for name, power in found.items()} == {name: name[0] == "0" for name in SIZES}


@pytest.mark.parametrize("shrinkage", ["linear", "root"])
def test_steps_are_so_much_smaller(shrinkage: str) -> None:
    fields = {"batch": 16, "tile": 8, "mu": 2**-5, "rate": 2**-8, "rule": Rule.SGD, "estimator": "layerwise"}
    moves = []
    for name in ("none", shrinkage):
        compiled, machine = build(MODEL, Recipe(**fields, shrinkage=name), ENGINE)
        before = state_of(compiled, machine).master
        run(machine, compiled.commands.train(0, [samples(MODEL, 16)]))
        after = state_of(compiled, machine).master
        moves.append({tensor: after[tensor] - before[tensor] for tensor in after})
    for tensor, expected in reductions(estimator="layerwise", rule=Rule.SGD, shrinkage=shrinkage).items():
        assert expected > 0
        # Both steps are rounded to a master's unit, and their common mantissa to 17 bits at least.
        difference = np.abs(moves[1][tensor] - moves[0][tensor] / 2**expected)
        assert (difference <= 1 + np.abs(moves[1][tensor]) * 2.0**-16).all()
        assert np.abs(moves[1][tensor]).max() > 1000
