"""Differential equations: symbolic residuals, derivatives from function values, known problems."""

from .expressions import Expression, coordinates, cos, exp, normal_cdf, sin, unknown
from .problem import Form, Problem, Term
from .problems import PROBLEMS, BlackScholes, Burgers, HamiltonJacobiBellman
from .stencils import Stencil, central, monte_carlo, parse_stencil, smolyak, sparse_grid

__all__ = [
    "PROBLEMS",
    "BlackScholes",
    "Burgers",
    "Expression",
    "Form",
    "HamiltonJacobiBellman",
    "Problem",
    "Stencil",
    "Term",
    "central",
    "coordinates",
    "cos",
    "exp",
    "monte_carlo",
    "normal_cdf",
    "parse_stencil",
    "sin",
    "smolyak",
    "sparse_grid",
    "unknown",
]
