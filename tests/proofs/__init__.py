"""Formal proofs of the gateware: a component, its specification, faults that must be found."""
