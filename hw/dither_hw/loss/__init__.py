"""LOSS: losses and their derivatives."""
