"""Piecewise-linear functions in hardware."""
