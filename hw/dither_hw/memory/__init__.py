"""The engine's memories, and the units that move words between them and the streams."""
