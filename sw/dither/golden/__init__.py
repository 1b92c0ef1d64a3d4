"""The golden model: the engine's bits in vectorised NumPy."""
