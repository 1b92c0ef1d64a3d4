"""LOSS: the losses of all lanes, their sum and their derivatives."""
