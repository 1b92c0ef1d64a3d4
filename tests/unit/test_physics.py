"""Differential equations without an engine: symbols, stencils, problems."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.compiler.plan.lowering import lower
from dither.physics import (
    PROBLEMS,
    Expression,
    Form,
    HamiltonJacobiBellman,
    Problem,
    Stencil,
    central,
    coordinates,
    cos,
    exp,
    normal_cdf,
    parse_stencil,
    sin,
    smolyak,
    sparse_grid,
    unknown,
)
from dither.physics.expressions import Derivative

POINTS = np.random.default_rng(0).uniform(-1, 1, (50, 2))


class Cubic(Problem):
    """Products of up to four factors, and functions of functions."""

    name, title = "cubic", "cubic"
    lower, upper = (-1.0, 0.0), (1.0, 1.0)

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        return sin(x[0] * x[1]) + x[1] * f

    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        return u.d(1) - 0.1 * u.dd(0) + u**3 * u.d(0) - exp(x[0]) * u.d(0) ** 2

    def solution(self, points: np.ndarray) -> np.ndarray:
        return points[:, 0]


# Expressions


def test_algebra() -> None:
    x, y = coordinates(2)
    assert (x + y) ** 2 == x * x + 2 * x * y + y * y
    assert x - x == Expression(())
    assert (1 - x) * (1 + x) == 1 - x**2
    assert 0.1 * x + 0.2 * x - 0.3 * x == Expression(())
    assert str(2 * x * y - 1) == "-1 + 2*x0*x1"
    assert (x / 4).value(POINTS) == pytest.approx(POINTS[:, 0] / 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: x**3 * y - 2 * y,
        lambda x, y: sin(x * y) * cos(y),
        lambda x, y: exp(-0.5 * x * x) + y * exp(x),
        lambda x, y: normal_cdf(2 * x - y) * x,
    ],
)
def test_derivatives_of_known_functions(make) -> None:
    expression, step = make(*coordinates(2)), 1e-5
    for by in range(2):
        shift = step * np.eye(2)[by]
        numeric = (expression.value(POINTS + shift) - expression.value(POINTS - shift)) / (2 * step)
        assert expression.d(by).value(POINTS) == pytest.approx(numeric, abs=1e-8)
    assert expression.d(0).d(1).value(POINTS) == pytest.approx(expression.d(1).d(0).value(POINTS))


def test_products_of_the_unknown_follow_the_product_rule() -> None:
    (x,), f = coordinates(1), unknown()
    assert (x * f * f).d(0) == f * f + 2 * x * f * f.d(0)
    assert (x * f).dd(0) == 2 * f.d(0) + x * f.dd(0)


def test_refusals_of_expressions() -> None:
    x, f = coordinates(2), unknown()
    with pytest.raises(ValueError, match="only first and pure second"):
        f.d(0).d(1)
    with pytest.raises(ValueError, match="only first and pure second"):
        f.dd(0).d(0)
    with pytest.raises(ValueError, match="coordinates only"):
        sin(f)
    with pytest.raises(ValueError, match="powers"):
        x[0] ** -1
    with pytest.raises(ValueError, match="finite"):
        x[0] * math.inf
    with pytest.raises(ValueError, match="does not depend"):
        Form.of(x[0])


def test_form_of_the_published_equation() -> None:
    """(1 - f) + (1-t) [f_t + Laplacian f - 0.1 sum f_i] - 0.05 (1-t)^2 |grad f|^2."""
    form = HamiltonJacobiBellman().form
    assert str(form.source) == "1"
    value, linear, squares = form.terms
    assert str(value.coefficient) == "1"
    assert value.parts == ((-1.0, (Derivative(),)),)
    assert str(linear.coefficient) == "1 + -1*x20"
    expected = {(20,): 1.0} | {(i,): -0.1 for i in range(20)} | {(i, i): 1.0 for i in range(20)}
    assert {atom.by: number for number, (atom,) in linear.parts} == pytest.approx(expected)
    points = np.random.default_rng(1).uniform(0, 1, (9, 21))
    rest = (1 - points[:, 20]) ** 2
    factors = {factors for _, factors in squares.parts}
    assert factors == {(Derivative((i,)),) * 2 for i in range(20)}
    for number, _ in squares.parts:
        assert number * squares.coefficient.value(points) == pytest.approx(-0.05 * rest)


# Stencils


def test_published_sparse_grids() -> None:
    nodes, weights = smolyak(21, 3)
    assert len(nodes) == 925
    kinds: dict[tuple[int, float], list[float]] = {}
    for node, weight in zip(nodes, weights, strict=True):
        kinds.setdefault((int(np.count_nonzero(node)), round(float(np.abs(node).max()), 6)), []).append(float(weight))
    table = {kind: (len(found), pytest.approx(np.mean(found))) for kind, found in kinds.items()}
    root = round(math.sqrt(3), 6)
    assert table == {(0, 0.0): (1, 204), (1, 1.0): (42, -10), (1, root): (42, 1 / 6), (2, 1.0): (840, 1 / 4)}
    assert all(np.ptp(found) < 1e-12 for found in kinds.values())
    assert len(smolyak(2, 3)[0]) == 13
    assert len(smolyak(21, 2)[0]) == 43


def _moment(powers: tuple[int, ...]) -> float:
    """Of independent standard normal numbers."""
    return math.prod(0 if power % 2 else math.prod(range(1, power, 2)) for power in powers)


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_sparse_grids_integrate_polynomials(dimensions: int, level: int, data: st.DataObject) -> None:
    nodes, weights = smolyak(dimensions, level)
    powers: list[int] = []
    for _ in range(dimensions):
        powers.append(data.draw(st.integers(0, 2 * level - 1 - sum(powers))))
    found = (weights * np.prod(nodes**powers, axis=1)).sum()
    assert found == pytest.approx(_moment(tuple(powers)), abs=1e-8)


def _derivatives(stencil: Stencil, function, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = function(point + stencil.offsets)
    differences = values - values[0]
    return stencil.first @ differences, stencil.second @ differences


@pytest.mark.parametrize(
    "name", ["central:0.25", "central:0.5,0.25,0.125", "fourth:0.25", "sparse:0.5:3", "sparse:0.25:4"]
)
def test_derivatives_of_quadratic_functions_are_exact(name: str) -> None:
    rng = np.random.default_rng(3)
    matrix, vector, point = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    stencil = parse_stencil(name, 3)
    first, second = _derivatives(stencil, lambda p: 0.5 * ((p @ matrix) * p).sum(axis=1) + p @ vector + 7, point)
    assert first == pytest.approx((matrix + matrix.T) @ point / 2 + vector)
    assert second == pytest.approx(np.diag(matrix))
    assert stencil.name == name


def test_fourth_order_is_exact_for_powers_up_to_four() -> None:
    stencil = parse_stencil("fourth:0.25,0.5", 2)
    assert stencil.nodes == 9
    first, second = _derivatives(stencil, lambda p: p[:, 0] ** 4 + 2 * p[:, 1] ** 5, np.array([0.7, -0.3]))
    assert first[0] == pytest.approx(4 * 0.7**3)
    assert second == pytest.approx([12 * 0.7**2, 40 * (-0.3) ** 3])
    assert first[1] != pytest.approx(10 * 0.3**4)


def test_monte_carlo_approaches_the_smoothed_function() -> None:
    """E f(x + d) of f = sin x is sin(x) exp(-sigma^2 / 2)."""
    stencil = parse_stencil("stein:0.5:40000:1", 2)
    first, second = _derivatives(stencil, lambda p: np.sin(p[:, 0]), np.array([0.3, 0.0]))
    smooth = math.exp(-0.125)
    assert first == pytest.approx([smooth * math.cos(0.3), 0], abs=0.02)
    assert second == pytest.approx([-smooth * math.sin(0.3), 0], abs=0.1)
    again, other = parse_stencil("stein:0.5:40000:1", 2), parse_stencil("stein:0.5:40000:2", 2)
    assert np.array_equal(again.offsets, stencil.offsets)
    assert not np.array_equal(other.offsets, stencil.offsets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spectral:1", "unknown stencil 'spectral'; known: central, fourth, sparse, stein"),
        ("central:x", "must look like"),
        ("central:0", "step must be positive"),
        ("central:0.5:3", "too many numbers"),
        ("central:1,2", "2 sizes for 3 coordinates"),
        ("sparse:0.5:2", "level 3 at least"),
        ("stein:0.5:7", "even number"),
    ],
)
def test_refusals_of_stencils(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_stencil(text, 3)


# Problems


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_solutions_solve_their_equations(name: str) -> None:
    """The residual of the true solution, by fine differences, within the box."""
    problem = PROBLEMS[name]()

    class Plain(type(problem)):  # type: ignore[misc]
        def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
            return f

    points = problem.sample(np.random.default_rng(2), 200)
    points[:, -1] = 0.1 + 0.8 * points[:, -1]
    residuals = Plain().residuals(central(problem.dimensions, 2.0**-9), problem.solution, points)
    assert np.sqrt(np.mean(residuals**2)) < 1e-3


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_ansatz_holds_the_solution(name: str) -> None:
    """f that the solution needs exists within the problem's magnitude, and gives the solution
    back.
    """
    problem = PROBLEMS[name]()
    points = problem.sample(np.random.default_rng(4), 500)
    parts = problem.trial.split()
    known = parts[()].value(points) if () in parts else np.zeros(len(points))
    factor = parts[Derivative(),].value(points)
    outputs = (problem.solution(points) - known) / factor
    assert np.abs(outputs).max() <= 1.0001 * problem.magnitude
    assert problem.relative_error(points, outputs) < 1e-12
    assert problem.relative_error(points, 0 * outputs) > 0.02


def test_published_score_of_an_untrained_network() -> None:
    problem = HamiltonJacobiBellman()
    points = problem.sample(np.random.default_rng(5), 20_000)
    assert problem.relative_error(points, np.zeros(len(points))) == pytest.approx(5.45e-2, rel=0.01)
    exact = problem.residuals(central(21), lambda p: np.ones(len(p)), points[:50])
    assert np.abs(exact).max() < 1e-12


@pytest.mark.parametrize("name", ["central:0.25", "sparse:0.5:3"])
@pytest.mark.parametrize("problem", [*(make() for make in PROBLEMS.values()), Cubic()], ids=lambda each: each.name)
def test_lowered_residual_is_the_residual(problem: Problem, name: str) -> None:
    stencil = parse_stencil(name, problem.dimensions)
    lowered = lower(problem.form, stencil)
    rng = np.random.default_rng(6)
    points, direction = problem.sample(rng, 11), rng.normal(size=problem.dimensions)

    def function(places: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(places @ direction))

    values = function((points[:, None] + stencil.offsets).reshape(-1, problem.dimensions)).reshape(11, -1)
    slots = np.concatenate([values[:, :1], values[:, 1:] - values[:, :1]], axis=1)
    found = lowered.residuals(points, *lowered.words(slots)) + lowered.source.value(points)
    assert found == pytest.approx(problem.residuals(stencil, function, points), abs=1e-9)


def test_conditioning_of_the_exact_solution() -> None:
    """u itself, rounded to 2^-11 at every node, differentiated without an ansatz: small steps drown
    in rounding.
    """

    class Plain(HamiltonJacobiBellman):
        def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
            return f

    problem = Plain()
    points = problem.sample(np.random.default_rng(7), 60)

    def rounded(places: np.ndarray) -> np.ndarray:
        return np.floor(np.ldexp(problem.solution(places), 11) + 0.5) / 2**11

    def rms(stencil: Stencil) -> float:
        return float(np.sqrt(np.mean(problem.residuals(stencil, rounded, points) ** 2)))

    assert 30 < rms(sparse_grid(21, 0.1)) < 300
    assert 0.2 < rms(central(21, 0.1)) < 2
    assert rms(central(21, 0.25)) < 0.01
