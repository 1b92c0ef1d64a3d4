"""CONTRACT, CORRELATE and DITHER: everything that multiplies activations."""
