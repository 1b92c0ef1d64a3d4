"""Piecewise-linear functions in gateware: the interpolator and the scalar tables."""
