"""Recipes: how losses become steps, and how a run changes that on the way."""

from .recipe import (
    DISTRIBUTIONS,
    ESTIMATORS,
    LOCAL_ESTIMATORS,
    LOCAL_LOSSES,
    SCHEDULES,
    SHRINKAGES,
    SIDES,
    WEIGHT_ESTIMATORS,
    ProbeGroup,
    Recipe,
)

__all__ = [
    "DISTRIBUTIONS",
    "ESTIMATORS",
    "LOCAL_ESTIMATORS",
    "LOCAL_LOSSES",
    "SCHEDULES",
    "SHRINKAGES",
    "SIDES",
    "WEIGHT_ESTIMATORS",
    "ProbeGroup",
    "Recipe",
]
