"""A board's top level: pins, clock, reset, and the link with its engine."""
