"""Inference: trained networks as programs with parameters, which devices run without training."""

from .bundle import Bundle, BundleError
from .predictor import Predictor, probabilities

__all__ = ["Bundle", "BundleError", "Predictor", "probabilities"]
