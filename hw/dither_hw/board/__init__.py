"""A board's top level."""
