"""Training: tasks, sessions on devices, the loop, and experiments that hold all of it."""
