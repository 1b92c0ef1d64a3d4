"""Formal proofs of the gateware: a component, a plain specification, and a fault that must be found."""
