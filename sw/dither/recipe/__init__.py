"""Recipes: how losses become steps, and how a run changes that on the way."""

from .estimators import ESTIMATORS, Traits
from .recipe import DISTRIBUTIONS, LOCAL_LOSSES, SCHEDULES, SHRINKAGES, SIDES, Recipe
from .words import WORDS

__all__ = [
    "DISTRIBUTIONS",
    "ESTIMATORS",
    "LOCAL_LOSSES",
    "SCHEDULES",
    "SHRINKAGES",
    "SIDES",
    "WORDS",
    "Recipe",
    "Traits",
]
