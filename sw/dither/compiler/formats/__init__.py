"""Number formats: binary points and shifts from calibrated magnitudes, and proofs that nothing
overflows.
"""
