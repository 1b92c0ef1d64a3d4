"""Decisions before any code: contraction orders, residuals as words, samples as integers."""
