"""PERTURB, ACCUMULATE and UPDATE: everything that walks over parameters."""
