"""What the fields of a recipe mean, in a line each, for help texts and configuration files."""

from __future__ import annotations

from .estimators import ESTIMATORS

__all__ = ["WORDS"]

WORDS = {
    "batch": "Samples of a step.",
    "tile": "Samples that share a probe.",
    "probes": "Probes for each tile and group of tensors; by layer.",
    "estimator": f"Where gradients come from; by layer. One of {', '.join(ESTIMATORS)}.",
    "distribution": "Distribution of the probes of parameters.",
    "shrinkage": "How the rate is lowered for few probes in many dimensions.",
    "sides": "Differences against the base loss, or antithetic.",
    "shared_probe": "All tiles of a step use the same probes.",
    "mu": "How far a probe moves parameters.",
    "activity_mu": "How far a probe moves activities.",
    "feedback_slowness": "Learned feedback's rate is 2**-N of the others'.",
    "feedback_ranks": "Learned feedback as tensor trains of rank N; 0 as plain matrices; left out, like the layer "
    "behind.",
    "local_loss": "Loss of the estimator target.",
    "projection": "Magnitude of fixed random matrices.",
    "hidden_headroom": "Bits that hidden layers have for growth.",
    "rule": "Optimiser.",
    "decay1": "Momentum's and Adam's beta1 = 1 - 2**-N.",
    "decay2": "Adam's beta2 = 1 - 2**-N.",
    "rate": "Learning rate.",
    "schedule": "How the learning rate goes down.",
    "schedule_steps": "Steps of the schedule.",
    "seed": "Seed of initial values, sample order and probes.",
}
"""Words by the names of :class:`~dither.recipe.Recipe`'s fields."""
