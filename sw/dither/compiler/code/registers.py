"""What the compiler's programs keep in the scalar registers."""

__all__ = [
    "BASE",
    "CHUNK_BIAS",
    "CHUNK_OUTPUT",
    "CHUNK_SIGNAL",
    "CHUNK_WEIGHT",
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
# How far a chunk's words are from those of the first one. Two losses and their difference have no
# values yet, or none that anybody needs, while a layer runs.
CHUNK_WEIGHT, CHUNK_OUTPUT, CHUNK_BIAS, CHUNK_SIGNAL = 15, OTHER, DIFFERENCE, LOSS
