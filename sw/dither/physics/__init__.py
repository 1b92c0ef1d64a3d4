"""Differential equations: symbolic residuals, derivatives from function values, known problems."""

from .expressions import Expression, coordinates, cos, exp, normal_cdf, sin, unknown
from .problem import Form, Problem, Term
from .problems import PROBLEMS, BlackScholes, Burgers, HamiltonJacobiBellman, Poisson
from .stencils import Stencil, central, fourth_order, monte_carlo, parse_stencil, smolyak, sparse_grid

__all__ = [
    "PROBLEMS",
    "BlackScholes",
    "Burgers",
    "Expression",
    "Form",
    "HamiltonJacobiBellman",
    "Poisson",
    "Problem",
    "Stencil",
    "Term",
    "central",
    "coordinates",
    "cos",
    "exp",
    "fourth_order",
    "monte_carlo",
    "normal_cdf",
    "parse_stencil",
    "sin",
    "smolyak",
    "sparse_grid",
    "unknown",
]
