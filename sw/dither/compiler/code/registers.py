"""What the compiler's programs keep in the scalar registers."""

__all__ = [
    "BASE",
    "DIFFERENCE",
    "GROUPS",
    "INDEX",
    "LOSS",
    "OFFSET",
    "OTHER",
    "PROBE",
    "RATE",
    "SEED",
    "STEP",
    "STEPS",
    "TILE",
    "TOTAL",
    "ZERO",
]

ZERO = 0
SEED, STEP, STEPS, RATE, GROUPS, PROBE, TILE, BASE, LOSS, OTHER, DIFFERENCE, TOTAL, OFFSET, INDEX = range(1, 15)
