"""Ways to a gradient: probes of parameters, and local learning."""
