"""Software that stands in for a board in tests."""
