"""The units that walk over parameters: PERTURB, ACCUMULATE and UPDATE."""
