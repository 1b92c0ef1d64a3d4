"""CONTRACT and CORRELATE, the multiply-accumulate array with loops and drain; and DITHER."""
