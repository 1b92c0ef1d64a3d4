"""Networks as descriptions, with their parameters, and what they compute in float64."""
