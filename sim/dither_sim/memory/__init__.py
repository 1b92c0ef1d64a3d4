"""A simulated SDRAM chip that finds every broken rule, and a controller in front of it."""
