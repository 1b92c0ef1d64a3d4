"""One training run over many devices: they share each step's samples, the bits are those of one."""
