"""The engine's data memories, and the units that move words between them and the streams."""
