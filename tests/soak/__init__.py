"""Long tests of what must survive anything: kills at random instants, by the hundred."""
